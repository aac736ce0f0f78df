"""Runs the parts of a benchmark, each in a process of its own, and keeps what came out of them."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accuracy_ledger import BEGUN, DONE
from accuracy_plan import Part, folder_of
from machine import describe, now, revision
from paths import portable
from processes import FinishedParts, environment, json_lines, run_logged

LEDGER, _PARTS = "ledger.jsonl", "parts.jsonl"
_PATIENCE = 60.0  # seconds for a training to save its state when interrupted


def add_options(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add the options that say which parts are run, and where."""
    parser.add_argument("--score-again", action="store_true", help="score networks whose name another one had")
    parser.add_argument("--out", type=Path, default=out, help="working folder")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="keys of parts to run")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")


def results_in(options: argparse.Namespace, out: Path, results: Path) -> Path:
    """Where the results go, without their suffix: `results`, or with another --out than `out` into that folder."""
    return results if options.out == out else options.out / results.name


def open_bench(options: argparse.Namespace, committed: Path | None = None) -> Bench:
    """The parts that are done, in the working folder; with --fresh none are.

    Args:
        committed: results that a new working folder starts with, so that the table keeps what is not measured again;
            None, or a file that is not there: with nothing.
    """
    if options.fresh:
        forget(options.out)
    elif committed is not None and committed.is_file() and not (options.out / _PARTS).exists():
        restore(committed, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return Bench(options.out, options.score_again)


def measure(bench: Bench, parts: Sequence[Part], only: re.Pattern[str], report: Callable[[], None]) -> int:
    """Run the parts whose keys have `only`, and report what is known then; 1 where one failed, 130 on an interrupt."""
    try:
        bench.run(bench.with_sources([part for part in parts if only.search(part.key)], parts))
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on", file=sys.stderr)
        return 130
    finally:
        report()
    return 1 if bench.failed else 0


def restore(committed: Path, out: Path) -> None:
    """Put results that were committed into a new working folder, and who has read the test images."""
    known = json.loads(committed.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    if not (out / LEDGER).exists():
        for reading in (one for each in known["readings"].values() for one in each):
            for state in (BEGUN, DONE):
                json_lines(out / LEDGER).append({**reading, "state": state})
    for part in known["parts"].values():
        json_lines(out / _PARTS).append(part)


def forget(out: Path) -> None:
    """Delete what was measured; who has read the test images stays known."""
    for path in out.iterdir() if out.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LEDGER:
            path.unlink()


class Bench:
    """Runs parts and keeps what came out of them.

    Attributes:
        results: by key of the part: request, answer, process, cpu, date, revision.
        failed: keys of the parts that failed this time, or could not be run for want of one.
    """

    def __init__(self, out: Path, score_again: bool = False):
        self.failed: list[str] = []
        self._out, self._again = out, score_again
        self._journal = FinishedParts(out / _PARTS)
        self._gone: set[str] = set()  # keys of parts whose results are known and whose files are not there
        self.results = self._journal.results

    def with_sources(self, asked: Sequence[Part], parts: Sequence[Part]) -> list[Part]:
        """Add what the parts to run build on and was measured elsewhere, so that its files are made here too."""
        self._gone = set()
        by_key, wanted = {part.key: part for part in parts}, [part for part in asked if not self.done(part)]
        for part in wanted:  # it grows meanwhile
            gone = [key for key in part.needs if key in by_key and not folder_of(self._out, key).is_dir()]
            wanted += [by_key[key] for key in gone if key not in self._gone]
            self._gone.update(gone)
        return [part for part in parts if part in asked or part.key in self._gone]

    def run(self, parts: Sequence[Part]) -> None:
        """Run those that are not done, and say how long it may take."""
        left = [part for part in parts if self._to_do(part)]
        hours = sum(part.estimate() for part in left) / 3600
        print(f"{len(parts)} parts, {len(left)} to do, about {hours:.1f} hours on 2 quiet cores", flush=True)
        for number, part in enumerate(parts, 1):
            self._journal.refresh()  # another process may have measured what it builds on
            if not self._to_do(part):  # asked only now: what it builds on may have been measured anew
                continue
            print(f"[{number}/{len(parts)}] {part.key}: about {part.estimate():.0f} s ...", end=" ", flush=True)
            lacking = [key for key in part.needs if key in self.failed or key not in self.results]
            if lacking:
                self.failed.append(part.key)
                print(f"not possible without: {'; '.join(lacking)}", flush=True)
            else:
                self._measure(part)

    def _to_do(self, part: Part) -> bool:
        return part.key in self._gone or not self.done(part)

    def done(self, part: Part) -> bool:
        """Whether it was measured, with the same command, on the same results of other parts."""
        found = self.results.get(part.key)
        known = found is not None and all(key in self.results for key in part.needs)
        return known and found["request"] == self._request(part)

    def _request(self, part: Part) -> dict[str, Any]:
        """What its result depends on, wherever repository and working folder lie."""
        return portable(part.request(self.results), self._out)

    def _measure(self, part: Part) -> None:
        folder, request = folder_of(self._out, part.key), self._request(part)
        asked = folder / "request.json"
        if not asked.is_file() or json.loads(asked.read_text(encoding="utf-8")) != request:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._gone.discard(part.key)
        asked.write_text(json.dumps(request), encoding="utf-8")
        answer, process = self._run(part, part.command(self.results), folder)
        if answer is None:
            self.failed.append(part.key)
            print(f"failed with status {process['status']}: see {folder / 'log'}", flush=True)
            return
        about = {"process": process, "cpu": describe()["cpu"], "date": now(), "revision": revision()}
        self._journal.add({"request": request, "answer": answer, **about})
        print(f"{process['seconds']:.0f} s{_said(answer)}", flush=True)

    def _run(self, part: Part, words: Sequence[str], folder: Path) -> tuple[Any, Mapping[str, Any]]:
        """What the command printed last, None where it failed; and what the machine did meanwhile."""
        if part.kind == "score" and self._again:
            at = words.index("--ledger")  # which every score has
            words = [*words[:at], "--again", *words[at:]]
        output, patience = folder / "answer", _PATIENCE if part.kind in ("train", "table") else 0.0
        run, variables = [sys.executable, "-W", "ignore", *words], environment(**part.variables)
        process = run_logged(run, folder / "log", variables, answer=output, patience=patience)
        lines = output.read_text(encoding="utf-8").splitlines()
        return (json.loads(lines[-1]) if lines and not process["status"] else None), process


def _said(answer: Any) -> str:
    """The score, where there is one."""
    for scores in (answer.get(name) for name in ("scores", "select", "best")):
        for metric in ("hmean", "acc"):
            if scores and metric in scores:
                return f", {metric} {scores[metric]:.4f}"
    return ""
