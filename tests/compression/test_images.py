"""Images divided into those to calibrate on, to choose by, and held out."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image

from ocrslim.compression.images import FEWEST, Split, nothing_found, split, too_few, whole_pages, write_lists
from ocrslim.tasks import task_of


@pytest.mark.parametrize("count", [FEWEST, 9, 40, 1000])
def test_no_image_is_in_two_parts_and_none_is_lost(count):
    names = [f"{number}.jpg" for number in range(count)]
    parts = split(names, 1024)
    everything = [*parts.calibration, *parts.choice, *parts.held_out]
    assert sorted(everything) == sorted(names)
    assert len(parts.calibration) >= 4 and len(parts.choice) >= 2 and len(parts.held_out) >= 2
    assert abs(len(parts.choice) - len(parts.held_out)) <= 1


def test_the_parts_are_the_same_every_time_and_not_by_name():
    names = [f"{number:02}.jpg" for number in range(40)]
    assert split(names, 1024) == split(names, 1024) != split(names, 1025)
    assert split(names, 1024).calibration != tuple(names[:16])


def test_lists_name_the_images_with_what_was_found(tmp_path):
    odd = os.fsdecode(b"\xff.jpg")  # no UTF-8
    files = write_lists(Split((odd, "a.jpg"), ("b.jpg",), ("c d.jpg",)), {"b.jpg": "[1]", "c d.jpg": "[2]"}, tmp_path)
    assert files.calibration.read_bytes() == b"\xff.jpg\na.jpg\n"
    assert files.choice.read_text() == "b.jpg\t[1]\n" and files.held_out.read_text() == "c d.jpg\t[2]\n"


def test_images_without_a_finding_are_counted():
    assert nothing_found({"a": None, "b": "x", "c": None}).startswith("2 images left out")
    assert not nothing_found({"b": "x"})


def test_a_dozen_lines_are_too_few_to_choose_by_and_a_dozen_pages_are_not():
    names = tuple(f"{number}.png" for number in range(12))
    parts = Split((), names, ())
    said = too_few(parts, dict.fromkeys(names, "text"), task_of("rec"))
    assert "each is 8.3 points of agreement" in said and "about 9 times as many images" in said
    boxes = json.dumps([{"transcription": "text", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]}] * 10)
    assert not too_few(parts, dict.fromkeys(names, boxes), task_of("det"))


def test_pages_given_to_a_model_of_lines_are_told(tmp_path):
    sizes = {"page.png": (600, 800), "photograph.png": (800, 600), "line.png": (320, 48), "letter.png": (40, 48)}
    for name, size in sizes.items():
        Image.new("L", size).save(tmp_path / name)
    said = whole_pages(tmp_path, ["page.png", "photograph.png", "line.png"], task_of("rec"))
    assert "2 of 3 images look like whole pages, and this model reads single lines" in said and "page.png" in said
    assert not whole_pages(tmp_path, ["page.png", "line.png", "letter.png"], task_of("rec"))
    assert not whole_pages(tmp_path, ["page.png", "photograph.png"], task_of("det"))
