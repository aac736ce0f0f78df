"""Label files and the scan of their images."""

from __future__ import annotations

import json
import os
import shutil

import cv2
import pytest
from small_dataset import EVAL, data, filled, message, rectangle, spoil, text

from ocrslim.data.eval_set import scan

__all__ = ["data", "filled"]


@pytest.mark.parametrize("mode", ["Train", "Eval"])
def test_missing_files_name_the_redirection(data, mode):
    config = data.config()
    shutil.rmtree(data.images)
    redirection = f"-o {mode}.dataset.data_dir=FOLDER {mode}.dataset.label_file_list=[FILE]"
    found = message(scan, config, mode)
    assert str(data.images) in found and "not found" in found and redirection in found
    data.images.mkdir()
    found = message(scan, config, mode)
    assert str(data.labels) in found and "not found" in found and redirection in found


LINE = 'a.png\t[{"transcription": %s, "points": [%s]}]'
BOX = json.dumps([text(rectangle(0, 0, 20, 20))])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("a.png " + BOX, "no tab", id="no-tab"),
        pytest.param("\t" + BOX, "no image name", id="no-name"),
        pytest.param("a.png\t" + BOX[:-3], "not JSON", id="truncated-json"),
        pytest.param("a.png\t" + "[" * 100_000, "not JSON", id="nested-without-end"),
        pytest.param("a.png\t{}", "not a list of boxes", id="no-list"),
        pytest.param('a.png\t["x"]', "box 1 has no 'transcription'", id="box-is-a-string"),
        pytest.param('a.png\t[{"points": [[0,0],[9,0],[9,9],[0,9]]}]', "no 'transcription'", id="no-text"),
        pytest.param('a.png\t[{"transcription": "x"}]', "no 'points'", id="no-points"),
        pytest.param(LINE % ("null", "[0,0],[9,0],[9,9],[0,9]"), "not text", id="null"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9]"), "at least 4", id="three-points"),
        pytest.param(LINE % ('"x"', '[0,0],[9,0],[9,9],[0,"9"]'), '"9"', id="string"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9],[0,NaN]"), "NaN", id="nan"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9],[0]"), "[0]", id="one-number"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9],[0,1e9]"), "1000000000", id="huge"),
    ],
)
def test_a_broken_line_is_named(data, line, expected):
    data.add("a.png", [text(rectangle(0, 0, 20, 20))])
    data.line(line)
    found = message(scan, data.config(), "Eval")
    assert f"{data.labels}, line 2" in found and expected in found


def test_all_broken_lines_are_counted(data):
    data.line("one")
    data.line("two")
    data.line("three")
    found = message(scan, data.config(), "Eval")
    assert "line 1" in found and "2 more lines are broken too" in found


def test_a_file_that_is_not_utf8(data):
    data.labels.write_bytes(b"a.png\t[]\nb\xff.png\t[]\n")
    found = message(scan, data.config(), "Eval")
    assert "line 2" in found and "0xff" in found and "UTF-8" in found


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_an_empty_file(data, content):
    data.labels.write_bytes(content)
    assert "empty" in message(scan, data.config(), "Eval")


def test_byte_order_mark_and_windows_line_ends(data):
    data.add("a.png", [text(rectangle(0, 0, 20, 20))])
    data.labels.write_bytes(b"\xef\xbb\xbf" + data.labels.read_bytes().replace(b"\n", b"\r\n"))
    assert [sample.name for sample in scan(data.config(), "Eval").samples] == ["a.png"]


def test_a_delimiter_of_its_own(data):
    data.add("a.png", [text(rectangle(0, 0, 20, 20))])
    data.labels.write_text(data.labels.read_text().replace("\t", "|"))
    assert len(scan(data.config("Eval.dataset.delimiter='|'"), "Eval")) == 1
    assert "no tab" in message(scan, data.config(), "Eval")


def test_thin_boxes_become_dont_care(data):
    data.add("a.png", [
        text(rectangle(0, 0, 20, 3)),
        text(rectangle(0, 10, 20, 2.9)),
        text(rectangle(0, 20, 1, 20)),
        text([[0, 0], [40, 40], [41, 39], [1, -1]]),
        text(rectangle(0, 30, 2, 2), "###"),
    ])  # fmt: skip
    labelled = scan(data.config(), "Eval")
    texts = [box["transcription"] for box in json.loads(labelled.samples[0].label)]
    assert texts == ["text", "###", "###", "###", "###"]
    assert labelled.tiny == 3 and "3 boxes with a side under 3 pixels count as don't care" in labelled.summary()


def test_ratio_list_thins_an_evaluation_by_the_seed_alone(filled):
    names = [s.name for s in scan(filled.config("Eval.dataset.ratio_list=[0.5]"), "Eval").samples]
    again = [s.name for s in scan(filled.config("Eval.dataset.ratio_list=[0.5]"), "Eval").samples]
    other = scan(filled.config("Eval.dataset.ratio_list=[0.5]", "Global.seed=6"), "Eval").samples
    assert len(names) == 4 and names == again and names != [s.name for s in other]


def test_ratio_list_draws_a_training_anew_in_each_epoch_by_seed_and_epoch(filled):
    labelled = scan(filled.config("Train.dataset.ratio_list=[0.5]"), "Train")
    epochs = [labelled.of_epoch(5, epoch) for epoch in range(8)]
    assert len(labelled) == 7 and all(len(set(epoch)) == 4 for epoch in epochs)
    assert set().union(*epochs) == set(range(7)), "in the end every image is seen"
    assert epochs == [labelled.of_epoch(5, epoch) for epoch in range(8)]
    assert epochs != [labelled.of_epoch(6, epoch) for epoch in range(8)]
    assert "each epoch draws 4 of the images anew" in labelled.summary()


def test_a_ratio_list_that_leaves_no_image_is_named(filled):
    config = filled.config("Train.dataset.ratio_list=[0.0001]")
    assert "Train.dataset.ratio_list [0.0001]: leaves no image" in message(scan, config, "Train")


def test_ratio_list_holds_for_each_label_file_by_itself(filled):
    second = filled.folder / "second.txt"
    for number in range(4):
        filled.add(f"more{number}.png", [text(rectangle(10, 20, 60, 18))])
    lines = filled.labels.read_text().splitlines(keepends=True)
    filled.labels.write_text("".join(lines[:7]))
    second.write_text("".join(lines[7:]))
    files = f"Train.dataset.label_file_list=['{filled.labels}','{second}']"
    labelled = scan(filled.config(files, "Train.dataset.ratio_list=[1.0,0.5]"), "Train")
    chosen = labelled.of_epoch(5, 3)
    assert chosen[:7] == list(range(7)) and len(chosen) == 9 and set(chosen[7:]) < set(range(7, 11))
    everything = scan(filled.config(files), "Train")
    assert everything.of_epoch(5, 3) == list(range(11)) and everything.fingerprint() != labelled.fingerprint()


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param(200_000, "200000 points, expected at most 1000", id="without end"),
        pytest.param(1001, "1001 points", id="one more"),
    ],
)
def test_an_outline_without_end_is_refused(data, points, expected):
    corners = [[position % 100, position // 100 % 80] for position in range(points)]
    data.add("a.png", [text(corners)])
    assert expected in message(scan, data.config(), "Eval")


def test_a_label_file_that_is_a_pipe_is_not_waited_for(data):
    os.mkfifo(data.labels)
    assert "a named pipe, expected a regular file" in message(scan, data.config(), "Eval")


def test_a_line_without_end_is_refused(data, monkeypatch):
    monkeypatch.setattr("ocrslim.data.label_files.MAX_LINE", 1000)
    data.labels.write_bytes(b"x" * 5000)
    assert "line 1: too long" in message(scan, data.config(), "Eval")


@pytest.mark.parametrize("how", ["missing", "empty", "text", "truncated"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_unreadable_image_is_left_out_and_named(data, how, suffix):
    for number in range(100):
        data.add(f"{number}.{suffix}", [text(rectangle(10, 20, 60, 18))])
    spoil(data, f"7.{suffix}", how)
    labelled = scan(data.config(), "Eval")
    reasons = {"missing": "No such file", "empty": "an empty file", "text": "not an image", "truncated": "damaged"}
    (left_out,) = labelled.left_out
    assert left_out.startswith(f"7.{suffix}: ") and reasons[how] in left_out and len(labelled) == 99
    assert f"left out as unreadable: 1 ({left_out})" in labelled.summary()


def test_more_than_one_percent_unreadable_stops(data):
    for number in range(100):
        data.add(f"{number}.png", [text(rectangle(10, 20, 60, 18))])
    spoil(data, "7.png", "text")
    spoil(data, "8.png", "missing")
    found = message(scan, data.config(), "Train")
    assert "2 of 100 images" in found and "7.png: not an image" in found and "8.png: cannot be read" in found
    assert "1%" in found


def test_one_unreadable_of_few_images_stops(filled):
    spoil(filled, "3.png", "truncated")
    found = message(scan, filled.config(), "Eval")
    assert "1 of 7 images" in found and "3.png: damaged" in found


def test_images_without_text_are_for_evaluation_only(filled):
    filled.add("none.png", [])
    filled.add("ignored.png", [text(rectangle(10, 20, 60, 18), "###")])
    labelled = scan(filled.config(), "Train")
    assert labelled.empty == ("none.png", "ignored.png") and len(labelled) == 7
    assert len(scan(filled.config(), "Eval")) == 9


def test_tiny_boxes_of_images_left_out_are_counted(filled):
    filled.add("speck.png", [text(rectangle(10, 20, 60, 2))])
    filled.add("part.png", [text(rectangle(10, 20, 60, 18)), text(rectangle(10, 50, 2, 18))])
    labelled = scan(filled.config(), "Train")
    assert labelled.empty == ("speck.png",) and labelled.tiny == 2
    assert "2 boxes with a side under 3 pixels count as don't care" in labelled.summary()
    assert "left out, as they have nothing to learn: 1 (speck.png)" in labelled.summary()


def test_nothing_to_learn(data):
    data.add("a.png", [])
    assert "text to learn" in message(scan, data.config(), "Train")


def test_fingerprint_follows_labels_images_and_transforms_but_not_the_place(filled, tmp_path):
    def fingerprint(*overrides):
        return scan(filled.config(*overrides), "Eval").fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    shutil.copytree(filled.images, tmp_path / "elsewhere")
    assert fingerprint(f"Eval.dataset.data_dir={tmp_path / 'elsewhere'}") == first
    filled.trees["Eval"] = [{"DetResizeForTest": {"image_shape": [96, 96]}} if "DetResizeForTest" in t else t
                            for t in EVAL]  # fmt: skip
    assert fingerprint() != first
    filled.trees["Eval"] = EVAL
    filled.labels.write_text(filled.labels.read_text().replace("text", "word"))
    second = fingerprint()
    assert second != first
    image = cv2.imread(str(filled.images / "0.png"))
    image[0, 0] ^= 1
    cv2.imwrite(str(filled.images / "0.png"), image)
    assert fingerprint() != second
