"""Whole pages: boxes by a detector, each cut out, its text by a recogniser, as PaddleOCR's clients do it.

Boxes of at most 3 pixels are dropped, lines are recognised in batches of 6 in the order of their aspect ratio, each
padded to the widest of its batch, and texts below a score of 0.5 are left out: what `TextSystem` of PaddleOCR 2 and
RapidOCR do where nothing else is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data import Preprocessor, cut_out
from ocrslim.evaluation import post_processor
from ocrslim.inference import Engine
from ocrslim.tasks import Line, Outline

BATCH = 6  # rec_batch_num
LEAST_SCORE = 0.5  # drop_score, text_score
_LEAST_SIDE = 3  # pixels


class PageReader:
    """Reads pages with any detector and recogniser of two configurations.

    Which networks they are is said at each call: those of one configuration differ in their weights and widths alone.
    """

    def __init__(self, detection: Config, recognition: Config):
        """
        Raises:
            ConfigError: PaddleOCR refuses a transform or the post-processing of one of them.
        """
        self._load, self._load_line = Preprocessor(detection), Preprocessor(recognition)
        self._boxes_of, self._text_of = post_processor(detection), post_processor(recognition)
        self._batch = 1 if recognition.task.free_shape[0] == 1 else BATCH

    def pixels(self, path: Path) -> np.ndarray:
        """Decode a page, uint8 [H, W, 3]; raises `DataError` where it is no readable image."""
        return self._load.pixels(path)

    def boxes(self, detector: Engine, page: np.ndarray) -> list[np.ndarray]:
        """Return the outlines of text on a page, float32 [k, 2] each, in pixels."""
        prepared = self._load.of_pixels("page", page)
        found: Sequence[np.ndarray] = self._boxes_of(detector(prepared.image), prepared.shape)
        return [box for box in found if _sides(box) > _LEAST_SIDE]

    def lines(self, recogniser: Engine, page: np.ndarray, boxes: Sequence[np.ndarray]) -> list[Line]:
        """Return the lines that are read in the boxes of a page, in the order of the boxes."""
        cuts = [cut_out(page, outline_of(box)) for box in boxes]
        readings: list[Any] = [None] * len(boxes)
        for places in self._batches(cuts):
            inputs = [self._load_line.of_pixels(f"line {place}", cuts[place]) for place in places]
            output = recogniser(_together([each.image for each in inputs]))
            for row, (place, prepared) in enumerate(zip(places, inputs)):
                readings[place] = self._text_of(output[row : row + 1], prepared.shape)
        lines = (Line(box, reading.text, reading.score) for box, reading in zip(boxes, readings))
        return [line for line in lines if line.text and line.score >= LEAST_SCORE]

    def _batches(self, cuts: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """Yield places of lines that are recognised together, from the narrowest to the widest."""
        order = sorted(range(len(cuts)), key=lambda place: cuts[place].shape[1] / cuts[place].shape[0])
        return (order[start : start + self._batch] for start in range(0, len(order), self._batch))


def outline_of(box: np.ndarray) -> Outline:
    """Return the corners of a box [k, 2] as numbers of Python."""
    return tuple((float(x), float(y)) for x, y in box)


def _sides(box: np.ndarray) -> float:
    """Return the shorter of a box's two sides, as PaddleOCR's detector measures them."""
    return float(min(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[0] - box[-1])))


def _together(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return inputs [1, C, H, W] of several widths as one batch, padded with zeros on the right."""
    widest = max(image.shape[3] for image in images)
    padded = [np.pad(image, ((0, 0), (0, 0), (0, 0), (0, widest - image.shape[3]))) for image in images]
    return np.concatenate(padded)
