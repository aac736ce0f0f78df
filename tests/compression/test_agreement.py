"""Agreement and its interval over images."""

from __future__ import annotations

from ocrslim.compression.agreement import interval
from ocrslim.tasks import task_of
from ocrslim.tasks.detection.metric import ImageCounts

DETECTION = task_of("det")


def test_the_interval_of_images_that_all_agree_is_a_point():
    assert interval([ImageCounts(5, 5, 5)] * 10, DETECTION, "hmean") == (1, 1, 1)


def test_the_interval_holds_the_score_and_narrows_with_more_images():
    some = [ImageCounts(10, 10, matched) for matched in (10, 9, 8, 10, 7, 10, 9, 10)]
    value, low, high = interval(some, DETECTION, "hmean")
    assert low < value == 73 / 80 < high
    _, lower, higher = interval(some * 16, DETECTION, "hmean")
    assert lower - low > 0.01 and high - higher > 0.01


def test_images_weigh_by_what_is_in_them():
    large, small = ImageCounts(99, 99, 99), ImageCounts(1, 1, 0)
    value, low, _ = interval([large, small], DETECTION, "hmean")
    assert value == 0.99 and low == 0, "a draw of the small image alone agrees in nothing"


def test_the_interval_is_the_same_every_time():
    some = [ImageCounts(3, 4, 2), ImageCounts(4, 3, 3), ImageCounts(2, 2, 2)]
    assert interval(some, DETECTION, "hmean") == interval(some, DETECTION, "hmean")
