"""Detections drawn on what was decoded; one bad image in a folder is a line, not the end."""

from __future__ import annotations

import io
import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image
from small_dataset import data

from ocrslim.errors import DataError
from ocrslim.evaluation.predict import predict_images

__all__ = ["data"]


@pytest.fixture
def config(data):
    data.trees["Eval"] = [
        {"DetResizeForTest": {"limit_side_len": 32, "limit_type": "min"}} if "DetResizeForTest" in entry else entry
        for entry in data.trees["Eval"]
    ]
    return data.config("PostProcess.name=DBPostProcess", "PostProcess.box_thresh=0.6")


def engine(image):
    """Finds one text: what is darker than average, as in a white page with a black bar."""
    return (image[:, :1] < image[:, :1].mean()).astype(np.float32)


def page(name, data, **options):
    """96 x 64 pixels, white, with a bar in the upper left."""
    pixels = np.full((64, 96, 3), 255, np.uint8)
    pixels[8:20, 6:60] = 0
    stream = io.BytesIO()
    kind = {"jpg": "JPEG"}.get(name.rpartition(".")[2], "PNG")
    Image.fromarray(pixels).save(stream, kind, **options)
    (data.images / name).write_bytes(stream.getvalue() + options.pop("behind", b""))


def found(out):
    return json.loads((out / "boxes.json").read_text(encoding="utf-8"))


def test_boxes_are_drawn_where_the_text_is_on_a_photograph_that_is_turned(data, config, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    page("a.jpg", data, exif=exif)
    predict_images(engine, config, data.images, tmp_path / "out")
    drawn = cv2.imread(str(tmp_path / "out/a.jpg.png"))
    assert drawn.shape == (96, 64, 3), "upright"
    (box,) = found(tmp_path / "out")["a.jpg"]
    x, y = np.mean(box, axis=0)
    assert abs(x - (64 - 14)) < 3 and abs(y - 33) < 3, "the bar's middle, turned clockwise"
    assert drawn[30:36, 44:56].mean() < 40, "the bar itself is there"


def test_one_bad_image_of_a_folder_is_a_line(data, config, tmp_path, caplog):
    page("a.png", data)
    page("c.png", data)
    (data.images / "c.png").write_bytes((data.images / "c.png").read_bytes() + b"0" * 100)
    (data.images / "b.png").write_bytes(b"<html>")
    os.mkfifo(data.images / "d.png")
    result = predict_images(engine, config, data.images, tmp_path / "out")
    assert len(result.found) == 2 and result.unreadable == ("b.png", "d.png")
    assert sorted(found(tmp_path / "out")) == ["a.png", "c.png"]
    lines = [record.message for record in caplog.records]
    assert "b.png: not an image" in lines[0] and "d.png: cannot be read: it is a named pipe" in lines[1]


def test_the_only_image_says_what_is_wrong_with_it(data, config, tmp_path):
    (data.images / "b.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"b\.png: .*not an image, or damaged"):
        predict_images(engine, config, data.images / "b.png", tmp_path / "out")
    (data.images / "c.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match="none of 2 images can be read"):
        predict_images(engine, config, data.images, tmp_path / "out")


def test_a_name_that_is_no_utf_8_costs_nothing(data, config, tmp_path):
    page("a.png", data)
    name = os.fsdecode(b"caf\xe9.png")
    (data.images / "a.png").rename(data.images / name)
    result = predict_images(engine, config, data.images, tmp_path / "out")
    assert list(found(tmp_path / "out")) == ["caf\\xe9.png"] and list(result.found) == ["caf\\xe9.png"]
    assert (tmp_path / "out" / f"{name}.png").is_file()


def test_transparent_pages_are_drawn_on_white(data, config, tmp_path):
    pixels = np.zeros((64, 96, 4), np.uint8)
    pixels[8:20, 6:60, 3] = 255
    Image.fromarray(pixels).save(data.images / "a.png")
    predict_images(engine, config, data.images, tmp_path / "out")
    assert len(found(tmp_path / "out")["a.png"]) == 1
    assert cv2.imread(str(tmp_path / "out/a.png.png"))[40:, 70:].min() == 255
