"""JSON lines: what a kill cuts off goes, what was whole stays, and the bytes are those that were there before."""

from __future__ import annotations

import json

import pytest

from ocrslim.utils.json_lines import JsonLines

VALUES = [{"name": "Größe", "ratio": 0.1}, {"name": None, "counts": [1, 2]}]


@pytest.mark.parametrize(("ascii_only", "name"), [(False, "Größe"), (True, "Gr\\u00f6\\u00dfe")], ids=["utf8", "ascii"])
def test_lines_are_appended_and_read_back_whole(tmp_path, ascii_only, name):
    file = JsonLines(tmp_path / "x.jsonl", ascii_only)
    for value in VALUES:
        file.append(value)
    text = file.path.read_text(encoding="utf-8")
    assert text == f'{{"name": "{name}", "ratio": 0.1}}\n{{"name": null, "counts": [1, 2]}}\n'
    assert [json.loads(line) for line in file.lines()] == VALUES


def test_a_line_that_was_cut_off_is_not_read_and_goes_when_asked(tmp_path):
    file = JsonLines(tmp_path / "x.jsonl")
    assert file.cut_at_last_line() == 0 and file.path.read_bytes() == b""
    file.append(VALUES[0])
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"half')
    assert list(file.lines()) == [whole]
    assert file.cut_at_last_line() == len(whole) and file.path.read_bytes() == whole
