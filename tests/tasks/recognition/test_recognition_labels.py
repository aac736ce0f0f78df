"""Labels of recognisers: both kinds of files, what is learnt of them, and what is found wrong with them."""

from __future__ import annotations

import json

import pytest
from lines import numbers, own_networks, recogniser, write_lines, write_page, write_tree

from ocrslim.config import load_config
from ocrslim.data import EvalSet, scan, scan_evaluation, train_loader
from ocrslim.errors import DataError
from ocrslim.tasks import task_of

__all__ = ["own_networks"]

SQUARE = [[10, 10], [60, 10], [60, 30], [10, 30]]


def parse(text, delimiter="\t"):
    return [(label.text, label.care, len(label.outline)) for label in task_of("rec").parse_line(text, delimiter)]


def boxes(*texts, points=SQUARE):
    return json.dumps([{"transcription": text, "points": points} for text in texts], ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("hello", [("hello", 1, 0)], id="text"),
        pytest.param("two words", [("two words", 1, 0)], id="spaces"),
        pytest.param("text\t120\t32", [("text", 1, 0)], id="width-and-height-of-ds_width"),
        pytest.param("[1]", [("[1]", 1, 0)], id="brackets"),
        pytest.param('[{"a": 1}]', [('[{"a": 1}]', 1, 0)], id="json-of-something-else"),
        pytest.param("", [("", 0, 0)], id="empty"),
        pytest.param("###", [("###", 1, 0)], id="three-hashes-are-a-text-of-their-own"),
        pytest.param(boxes("one", "zwei"), [("one", 1, 4), ("zwei", 1, 4)], id="boxes"),
        pytest.param(boxes("one", "###", "*", ""), [("one", 1, 4)], id="boxes-that-do-not-count"),
        pytest.param("[]", [], id="no-boxes"),
        pytest.param(boxes("a", points=[[1, 1], [2, 1], [2, 1.5], [1, 1.5]]), [], id="crop-of-no-size"),
    ],
)
def test_a_line_is_a_text_or_the_boxes_of_a_page(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('[{"transcription": "a", "points": [[1, 1], [9, 1]]}]', "at least 4 points", id="two-corners"),
        pytest.param('[{"transcription": "a", "points": [[1, 1', "not JSON", id="cut-off"),
        pytest.param('[{"text": "a", "points": [[1, 1], [9, 1], [9, 9], [1, 9]]}]', "no 'transcription'", id="no-text"),
    ],
)
def test_boxes_are_read_strictly(text, expected):
    with pytest.raises(ValueError, match=expected):
        parse(text)


@pytest.fixture
def labelled(tmp_path):
    """Write texts as labels of rendered lines; return the configuration of both modes for them."""

    def write(*texts, **settings):
        folder = tmp_path / "lines"
        write_lines(folder, [text if text and text.isascii() else "0" for text in texts])
        lines = "".join(f"{index}.png\t{text}\n" for index, text in enumerate(texts))
        (folder / "label.txt").write_text(lines, encoding="utf-8")
        tree = recogniser(tmp_path, folder / "label.txt", folder / "label.txt")
        tree["Global"] |= settings
        return load_config(write_tree(tmp_path / "rec.yml", tree))

    return write


def test_a_training_leaves_out_what_it_cannot_learn_and_says_so(labelled):
    config = labelled("12", "", "123456789", "€", "34", "56", "78", "90", "12")
    found = scan(config, "Train")
    assert [sample.label for sample in found.samples] == ["12", "34", "56", "78", "90", "12"]
    assert found.empty == ("1.png", "2.png", "3.png")
    (unknown, long) = found.remarks
    assert "1 of 22 characters are not in" in unknown and "first: '€' (U+20AC)" in unknown and "line 4" in unknown
    assert "1 of 9 texts are longer than Global.max_text_length (8)" in long
    assert len(list(train_loader(config, found, 0))) == 1
    assert "6 texts" in found.summary() and "nothing to learn: 3" in found.summary()


def test_an_evaluation_scores_long_texts_in_full(labelled):
    config = labelled("12", "123456789", "€3")
    found = scan(config, "Eval")
    assert [item.target for item in EvalSet(found, config)] == ["12", "123456789", "3"]


def test_an_evaluation_of_no_texts_is_refused(labelled):
    with pytest.raises(DataError, match="none of its 2 images has a text to learn"):
        scan_evaluation(labelled("", " "))


def test_a_dictionary_that_lacks_most_characters_is_refused(labelled):
    with pytest.raises(DataError) as caught:
        scan(labelled("äöü", "12"), "Eval")
    text = str(caught.value)
    assert "3 of 5 characters are not in" in text and "'ä' (U+00E4)" in text and "character_dict_path" in text


def test_without_a_dictionary_capitals_count_as_small_letters(labelled):
    config = labelled("Ab1", "CD", character_dict_path=None)
    found = scan(config, "Eval")
    assert found.remarks == () and [item.target for item in EvalSet(found, config)] == ["ab1", "cd"]


def test_a_space_is_known_where_the_dictionary_is_given_one(labelled):
    without, given = labelled("1 2"), None
    assert "' ' (U+0020)" in scan(without, "Eval").remarks[0]
    given = labelled("1 2", use_space_char=True)
    assert scan(given, "Eval").remarks == ()
    assert EvalSet(scan(given, "Eval"), given)[0].target == "1 2"


def test_boxes_that_cannot_be_right_are_named(tmp_path):
    label = write_page(tmp_path / "page", numbers(6, 1))
    name, listed = label.read_text().split("\t")
    outside = {"transcription": "1", "points": [[900, 10], [960, 10], [960, 30], [900, 30]]}
    label.write_text(f"{name}\t{json.dumps([outside, *json.loads(listed)])}\n")
    config = load_config(write_tree(tmp_path / "rec.yml", recogniser(tmp_path, label, label)))
    (remark,) = scan(config, "Eval").remarks
    assert "1 of 7 boxes lie outside their image" in remark and "line 1" in remark


def test_a_page_without_texts_is_no_data_set(tmp_path):
    label = write_page(tmp_path / "page", ["12"])
    label.write_text("page.png\t[]\n")
    config = load_config(write_tree(tmp_path / "rec.yml", recogniser(tmp_path, label, label)))
    with pytest.raises(DataError, match="page.txt: no line has a text to learn"):
        scan(config, "Train")


def test_boxes_that_are_too_small_are_counted(tmp_path):
    label = write_page(tmp_path / "page", numbers(3, 1))
    name, listed = label.read_text().split("\t")
    small = {"transcription": "1", "points": [[9, 9], [10, 9], [10, 10], [9, 10]]}
    label.write_text(f"{name}\t{json.dumps([small, *json.loads(listed)])}\n")
    config = load_config(write_tree(tmp_path / "rec.yml", recogniser(tmp_path, label, label)))
    found = scan(config, "Eval")
    assert len(found) == 3 and "left out: 1 box with a side under 3 pixels" in found.summary()
