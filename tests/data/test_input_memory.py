"""What an image becomes for the network, and the memory that takes, before it is made."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from detection import DETECTION

from ocrslim.data import input_memory as network_input
from ocrslim.data.input_memory import NetworkMemory, available_memory, require_memory_to_transform
from ocrslim.errors import DataError
from ocrslim.ppocr import imaug
from ocrslim.tasks.detection.transforms import input_size


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit_side_len": 960, "limit_type": "max"},
        {"limit_side_len": 300, "limit_type": "min"},
        {"limit_side_len": 640, "limit_type": "resize_long"},
        {"resize_long": 500},
        {"image_shape": [64, 96]},
        {"image_shape": [64, 96], "keep_ratio": True},
    ],
    ids=str,
)
def test_the_size_is_what_paddleocr_makes_of_the_image(options):
    resize, rng = imaug.DetResizeForTest(**options), np.random.default_rng(1)
    sizes = [*rng.integers(1, 60, (20, 2)), *rng.integers(20, 900, (20, 2))]
    for size in [(int(height), int(width)) for height, width in sizes]:
        made = resize({"image": np.zeros((*size, 3), np.uint8)})["image"].shape[:2]
        assert input_size(resize, size) == made, size


def test_the_line_that_a_public_report_was_about():
    assert input_size(imaug.DetResizeForTest(), (20, 1434)) == (736, 52768)


class Hungry:
    """An engine that asks Paddle for 1000 bytes for each pixel."""

    def __init__(self):
        self.shapes = []

    def __call__(self, image):
        import paddle

        self.shapes.append(image.shape)
        paddle.empty([image[0, 0].size * 1000], dtype="uint8")
        return image


@pytest.fixture
def memory(monkeypatch):
    network_input._say_once.cache_clear()
    monkeypatch.setattr(network_input, "available_memory", lambda: 10 << 30)
    return NetworkMemory(Hungry(), DETECTION)


def test_memory_is_measured_and_what_is_too_large_refused(memory):
    memory.require("a.png", (20, 30), (2000, 2000))
    assert not memory._engine.shapes, "a small image costs nothing"
    with pytest.raises(DataError) as caught:
        memory.require("strip.png", (20, 1434), (736, 52768))
    found = str(caught.value)
    assert found.startswith("strip.png: 1434x20 pixels become 52768x736 for the network")
    assert "about 45.6 GiB" in found and "10.0 GiB are free" in found and "limit_side_len: 960" in found
    assert memory._engine.shapes == [(1, 3, 64, 96)]


def test_much_memory_is_announced_once(memory, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            memory.require("photo.jpg", (2000, 3000), (2016, 3008))
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "photo.jpg: 3000x2000 pixels become 3008x2016 for the network, which takes about 7.1 GiB of memory"
    ]


def test_an_input_that_does_not_fit_by_itself_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(network_input, "available_memory", lambda: 1 << 30)
    with pytest.raises(ValueError, match=r"10000x1 pixels become 7360000x736 .* 302\.\d GiB"):
        require_memory_to_transform((1, 10000), (736, 7360000), DETECTION)


def test_available_memory_is_some_and_not_more_than_there_is():
    import psutil

    assert 0 < available_memory() <= psutil.virtual_memory().total
