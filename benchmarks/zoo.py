"""A table of PaddleOCR's architectures: what of each can be pruned, and whether pruning it computes what it should.

    PYTHONPATH=tests python benchmarks/zoo.py [--paddleocr DIR] [--only REGEX] [--again]

Takes the distinct `Architecture` sections of the configurations for detectors, recognisers and classifiers in DIR, a
checkout of PaddleOCR, and builds each by its code. Without DIR it takes this repository's configurations and those of
../shared/compat/state_dicts.json, and the package unstructured-paddleocr. Sizes are the real ones, dictionaries too.

Each architecture is a process with a limit of time and memory, as PaddleOCR's code may hang. What is known goes to
zoo.json beside this file after each, and from there into zoo.md: interrupt and repeat the command as you like, what is
there is not measured again without --again. About an hour for the 79 of a checkout.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from channel_graph import machine
from machine import die_with_parent, kill_tree, now, revision
from paths import REPO, portable
from processes import environment
from zoo_plan import Case, cases, code_of
from zoo_tables import page

from ocrslim.errors import ConfigError
from ocrslim.ppocr import find_source
from ocrslim.utils import read_json, write_json, write_text

RESULTS, PAGE = (Path(__file__).with_suffix(suffix) for suffix in (".json", ".md"))
CHECKOUT, PACKAGE = "checkout", "package"
MINUTES, GIB = 10.0, 8.0
FORMAT = 1

logger = logging.getLogger("zoo")


def main() -> int:
    """Measure what is missing and write results and page; 1 where the oracle finds a pruned network wrong."""
    arguments = _arguments()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, force=True)
    kind = CHECKOUT if arguments.paddleocr else PACKAGE
    source = find_source(arguments.paddleocr and str(arguments.paddleocr)).folder
    planned = cases(arguments.paddleocr)
    code = code_of(source)
    for case in planned:
        known = _recorded().get(kind, {}).get("architectures", {})
        wanted = not arguments.only or re.search(arguments.only, case.name)
        if wanted and (arguments.again or case.key not in known):
            logger.info("%s ...", case.name)
            found = measure(case, arguments.paddleocr, arguments.minutes, arguments.gib)
            logger.info("%s: %s", case.name, found.get("fault") or _in_short(found))
            _record(kind, code, planned, {case.key: _named(found, source)})
    known = _record(kind, code, planned)
    faults = [one["name"] for one in known.values() if (one.get("oracle") or {}).get("faults")]
    if faults:
        logger.error("pruned and silenced differ: %s", ", ".join(faults))
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddleocr", type=Path, metavar="DIR", help="a checkout of PaddleOCR")
    parser.add_argument("--only", metavar="REGEX", help="the architectures whose names match")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for each architecture (%(default)s)")
    parser.add_argument("--gib", type=float, default=GIB, help="of memory for each architecture (%(default)s)")
    arguments = parser.parse_args()
    try:
        find_source(arguments.paddleocr and str(arguments.paddleocr))
    except ConfigError as error:
        parser.error(str(error))
    return arguments


def measure(case: Case, checkout: Path | None, minutes: float, gib: float) -> dict[str, Any]:
    """One architecture in a process of its own; a process that is ended leaves what it knew, and why it was ended."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        named = None if checkout is None else str(checkout.resolve())
        if checkout is not None:  # some of its code looks for its C++ in the working directory
            Path(folder, "ppocr").symlink_to(checkout.resolve() / "ppocr")
        request.write_text(json.dumps({**case.request(), "checkout": named, "gib": gib}), encoding="utf-8")
        ended = _run([sys.executable, str(REPO / "benchmarks/zoo_part.py"), str(request), str(answer)], folder, minutes)
        found = read_json(answer, "benchmarks/zoo_part.py") if answer.is_file() else {"stage": "start"}
        if found["stage"] != "done" and "fault" not in found:
            found["fault"] = ended
    header = {"name": case.name, "kind": case.kind, "algorithm": case.algorithm, "also": case.also}
    took = {"total_seconds": round(time.monotonic() - start, 1), "date": now(), "revision": revision()}
    return {**header, **found, **took}


def _run(words: list[str], folder: str, minutes: float) -> str:
    """Run a command in an empty folder, where some of PaddleOCR's code leaves files; how it ended."""
    variables = environment()
    variables["PYTHONPATH"] = f"{variables['PYTHONPATH']}:{REPO / 'tests'}"
    with Path(folder, "log").open("w+b") as log:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for this process
            preexec_fn=die_with_parent,
        )
        try:
            status = process.wait(60 * minutes)
        except subprocess.TimeoutExpired:
            return f"not done in {minutes:g} minutes"
        finally:
            with contextlib.suppress(OSError):
                kill_tree(process)
        log.seek(0)
        last = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
    return f"ended with exit code {status}: {last[0][:200]}"


def _recorded() -> dict[str, Any]:
    found = read_json(RESULTS, "benchmarks/zoo.py") if RESULTS.is_file() else {}
    return found.get("sources", {}) if found.get("format") == FORMAT else {}


def _record(kind: str, code: dict[str, Any], planned: list[Case], new: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write results and page, with what another run has written meanwhile; return what is known of the source.

    Results of configurations that have changed since go.
    """
    sources = _recorded()
    known = {**sources.get(kind, {}).get("architectures", {}), **(new or {})}
    known = {case.key: known[case.key] for case in planned if case.key in known}
    sources[kind] = {"code": code, "architectures": known}
    results = {"format": FORMAT, "machine": machine(), "sources": {one: sources[one] for one in sorted(sources)}}
    write_json(RESULTS, results)
    write_text(PAGE, page(results))
    return known


def _named(found: dict[str, Any], source: Path) -> dict[str, Any]:
    """The result with the folder of PaddleOCR's code as `DIR`, and without this machine's others."""
    return portable(json.loads(json.dumps(found).replace(str(source), "DIR").replace(sys.prefix, ".venv")))


def _in_short(found: dict[str, Any]) -> str:
    worst = found["oracle"]["worst"]
    return f"{found['groups']} groups, {found['prunable_macs_share']:.4f} prunable, oracle {worst}, {found['seconds']}"


if __name__ == "__main__":
    sys.exit(main())
