"""Detection and recognition together: the lines of a page, and how they are scored end to end.

A line that was read counts where it lies on a labelled line and says the same: their intersection over union is more
than one half, as in the score of detectors (`detection.metric`), and their texts are equal without case and spaces.
Each labelled line takes one line that was read, and each of these is taken once. What lies mostly on a region marked
"don't care" does not count. Line F1 is the harmonic mean of precision and recall over the lines of all pages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ocrslim.tasks.detection.labels import DONT_CARE
from ocrslim.tasks.detection.metric import ImageCounts, match


class Line(NamedTuple):
    """A line of a page.

    Attributes:
        points: its outline, float32 [k, 2] in pixels, clockwise from the top left as it is read.
        text: what it says; "###" or "*" of a label marks one that does not count.
        score: how sure the recogniser is (0..1).
    """

    points: np.ndarray
    text: str
    score: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """{"points": [[x, y], ...], "text": ..., "score": ...}."""
        points = np.round(self.points.astype(np.float64), 1).tolist()
        return {"points": points, "text": self.text, "score": round(self.score, 4)}


def lines_of_label(label: str) -> list[Line]:
    """Return the lines of one page, from its label as `Sample` has it: JSON, checked."""
    boxes = json.loads(label)
    return [Line(np.asarray(box["points"], dtype=np.float32), str(box["transcription"])) for box in boxes]


def count_lines(found: Sequence[Line], labelled: Sequence[Line]) -> ImageCounts:
    """Compare the lines that were read on a page with its labelled ones."""
    ignored = np.array([line.text in DONT_CARE for line in labelled], dtype=bool)
    texts, labels = ([normalised(line.text) for line in lines] for lines in (found, labelled))
    alike = np.array([[text == label for text in texts] for label in labels], dtype=bool)
    outlines, expected = ([line.points for line in lines] for lines in (found, labelled))
    return match(outlines, expected, ignored, alike=alike.reshape(len(labelled), len(found)))


def normalised(text: str) -> str:
    """Return a text without case and spaces."""
    return "".join(text.split()).casefold()
