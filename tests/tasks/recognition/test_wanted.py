"""Files that name characters: dictionaries, texts, and label files of both kinds."""

from __future__ import annotations

import json

import pytest

from ocrslim.errors import DataError
from ocrslim.tasks import characters_in, read_wanted


def file(folder, content: str, name: str = "file"):
    path = folder / name
    path.write_bytes(content.encode("utf-8"))
    return path


def test_a_dictionary_lists_a_character_a_line_each_once(tmp_path):
    path = file(tmp_path, "\ufeffa\r\n\nb\n \n\u3000\nb\n")
    assert list(read_wanted([path]).listed) == ["a", "b", " ", "\u3000"]
    assert read_wanted([path]).listed["a"] == f"{path}:1"


def test_a_text_counts_with_all_but_its_line_breaks(tmp_path):
    wanted = read_wanted(texts=[file(tmp_path, "Ab b\t1\r\n\u3000")])
    assert set().union(*map(characters_in, wanted.texts)) == set("Ab 1\u3000")


def test_labels_of_lines_and_of_pages_count_without_what_is_not_read(tmp_path):
    boxes = [
        {"transcription": "total", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]},
        {"transcription": "###", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]},
    ]
    lines = file(tmp_path, f"a.png\tx y\nb.png\t{json.dumps(boxes)}\n\n")
    assert list(read_wanted(labels=[lines]).texts) == ["x y", "total"]


@pytest.mark.parametrize(
    "content, kind, message",
    [
        ("", "chars", "no characters in it"),
        ("\n\n", "chars", "no characters in it"),
        ("\n\t\n", "texts", "no characters in it"),
        ("a.png\t\n", "labels", "no characters in it"),
        ("no tab", "labels", ":1: found 'no tab', expected NAME<TAB>text: for a file of text alone use --text"),
        ('a.png\t[{"points": 3}]', "labels", ":1: .*expected NAME<TAB>text"),
    ],
)
def test_files_without_characters_are_one_line(tmp_path, content, kind, message):
    with pytest.raises(DataError, match=message) as caught:
        read_wanted(**{kind: [file(tmp_path, content)]})
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_file_that_is_missing_or_not_utf8_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing: cannot be read: No such file"):
        read_wanted([tmp_path / "missing"])
    path = tmp_path / "latin1"
    path.write_bytes(b"\xe9\n")
    with pytest.raises(DataError, match=r"latin1: is not UTF-8 \(byte 0\)"):
        read_wanted([path])
