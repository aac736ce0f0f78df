"""The journal: nothing that was written is lost, nothing that is damaged is believed."""

from __future__ import annotations

import errno
import json
import os

import pytest
from detection import DETECTION

from ocrslim.errors import ArtifactError
from ocrslim.sensitivity.results.journal import Entry, Journal, joined, read_journal
from ocrslim.tasks.detection.metric import ImageCounts
from ocrslim.utils import json_lines

HEADER = {"metric": "hmean", "images": 3, "hashes": {"weights": "w"}}
REMEDY = "measure anew"
FIRST = Entry("conv10_expand_weights", 0.3, 0, [ImageCounts(4, 3, 2), ImageCounts(1, 0, 0)])
SECOND = Entry(None, 0.0, 0, [ImageCounts(5, 5, 5)])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sen.jsonl"


@pytest.fixture
def written(path):
    one = Journal(path, HEADER, DETECTION)
    one.append(FIRST)
    one.append(SECOND)
    return path


def counts(*matched):
    return [ImageCounts(9, 9, number) for number in matched]


def test_what_is_appended_is_read_back_with_its_header(written):
    header, entries = read_journal(written, REMEDY, DETECTION)
    assert header == HEADER and entries == [FIRST, SECOND]


def test_another_process_goes_on_with_the_file(written):
    before = written.read_bytes()
    Journal(written, {"metric": "another"}, DETECTION).append(FIRST)
    assert written.read_bytes().startswith(before)
    assert read_journal(written, REMEDY, DETECTION) == (HEADER, [FIRST, SECOND, FIRST])


def test_cut_at_any_byte_the_whole_lines_are_kept_and_it_goes_on(written):
    whole = written.read_bytes()
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        header, entries = read_journal(written, REMEDY, DETECTION)
        assert header == (HEADER if complete else {}), length
        assert entries == [FIRST, SECOND][: max(0, complete - 1)], length
        Journal(written, HEADER, DETECTION).append(SECOND)
        assert read_journal(written, REMEDY, DETECTION) == (HEADER, [*entries, SECOND]), length


DAMAGED = {
    "zeros": b"\0" * 40,
    "half a line in the middle": b'{"layer": "conv1", "rat',
    "not an object": b"[1, 2]",
    "no counts": b'{"layer": "conv1", "ratio": 0.1, "start": 0}',
    "columns of unequal length": b'{"layer": "c", "ratio": 0.1, "start": 0, "gt": [1], "pred": [1, 2], "matched": [1]}',
    "negative counts": b'{"layer": "c", "ratio": 0.1, "start": 0, "gt": [1], "pred": [-1], "matched": [1]}',
    "counts beyond any image": b'{"layer": "c", "ratio": 0.1, "start": 0, "gt": [1e30], "pred": [1], "matched": [1]}',
    "half a box": b'{"layer": "c", "ratio": 0.1, "start": 0, "gt": [1.5], "pred": [1], "matched": [1]}',
    "more pairs than boxes": b'{"layer": "c", "ratio": 0.1, "start": 0, "gt": [1], "pred": [1], "matched": [2]}',
    "nested deeply": b"[" * 100_000,
    "a number of 5000 digits": b'{"layer": "c", "ratio": 0.1, "start": 1' + b"0" * 5000 + b"}",
    "ratio of everything": b'{"layer": "c", "ratio": 1.0, "start": 0, "gt": [1], "pred": [1], "matched": [1]}',
    "ratio not a number": b'{"layer": "c", "ratio": NaN, "start": 0, "gt": [1], "pred": [1], "matched": [1]}',
    "start before the first": b'{"layer": "c", "ratio": 0.1, "start": -1, "gt": [1], "pred": [1], "matched": [1]}',
    "layer that is no name": b'{"layer": 7, "ratio": 0.1, "start": 0, "gt": [1], "pred": [1], "matched": [1]}',
    "not text": b"\xff\xfe\xfd",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_refused_naming_file_and_remedy(written, line):
    header, *rest = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join([header, line + b"\n", *rest]))
    with pytest.raises(ArtifactError, match=rf"sen\.jsonl: .*damaged.*: {REMEDY}"):
        read_journal(written, REMEDY, DETECTION)


@pytest.mark.parametrize("header", [{}, {"journal": 99}, {"schema": 2}], ids=str)
def test_a_journal_of_another_version_is_refused(path, header):
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ArtifactError, match=REMEDY):
        read_journal(path, REMEDY, DETECTION)


def test_a_pipe_in_the_place_of_the_journal_is_neither_read_nor_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(ArtifactError, match=r"sen\.jsonl: cannot be read \(it is a named pipe.*measure anew"):
        read_journal(path, REMEDY, DETECTION)
    with pytest.raises(ArtifactError, match=r"sen\.jsonl: cannot be written: it is a named pipe"):
        Journal(path, HEADER, DETECTION)


def test_what_a_kill_cut_off_is_found_however_long_it_is(written, monkeypatch):
    monkeypatch.setattr(json_lines, "_BLOCK", 7)
    whole = written.read_bytes()
    written.write_bytes(whole + b"x" * 100)
    Journal(written, HEADER, DETECTION)
    assert written.read_bytes() == whole


def test_a_full_disk_is_told_and_costs_only_the_line(written, monkeypatch):
    one, before = Journal(written, HEADER, DETECTION), written.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ArtifactError, match=r"sen\.jsonl: .*disk is full"):
            one.append(FIRST)
    written.write_bytes(written.read_bytes()[:-7])  # what came to the disk of the line
    Journal(written, HEADER, DETECTION).append(SECOND)
    assert written.read_bytes().startswith(before)
    assert read_journal(written, REMEDY, DETECTION)[1] == [FIRST, SECOND, SECOND]


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(ArtifactError, match=r"gone/sen\.jsonl: cannot be written"):
        Journal(tmp_path / "gone/sen.jsonl", HEADER, DETECTION)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([(0, counts(1, 2)), (2, counts(3))], counts(1, 2, 3), id="in-order"),
        pytest.param([(2, counts(3)), (0, counts(1, 2))], counts(1, 2, 3), id="of-two-files"),
        pytest.param([(0, counts(1)), (0, counts(1, 2, 3))], counts(1, 2, 3), id="measured-twice"),
        pytest.param([(0, counts(1, 2, 3)), (1, counts(2))], counts(1, 2, 3), id="within-another"),
        pytest.param([(0, counts(1)), (2, counts(3))], counts(1), id="gap"),
        pytest.param([(1, counts(2, 3))], [], id="without-the-first"),
    ],
)
def test_pieces_of_a_point_are_joined_as_far_as_they_go(pieces, expected):
    entries = [Entry("conv1", 0.1, start, piece) for start, piece in pieces]
    other = Entry("conv1", 0.2, 0, counts(7))
    assert joined([other, *entries]) == {("conv1", 0.2): counts(7), ("conv1", 0.1): expected}
