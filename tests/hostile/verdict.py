"""What to think of what a command did."""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from .case import Case, Either, Expectation, Place, Refused, Works, result_of
from .client import Ended

OK = "ok"
VERDICTS = (
    OK,
    "traceback",
    "hang",
    "memory",
    "crash",
    "executed",
    "accepted",
    "exit code",
    "message",
    "written",
    "refused",
    "wrong value",
)
MARKER = "EXECUTED"  # what every payload would make
MOST_LINES, LONGEST_LINE = 3, 600
_ERROR = re.compile(r"^(ocrslim[\w -]*: )?error: ")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|C\+\+ Traceback|Fatal Python error")
_HASHED = 64 << 20


@dataclass(frozen=True)
class Judged:
    """A verdict, one of `VERDICTS`, and what led to it."""

    verdict: str
    detail: str = ""


Listing = dict[str, tuple[object, ...]]


def listing(folder: Path) -> Listing:
    """Everything under `folder`: kind, and what a file holds; links are not followed."""
    found: Listing = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            status = path.lstat()
            key, kind = str(path.relative_to(folder)), stat.S_IFMT(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[key] = (kind, str(path.readlink()))
            elif stat.S_ISREG(status.st_mode) and status.st_size <= _HASHED:
                found[key] = (kind, hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                found[key] = (kind, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (kind,)
    return found


def written(before: Listing, after: Listing) -> list[str]:
    """What is new, changed or gone, but for new folders that are empty: an output folder was asked for."""
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    new_folders = {name for name in changed if name not in before and after[name] == (stat.S_IFDIR,)}
    return sorted(name for name in changed if name not in new_folders)


def judge(case: Case, place: Place, ended: Ended, before: Listing, after: Listing) -> Judged:
    """The verdict on a case: what its command did, and the listings of its folder before and after."""
    if any(Path(name).name == MARKER for name in after):
        return Judged("executed", "code from the input ran")
    if ended.killed:
        return Judged(ended.killed, f"{ended.seconds:.1f} s, {ended.bytes >> 20} MiB")
    if ended.signal is not None:
        return Judged("crash", f"signal {ended.signal}")
    if ended.left_running:
        return Judged("hang", f"{ended.left_running} processes left running")
    if _TRACEBACK.search(ended.err) or _TRACEBACK.search(ended.out):
        return Judged("traceback", _last_line(ended.err))
    return _expected(case.expect, place, ended, written(before, after))


def _expected(expect: Expectation, place: Place, ended: Ended, changed: list[str]) -> Judged:
    if isinstance(expect, Refused):
        return _refused(expect, ended, changed)
    if isinstance(expect, Works):
        return _works(expect, place, ended)
    assert isinstance(expect, Either)
    judged = [_expected(option, place, ended, changed) for option in expect.options]
    fitting = Refused if ended.code else Works  # the option that it comes nearest to speaks
    near = [one for one, option in zip(judged, expect.options) if isinstance(option, fitting)]
    return next((one for one in judged if one.verdict == OK), (near or judged)[0])


def _refused(expect: Refused, ended: Ended, changed: list[str]) -> Judged:
    errors = [line for line in ended.err.splitlines() if _ERROR.match(line)]
    if ended.code == 0:
        return Judged("accepted", _last_line(ended.out) or _last_line(ended.err))
    if ended.code != 2:
        return Judged("exit code", f"{ended.code}: {_last_line(ended.err)}")
    if not errors:
        return Judged("message", f"no line of error: {_last_line(ended.err)}")
    if len(errors) > max(MOST_LINES, expect.faults):
        return Judged("message", f"{len(errors)} lines of error: {errors[0]}")
    longest = max(map(len, ended.err.splitlines()))
    if longest > LONGEST_LINE:
        return Judged("message", f"a line of {longest} characters: {max(ended.err.splitlines(), key=len)[:200]}")
    if not any(re.search(expect.names, line) for line in errors):
        return Judged("message", f"does not name {expect.names}: {errors[0]}")
    return Judged("written", ", ".join(changed[:5])) if changed else Judged(OK)


def _works(expect: Works, place: Place, ended: Ended) -> Judged:
    if ended.code == 2:
        return Judged("refused", _last_line(ended.err))
    if ended.code != 0:
        return Judged("exit code", f"{ended.code}: {_last_line(ended.err)}")
    result = result_of(ended)
    for key, value in expect.values.items():
        if not _same(result.get(key), value):
            return Judged("wrong value", f"{key} is {result.get(key)!r}, expected {value!r}")
    if expect.says and not re.search(expect.says, ended.err + ended.out):
        return Judged("wrong value", f"does not say {expect.says}")
    wrong = expect.check(place, ended) if expect.check else None
    return Judged("wrong value", wrong) if wrong else Judged(OK)


def _same(found: object, expected: object) -> bool:
    if isinstance(expected, float) and isinstance(found, (int, float)):
        return math.isclose(found, expected, abs_tol=1e-6)
    return found == expected


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
