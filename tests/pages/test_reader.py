"""Pages read by a detector and a recogniser: which boxes, in which batches, and which lines are left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from small_pages import ROWS, detector, recogniser, write_pages

from ocrslim.config import load_model_config
from ocrslim.errors import DataError, WeightsError
from ocrslim.inference import OnnxEngine
from ocrslim.pages.process import PageProcess
from ocrslim.pages.reader import BATCH, PageReader


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return detector(folder / "det/det.onnx"), recogniser(folder / "rec/rec.onnx")


@pytest.fixture(scope="module")
def configs(models):
    return load_model_config(models[0], task="det"), load_model_config(models[1])


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return sorted(write_pages(tmp_path_factory.mktemp("pages"), 3).iterdir())


class Reading:
    """A recogniser that reads "a" where it is asked, as sure as it is told, and remembers its batches."""

    def __init__(self, score: float = 0.9, nothing: bool = False):
        self.batches, self._score, self._class = [], score, 0 if nothing else 1

    def __call__(self, image):
        self.batches.append(image.shape)
        found = np.full((len(image), 1, 12), (1 - self._score) / 11, np.float32)
        found[:, :, self._class] = self._score
        return found


def test_every_row_of_a_page_is_a_line_where_it_is(configs, models, pages):
    reader = PageReader(*configs)
    page = reader.pixels(pages[0])
    boxes = reader.boxes(OnnxEngine(models[0]), page)
    lines = reader.lines(Reading(), page, boxes)
    assert sorted(round(float(line.points[:, 1].mean()) // 64) for line in lines) == list(range(len(ROWS)))
    assert {line.text for line in lines} == {"a"}


def test_lines_are_batched_from_narrow_to_wide_and_texts_stay_with_their_boxes(configs):
    reader, recognise = PageReader(*configs), Reading()
    widths = [300, 40, 220, 80, 260, 120, 180, 60]
    boxes = [np.float32([[0, 0], [width, 0], [width, 20], [0, 20]]) for width in widths]
    seen = []
    recognise_as = lambda image: (seen.extend(image[:, 0, 0, 0]), recognise(image))[1]  # noqa: E731
    lines = reader.lines(recognise_as, np.zeros((40, 320, 3), np.uint8), boxes)
    assert [len(shape) and shape[0] for shape in recognise.batches] == [BATCH, len(widths) - BATCH]
    assert [int(line.points[1, 0]) for line in lines] == widths


def test_texts_in_doubt_and_empty_ones_are_left_out(configs):
    reader, page = PageReader(*configs), np.zeros((40, 320, 3), np.uint8)
    boxes = [np.float32([[0, 0], [100, 0], [100, 20], [0, 20]])]
    assert len(reader.lines(Reading(0.51), page, boxes)) == 1
    assert not reader.lines(Reading(0.49), page, boxes)
    assert not reader.lines(Reading(0.9, nothing=True), page, boxes)
    assert not reader.lines(Reading(), page, [])


def test_a_process_reads_with_pairs_in_turns_and_tells_the_seconds_of_each_step(configs, models, pages):
    with PageProcess("onnxruntime", 1, *configs) as process:
        one, other, text = process.open(models[0]), process.open(models[0]), process.open(models[1])
        found = list(process.read(pages[0], {one: [text], other: [text, text]}))
    assert [(each.detector, each.recogniser) for each in found] == [(one, text), (other, text), (other, text)]
    lines = [[line.to_json() for line in each.lines] for each in found]
    assert lines[0] and lines[0] == lines[1] == lines[2]
    for each in found:
        assert 0 < each.wall.networks < each.wall.page == each.wall.detection + each.wall.recognition
    assert found[1].wall.detection == found[2].wall.detection  # one run of the detector


def test_a_page_that_is_none_and_a_network_of_the_other_kind_are_named(configs, models, pages, tmp_path):
    (tmp_path / "page.png").write_bytes(b"no image")
    with PageProcess("onnxruntime", 1, *configs) as process:
        found, text = process.open(models[0]), process.open(models[1])
        with pytest.raises(DataError, match=r"page\.png"):
            list(process.read(tmp_path / "page.png", {found: [text]}))
        with pytest.raises(WeightsError):
            list(process.read(pages[0], {text: [found]}))
        assert list(process.read(pages[0], {found: [text]}))  # and it goes on


def test_a_page_of_nothing_has_no_lines(configs, models, tmp_path):
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((64, 64, 3), 235, np.uint8))
    with PageProcess("onnxruntime", 1, *configs) as process:
        pair = {process.open(models[0]): [process.open(models[1])]}
        (found,) = process.read(tmp_path / "empty.png", pair)
    assert found.lines == found.boxes == [] and found.wall.page > 0
