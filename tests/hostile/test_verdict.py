"""The instrument itself: each way to break the promise has its verdict."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from .case import Case, Either, Expectation, Place, Refused, Works
from .client import Ended
from .verdict import MARKER, judge, listing

GOOD = Ended(2, None, 0.1, 100 << 20, None, 0, "", "error: w.pdparams: damaged: copy it again\n")
FINE = Ended(0, None, 0.1, 100 << 20, None, 0, 'x\n{"hmean": 0.5}\n', "")
REFUSED = Refused(r"w\.pdparams")


def verdict(folder: Path, ended: Ended, expect: Expectation = REFUSED, new: str = "") -> str:
    before = listing(folder)
    if new:
        (folder / new).write_text("x")
    place = Place(folder, None, random.Random(0))  # type: ignore[arg-type]
    return judge(Case("f", "n", lambda place: [], expect), place, ended, before, listing(folder)).verdict


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "ok", id="as-promised"),
        pytest.param({"code": 0}, "accepted", id="exit-0"),
        pytest.param({"code": 1}, "exit code", id="exit-1"),
        pytest.param({"code": None, "signal": 11}, "crash", id="a-signal"),
        pytest.param({"killed": "hang"}, "hang", id="too-long"),
        pytest.param({"killed": "memory"}, "memory", id="too-large"),
        pytest.param({"left_running": 1}, "hang", id="a-process-left"),
        pytest.param({"err": "Traceback (most recent call last):\nerror: w.pdparams"}, "traceback", id="a-traceback"),
        pytest.param({"err": "w.pdparams is damaged\n"}, "message", id="no-line-of-error"),
        pytest.param({"err": "error: w.pdparams\n" * 4}, "message", id="four-lines"),
        pytest.param({"err": f"error: w.pdparams{'x' * 600}\n"}, "message", id="a-long-line"),
        pytest.param({"err": "error: c.yml: not found\n"}, "message", id="another-fault"),
    ],
)
def test_a_wrong_input_is_ok_only_as_promised(changes: dict[str, object], expected: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, replace(GOOD, **changes)) == expected  # type: ignore[arg-type]


def test_more_faults_may_have_more_lines(tmp_path: Path) -> None:
    four = replace(GOOD, err="error: w.pdparams\n" * 4)
    assert verdict(tmp_path, four, Refused(r"w\.pdparams", faults=4)) == "ok"


def test_nothing_may_be_written_and_nothing_executed(tmp_path: Path) -> None:
    assert verdict(tmp_path, GOOD, new="made") == "written"
    assert verdict(tmp_path, GOOD, new=MARKER) == "executed"


def test_an_empty_folder_is_not_counted_and_a_changed_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    before = listing(tmp_path)
    (tmp_path / "out").mkdir()
    place = Place(tmp_path, None, random.Random(0))  # type: ignore[arg-type]
    case = Case("f", "n", lambda place: [], REFUSED)
    assert judge(case, place, GOOD, before, listing(tmp_path)).verdict == "ok"
    (tmp_path / "file").write_text("two")
    assert judge(case, place, GOOD, before, listing(tmp_path)).verdict == "written"


def test_a_good_input_needs_exit_0_and_the_right_value(tmp_path: Path) -> None:
    assert verdict(tmp_path, FINE, Works({"hmean": 0.5})) == "ok"
    assert verdict(tmp_path, GOOD, Works()) == "refused"
    assert verdict(tmp_path, FINE, Works({"hmean": 0.6})) == "wrong value"
    assert verdict(tmp_path, FINE, Works(says="crossed")) == "wrong value"
    assert verdict(tmp_path, FINE, Works(check=lambda place, ended: "no picture")) == "wrong value"


def test_either_takes_a_refusal_or_the_line_that_says_it(tmp_path: Path) -> None:
    either = Either((REFUSED, Works(says="2 boxes")))
    assert verdict(tmp_path, GOOD, either) == "ok"
    assert verdict(tmp_path, replace(FINE, err="2 boxes lie outside"), either) == "ok"
    assert verdict(tmp_path, FINE, either) == "wrong value"
    assert verdict(tmp_path, replace(GOOD, err="error: else"), either) == "message"
