"""Run the families against a revision: `python -m hostile.run --against DIR`, with the folder `tests` on the path."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from . import results
from .case import Case
from .families import FAMILIES, all_cases
from .kills import EQUAL, STAGES, Killer
from .runner import SEED, SKIPPED, Result, running
from .verdict import OK


def main() -> int:
    """Run what the command line asks for; 1 where a case did not end as it should."""
    arguments = _arguments()
    names = arguments.family or sorted(FAMILIES)
    cases = [case for case in all_cases(names) if not arguments.only or arguments.only in case.id]
    if arguments.list:
        print("\n".join(case.id for case in cases), f"\n{len(cases)} cases")
        return 0
    start = time.monotonic()
    found = _read(arguments.log)
    left = [case for case in cases if case.id not in found]
    for number, result in enumerate(_run(left, arguments), 1):
        _tell(number, len(left), result, arguments.verbose)
        found[result.case.id] = _append(arguments.log, result)
    kills = [_append_kill(arguments.log, entry) for entry in _kill(arguments, found)]
    entries = [found[case.id] for case in cases if case.id in found]
    wrong = [entry for entry in entries if entry["verdict"] not in (OK, SKIPPED)]
    lost = [entry for entry in kills if entry["verdict"] != EQUAL]
    print(
        f"{len(entries)} cases, {len(wrong)} not as they should be; {len(kills)} kills, {len(lost)} not resumed;",
        end=" ",
    )
    print(f"{time.monotonic() - start:.0f} s")
    if arguments.label:
        results.save(arguments.label, Path(arguments.against), arguments.seed, entries, kills)
    return int(bool(wrong or lost))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("hostile.run", description=__doc__)
    parser.add_argument("--against", default=".", help="folder of the code under test (holds `ocrslim`)")
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="only this one; can be repeated")
    parser.add_argument("--only", help="only cases whose family/name has this in it")
    parser.add_argument("--kills", type=int, default=0, help="how many runs to kill as well, over the three stages")
    parser.add_argument("--as", dest="label", choices=results.LABELS, help="write the results into the note, as these")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--log", type=Path, help="results, a line of JSON each; what stands in it is not run again")
    parser.add_argument("--keep", type=Path, help="folder for the output of cases that fail")
    parser.add_argument("--list", action="store_true", help="list the cases and run none")
    parser.add_argument("--verbose", action="store_true", help="a line for every case, not only for those that fail")
    return parser.parse_args()


def _run(cases: list[Case], arguments: argparse.Namespace) -> Iterator[Result]:
    """The results as they come, of `--jobs` runners side by side."""
    todo: SimpleQueue[Case] = SimpleQueue()
    done: SimpleQueue[Result | BaseException] = SimpleQueue()
    for case in cases:
        todo.put(case)

    def work() -> None:
        try:
            with running(Path(arguments.against), arguments.seed, arguments.keep) as runner:
                while True:
                    done.put(runner.run(todo.get_nowait()))
        except Empty:
            return
        except BaseException as error:
            done.put(error)

    for _ in range(min(arguments.jobs, len(cases))):
        threading.Thread(target=work, daemon=True).start()
    for _ in cases:
        result = done.get()
        if isinstance(result, BaseException):
            raise result
        yield result


def _kill(arguments: argparse.Namespace, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kills, the stages in turns; those that the log has are not repeated."""
    known = [entry for entry in found.values() if "moments" in entry]
    yield from known
    if len(known) >= arguments.kills:
        return
    with (
        running(Path(arguments.against), arguments.seed) as runner,
        tempfile.TemporaryDirectory(prefix="kills-") as scratch,
    ):
        killer = Killer(Path(arguments.against), runner.base, Path(scratch), arguments.seed + len(known))
        for number in range(len(known), arguments.kills):
            done = killer.run(list(STAGES)[number % len(STAGES)])
            print(
                f"[kill {number + 1}/{arguments.kills}] {done.verdict:12} {done.stage} at {done.moments} {done.detail}"
            )
            sys.stdout.flush()
            entry = {"stage": done.stage, "moments": list(done.moments), "verdict": done.verdict, "detail": done.detail}
            yield {"family": "kills", "name": f"{number}", **entry}


def _tell(number: int, total: int, result: Result, verbose: bool) -> None:
    judged = result.judged
    if verbose or judged.verdict != OK:
        detail = f": {judged.detail}" if judged.detail else ""
        print(f"[{number}/{total}] {judged.verdict:12} {result.case.id} ({result.seconds:.1f} s){detail}", flush=True)


def _append(log: Path | None, result: Result) -> dict[str, Any]:
    entry = {
        **{"family": result.case.family, "name": result.case.name, "control": result.case.control},
        **{"verdict": result.judged.verdict, "detail": result.judged.detail, "command": result.command},
        **{"seconds": round(result.seconds, 2), "mib": result.bytes >> 20},
    }
    return _append_kill(log, entry)


def _append_kill(log: Path | None, entry: dict[str, Any]) -> dict[str, Any]:
    if log:
        known = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        line = json.dumps(entry)
        if line not in known:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
    return entry


def _read(log: Path | None) -> dict[str, dict[str, Any]]:
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.exists() else []
    entries = [json.loads(line) for line in lines]
    return {f"{entry['family']}/{entry['name']}": entry for entry in entries}


if __name__ == "__main__":
    sys.exit(main())
