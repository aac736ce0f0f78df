"""Which of the held-out images are shown, and how."""

from __future__ import annotations

import numpy as np

from ocrslim.compression.samples import choose_samples, scaled, small
from ocrslim.tasks.detection.metric import ImageCounts


def test_half_of_the_samples_are_those_that_agree_least():
    names = [f"{number}.jpg" for number in range(10)]
    counts = [ImageCounts(9, 9, 9 - (number in (3, 7)) - (number == 5) * 4) for number in range(10)]
    shown = choose_samples(names, counts, most=6)
    assert shown[:3] == ["5.jpg", "3.jpg", "7.jpg"] and len(set(shown)) == 6
    assert choose_samples(names[:2], counts[:2]) == ["0.jpg", "1.jpg"]


def test_boxes_lie_on_the_small_image_as_on_the_large_one():
    pixels, scale = small(np.zeros((500, 2000, 3), np.uint8))
    assert pixels.shape == (250, 1000, 3)
    assert scaled({"points": [[2000, 500]], "score": 1}, scale) == {"points": [[1000, 250]], "score": 1}
    pixels, scale = small(np.zeros((50, 200, 3), np.uint8))
    assert pixels.shape == (50, 200, 3) and scaled({"text": "a"}, scale) == {"text": "a"}
