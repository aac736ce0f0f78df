"""Line F1 on whole pages: which lines are pairs, and what does not count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ocrslim.tasks import Line, count_lines, lines_of_label, scores_of
from ocrslim.tasks.detection.metric import match


def line(text: str, left: float = 0, top: float = 0, width: float = 100, height: float = 20) -> Line:
    right, bottom = left + width, top + height
    return Line(np.float32([[left, top], [right, top], [right, bottom], [left, bottom]]), text)


@pytest.mark.parametrize(
    "found, labelled, counts",
    [
        ([line("Total 12")], [line("TOTAL12")], (1, 1, 1)),  # without case and spaces
        ([line("Total 12")], [line("TOTAL13")], (1, 1, 0)),  # one character off
        ([line("a", left=60)], [line("a")], (1, 1, 0)),  # IoU 0.25
        ([line("a", left=30)], [line("a")], (1, 1, 1)),  # IoU 0.54
        ([line("a"), line("a")], [line("a")], (1, 2, 1)),  # each once
        ([line("x"), line("a", top=2)], [line("a")], (1, 2, 1)),  # the nearer box says something else
        ([line("a", top=50)], [line("a"), line("b", top=50)], (2, 1, 0)),  # the text of another place
        ([line("a")], [line("###")], (0, 0, 0)),  # on what does not count
        ([line("a", top=50)], [line("*")], (0, 1, 0)),
        ([], [line("a")], (1, 0, 0)),
        ([line("a")], [], (0, 1, 0)),
        ([], [], (0, 0, 0)),
    ],
)
def test_lines_are_pairs_where_box_and_text_agree(found, labelled, counts):
    assert count_lines(found, labelled) == counts


def test_boxes_that_are_no_polygons_keep_texts_with_their_boxes():
    crossed = Line(np.float32([[0, 0], [100, 20], [100, 0], [0, 20]]), "crossed")
    thin = Line(np.float32([[0, 0], [1, 1]]), "thin")
    assert count_lines([crossed, line("b", top=50)], [thin, line("a"), line("b", top=50)]) == (2, 1, 1)


def test_without_a_say_of_the_texts_the_score_of_detectors_stays():
    boxes = [line("").points, line("", top=30).points]
    none = np.zeros((2, 2), dtype=bool)
    assert match(boxes, boxes, np.zeros(2, dtype=bool)).matched == 2
    assert match(boxes, boxes, np.zeros(2, dtype=bool), alike=none).matched == 0


def test_lines_come_from_a_label_and_go_to_json():
    label = json.dumps([{"transcription": "Ab 1", "points": [[0, 0], [9, 0], [9, 5], [0, 5]]}])
    (found,) = lines_of_label(label)
    assert found.text == "Ab 1" and found.points.dtype == np.float32
    assert json.loads(json.dumps(found.to_json()))["points"][2] == [9.0, 5.0]
    assert scores_of([count_lines([found], [found])])["hmean"] == 1.0
