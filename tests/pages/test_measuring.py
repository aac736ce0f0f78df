"""Pages read by pairs: which turns there are, what is kept, and what a second call still has to read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ocrslim.errors import DataError
from ocrslim.pages import measuring
from ocrslim.pages.measuring import PageMeter, PageRow, Pair, times_of
from ocrslim.pages.networks import NetworkFile
from ocrslim.pages.stand import PageReading, Seconds
from ocrslim.tasks import Line

BOX = np.float32([[0, 0], [9, 0], [9, 5], [0, 5]])


def network(name):
    return NetworkFile(Path(name), name, True)


FIRST = Pair(network("d0"), network("r0"))
OTHER, THIRD = Pair(network("d1"), network("r0")), Pair(network("d0"), network("r1"))


class Told:
    """Stands for the process; a pair takes as many seconds as the numbers in its networks' names say."""

    turns: list = []  # noqa: RUF012

    def __init__(self, runtime, threads, *configs):
        self.files = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def open(self, file, own):
        self.files.append(file.name)
        return len(self.files) - 1

    def require_pair(self, numbers, files):
        assert [self.files[number] for number in numbers] == [file.name for file in files]

    def read(self, page, pairs):
        if page.name == "broken":
            raise DataError("broken: no image")
        self.turns.append(
            (page.name, {self.files[one]: [self.files[no] for no in more] for one, more in pairs.items()})
        )
        for detector, recognisers in pairs.items():
            for recogniser in recognisers:
                one, other = (float(self.files[number][1:]) for number in (detector, recogniser))
                cpu, wall = Seconds(1 + one, 2 + other, 2.5), Seconds(10.0, 10.0, 1.0)
                yield PageReading(detector, recogniser, [BOX], [Line(BOX, "a", 0.75)], wall, cpu)


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(measuring, "PageProcess", Told)
    monkeypatch.setattr(Told, "turns", [])
    return Told


def meter(folder, threads=1):
    return PageMeter((None, None), "onnxruntime", threads, folder, folder / "run/pages.jsonl")


def test_the_pair_as_it_came_is_in_every_turn_and_a_detector_runs_once(told, tmp_path):
    meter(tmp_path).read(FIRST, [OTHER, THIRD], ["a", "b"])
    assert told.turns[1:] == [(page, {"d0": ["r0", "r1"], "d1": ["r0"]}) for page in ("a", "b")]
    assert told.turns[0] == told.turns[1]  # which warms up


def test_what_was_read_is_not_read_again_by_a_later_run_and_a_line_cut_off_is(told, tmp_path):
    meter(tmp_path).read(FIRST, [OTHER], ["a", "b"])
    record = tmp_path / "run/pages.jsonl"
    record.write_bytes(record.read_bytes()[:-5])  # the last one: OTHER on b
    told.turns.clear()
    later = meter(tmp_path)
    assert len(later.rows(OTHER, ["a", "b"])) == 1
    later.read(FIRST, [OTHER], ["a", "b"])
    assert {page for page, _ in told.turns} == {"b"}
    told.turns.clear()
    later.read(FIRST, [OTHER], ["a", "b"])
    meter(tmp_path).read(FIRST, [OTHER], ["b", "a"])
    assert not told.turns
    (row,) = later.rows(OTHER, ["b"])
    assert row.lines[0].text == "a" and row.lines[0].score == 0.75 and row.boxes[0].tolist() == BOX.tolist()
    assert row.seconds == (2.0, 2.0, 2.5) and row.first == (1.0, 2.0, 2.5)


def test_other_threads_and_other_weights_are_measured_anew(told, tmp_path):
    meter(tmp_path).read(FIRST, [], ["a"])
    two = meter(tmp_path, threads=2)
    assert not two.rows(FIRST, ["a"])
    two.read(FIRST, [], ["a"])
    assert two.rows(FIRST, ["a"])[0].seconds.page == 20.0  # by the clock on the wall
    changed = dataclasses.replace(FIRST, detector=NetworkFile(Path("d0"), "of other weights", True))
    assert not meter(tmp_path).rows(changed, ["a"])


def test_a_page_that_cannot_be_read_is_left_out_with_a_warning(told, tmp_path, caplog):
    found = meter(tmp_path)
    found.read(FIRST, [OTHER], ["broken", "a"])
    assert [row.page for row in found.rows(FIRST, ["broken", "a"])] == ["a"]
    assert "left out: broken: no image" in caplog.text


def test_recognisers_are_read_with_in_groups_of_few(told, tmp_path):
    pairs = [Pair(network("d0"), network(f"r{number}")) for number in range(1, 6)]
    found = meter(tmp_path)
    found.read(FIRST, pairs, ["a"])
    assert all(len(turn["d0"]) <= 3 and turn["d0"][0] == "r0" for _, turn in told.turns)
    assert all(found.rows(pair, ["a"]) for pair in pairs)


def test_seconds_are_means_and_the_ratio_is_of_the_same_turns():
    rows = [
        PageRow(page, [], [], Seconds(1.0, part, 1.5), Seconds(1.0, 3.0, 3.5))
        for page, part in (("a", 1.0), ("b", 3.0), ("c", 2.0))
    ]
    found = times_of(rows)
    assert (found.detection, found.recognition, found.page) == (1.0, 2.0, 3.0)
    assert found.ratio == pytest.approx(0.75) and 0.5 <= found.low < 0.75 < found.high <= 1.0
    assert times_of(rows[:1]).low == times_of(rows[:1]).high == pytest.approx(0.5)
