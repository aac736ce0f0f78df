"""The evaluation set, single images, and PaddleOCR imported quietly."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from small_dataset import EVAL, data, filled, message, rectangle, spoil
from waiting import PATIENCE

from ocrslim.data.eval_set import EvalSet, scan
from ocrslim.data.preprocess import Preprocessor
from ocrslim.errors import ConfigError

__all__ = ["data", "filled"]


def test_items_are_what_the_transforms_give(filled):
    images = EvalSet(scan(filled.config(), "Eval"), filled.config())
    items = list(images)
    assert [item.name for item in items] == [f"{number}.png" for number in range(7)]
    item, image = items[3], images.image(3)
    assert image.shape == (1, 3, 64, 96) and image.dtype == np.float32
    np.testing.assert_allclose(item.shape, [[90, 120, 64 / 90, 96 / 120]], rtol=1e-6)
    np.testing.assert_array_equal(item.target.polygons[0], rectangle(13, 20, 60, 18))
    assert item.target.ignored.tolist() == [False, True]
    pixels = cv2.resize(cv2.imread(str(item.path)), (96, 64)).astype(np.float32)
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(image[0], expected.transpose(2, 0, 1), atol=1e-5)


def test_an_image_without_boxes_stays_itself(filled):
    filled.add("none.png", [])
    item = list(EvalSet(scan(filled.config(), "Eval"), filled.config()))[-1]
    assert item.name == "none.png" and item.target.polygons == [] and item.target.ignored.shape == (0,)


@pytest.mark.parametrize("spilled", [False, True], ids=["decoded-again", "in-a-file"])
def test_memory_has_a_limit_and_does_not_change_the_images(filled, monkeypatch, spilled):
    labelled, one = scan(filled.config(), "Eval"), 64 * 96 * 3 * 4
    whole = EvalSet(labelled, filled.config())
    decoded = []
    monkeypatch.setattr("ocrslim.data.samples.read_image", lambda path: decoded.append(path.name) or path.read_bytes())
    small = EvalSet(labelled, filled.config(), memory=3 * one, folder=filled.folder if spilled else None)
    for _ in range(2):
        for index in range(7):
            np.testing.assert_array_equal(small.image(index), whole.image(index))
    times = [decoded.count(f"{number}.png") for number in range(7)]
    assert times == [1 + 1] * 3 + [1 + (1 if spilled else 2)] * 4, "once for the other set"
    assert small.store.in_memory == 3 * one and small.store.on_disk == (4 * one if spilled else 0)


def test_labels_are_there_without_the_images_being_kept(filled):
    images = EvalSet(scan(filled.config(), "Eval"), filled.config(), memory=0)
    first, second = list(images), list(images)
    assert all(a is b for a, b in zip(first, second)) and images.store.in_memory == 0


def test_the_pixels_are_those_of_all_images_as_the_network_takes_them(filled):
    assert EvalSet(scan(filled.config(), "Eval"), filled.config()).pixels == 7 * 64 * 96


def test_threads_that_want_the_same_image_decode_it_once(filled, monkeypatch):
    labelled, decoded = scan(filled.config(), "Eval"), []
    monkeypatch.setattr("ocrslim.data.samples.read_image", lambda path: decoded.append(path.name) or path.read_bytes())
    images = EvalSet(labelled, filled.config())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(images.image, [index for index in range(7) for _ in range(4)]))
    assert sorted(decoded) == [f"{number}.png" for number in range(7)]


def test_an_image_that_changes_after_the_scan_is_named(filled):
    images = EvalSet(scan(filled.config(), "Eval"), filled.config())
    (filled.images / "2.png").write_bytes((filled.images / "3.png").read_bytes() + b"0")
    assert "2.png: has changed since this run began" in message(list, images)


def test_an_image_that_vanishes_after_the_scan_is_named(filled):
    images = EvalSet(scan(filled.config(), "Eval"), filled.config())
    spoil(filled, "2.png", "missing")
    assert "2.png" in message(list, images)


def test_preprocess_gives_what_the_evaluation_set_gives(filled):
    images = EvalSet(scan(filled.config(), "Eval"), filled.config())
    item = images[1]
    prepared = Preprocessor(filled.config())(item.path)
    np.testing.assert_array_equal(prepared.image, images.image(1))
    np.testing.assert_array_equal(prepared.shape, item.shape)


@pytest.mark.parametrize("how", ["missing", "empty", "text", "truncated"])
def test_preprocess_names_a_bad_image(filled, how):
    spoil(filled, "2.png", how)
    assert str(filled.images / "2.png") in message(Preprocessor(filled.config()), filled.images / "2.png")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"DetLabelEncod": None}, "did you mean DetLabelEncode?", id="unknown"),
        pytest.param({"NormalizeImage": {"mean": "black"}}, "NormalizeImage.mean", id="wrong-argument"),
        pytest.param({"NormalizeImage": {"scale": "__import__('os').getpid()"}}, "scale", id="code"),
        pytest.param({"__import__('os').getpid": None}, "unknown transform", id="code-as-name"),
    ],
)
def test_bad_transforms_name_mode_operator_and_cause(filled, entry, expected):
    filled.trees["Eval"] = [*EVAL[:3], entry, *EVAL[4:]]
    found = message(filled.config, error=ConfigError)
    assert "Eval.dataset.transforms." in found and expected in found


QUIET = """
import logging, warnings
import paddle
import numpy as np
state = np.geterr(), list(warnings.filters), list(logging.root.handlers), logging.root.level
from ocrslim.ppocr import imaug
assert state == (np.geterr(), list(warnings.filters), list(logging.root.handlers), logging.root.level)
assert not logging.getLogger("ppocr").handlers and logging.getLogger("ppocr").level == logging.WARNING
"""


def test_importing_paddleocr_leaves_no_trace(repo):
    done = subprocess.run([sys.executable, "-c", QUIET], cwd=repo, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "DEBUG" not in done.stderr


def test_the_shared_images(shared, data):
    data.trees["Eval"] = [{"DetResizeForTest": {"limit_side_len": 960, "limit_type": "max"}}
                          if "DetResizeForTest" in t else t for t in EVAL]  # fmt: skip
    config = data.config(
        f"Eval.dataset.data_dir={shared}/data/sroie/images",
        f"Eval.dataset.label_file_list=[{shared}/data/sroie/val.txt]",
    )
    labelled = scan(config, "Eval")
    assert len(labelled) == 40 and labelled.tiny == 0 and not labelled.left_out
    images = EvalSet(labelled, config)
    assert max(images.image(0).shape[2:]) == 960 and len(images[0].target.polygons) == labelled.samples[0].items
