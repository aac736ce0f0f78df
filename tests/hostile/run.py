"""Run the families against a revision: `python -m hostile.run --against DIR`, with the folder `tests` on the path."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from .families import FAMILIES, all_cases
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
    known = _read(arguments.log) if arguments.log else {}
    failed, start = 0, time.monotonic()
    with running(Path(arguments.against), arguments.seed, arguments.keep) as runner:
        for number, case in enumerate(cases, 1):
            if case.id in known:
                failed += known[case.id]["verdict"] not in (OK, SKIPPED)
                continue
            result = runner.run(case)
            failed += result.judged.verdict not in (OK, SKIPPED)
            _tell(number, len(cases), result, arguments.verbose)
            if arguments.log:
                _append(arguments.log, result)
    print(f"{len(cases)} cases, {failed} not as they should be, {time.monotonic() - start:.0f} s", file=sys.stderr)
    return int(failed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("hostile.run", description=__doc__)
    parser.add_argument("--against", default=".", help="folder of the code under test (holds `ocrslim`)")
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="only this one; can be repeated")
    parser.add_argument("--only", help="only cases whose family/name has this in it")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--log", type=Path, help="results, a line of JSON each; cases that stand in it are not run again"
    )
    parser.add_argument("--keep", type=Path, help="folder for the output of cases that fail")
    parser.add_argument("--list", action="store_true", help="list the cases and run none")
    parser.add_argument("--verbose", action="store_true", help="a line for every case, not only for those that fail")
    return parser.parse_args()


def _tell(number: int, total: int, result: Result, verbose: bool) -> None:
    judged = result.judged
    if verbose or judged.verdict != OK:
        detail = f": {judged.detail}" if judged.detail else ""
        print(f"[{number}/{total}] {judged.verdict:12} {result.case.id} ({result.seconds:.1f} s){detail}", flush=True)


def _append(log: Path, result: Result) -> None:
    entry = {
        **{"family": result.case.family, "name": result.case.name, "control": result.case.control},
        **{"verdict": result.judged.verdict, "detail": result.judged.detail, "command": result.command},
        **{"seconds": round(result.seconds, 2), "mib": result.bytes >> 20},
    }
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def _read(log: Path) -> dict[str, dict[str, object]]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    entries = [json.loads(line) for line in lines]
    return {f"{entry['family']}/{entry['name']}": entry for entry in entries}


if __name__ == "__main__":
    sys.exit(main())
