"""Label files, the scan, the evaluation set and the training batches."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ocrslim.config import load_config
from ocrslim.data import EvalSet, preprocess, scan, train_loader
from ocrslim.errors import ConfigError, DataError

NORMALISE = {
    "NormalizeImage": {
        "scale": "1./255.",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "order": "hwc",
    }
}
TRAIN = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {
        "IaaAugment": {
            "augmenter_args": [
                {"type": "Fliplr", "args": {"p": 0.5}},
                {"type": "Affine", "args": {"rotate": [-10, 10]}},
                {"type": "Resize", "args": {"size": [0.5, 3]}},
            ]
        }
    },
    {"EastRandomCropData": {"size": [96, 64], "max_tries": 50, "keep_ratio": True}},
    {"MakeBorderMap": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"MakeShrinkMap": {"shrink_ratio": 0.4, "min_text_size": 8}},
    NORMALISE,
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]}},
]
EVAL = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {"DetResizeForTest": {"image_shape": [64, 96]}},
    NORMALISE,
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
]


def rectangle(x, y, width, height):
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def text(points, transcription="text"):
    return {"transcription": transcription, "points": points}


class Data:
    """A folder of small images, its label file, and a configuration over both."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        self.labels = folder / "label.txt"
        self.trees = {"Train": TRAIN, "Eval": EVAL}

    def add(self, name, boxes):
        pixels = np.random.default_rng(len(name)).integers(0, 255, (90, 120, 3), dtype=np.uint8)
        assert cv2.imwrite(str(self.images / name), pixels)
        self.line(f"{name}\t{json.dumps(boxes)}")

    def line(self, line):
        with self.labels.open("ab") as stream:
            stream.write(line.encode("utf-8") + b"\n")

    def config(self, *overrides):
        tree = {"Global": {"seed": 5, "save_model_dir": str(self.folder / "out")}}
        for mode, transforms in self.trees.items():
            tree[mode] = {
                "dataset": {
                    "name": "SimpleDataSet",
                    "data_dir": str(self.images),
                    "label_file_list": [str(self.labels)],
                    "transforms": transforms,
                },
                "loader": {
                    "shuffle": mode == "Train",
                    "drop_last": False,
                    "batch_size_per_card": 2 if mode == "Train" else 1,
                    "num_workers": 0,
                },
            }
        path = self.folder / "config.yml"
        path.write_text(yaml.safe_dump(tree))
        return load_config(path, overrides)


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path / "data")


@pytest.fixture
def filled(data):
    for number in range(7):
        data.add(f"{number}.png", [text(rectangle(10 + number, 20, 60, 18)), text(rectangle(5, 60, 40, 12), "###")])
    return data


def message(call, *arguments, error=DataError) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- label files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["Train", "Eval"])
def test_missing_files_name_the_redirection(data, mode):
    config = data.config()
    shutil.rmtree(data.images)
    redirection = f"-o {mode}.dataset.data_dir=FOLDER {mode}.dataset.label_file_list=[FILE]"
    found = message(scan, config, mode)
    assert str(data.images) in found and "not found" in found and redirection in found
    data.images.mkdir()
    found = message(scan, config, mode)
    assert str(data.labels) in found and "not found" in found and redirection in found


LINE = 'a.png\t[{"transcription": %s, "points": [%s]}]'
BOX = json.dumps([text(rectangle(0, 0, 20, 20))])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("a.png " + BOX, "no tab", id="no-tab"),
        pytest.param("\t" + BOX, "no image name", id="no-name"),
        pytest.param("a.png\t" + BOX[:-3], "not JSON", id="truncated-json"),
        pytest.param("a.png\t" + "[" * 100_000, "not JSON", id="nested-without-end"),
        pytest.param("a.png\t{}", "not a list of boxes", id="no-list"),
        pytest.param('a.png\t["x"]', "box 1 has no 'transcription'", id="box-is-a-string"),
        pytest.param('a.png\t[{"points": [[0,0],[9,0],[9,9],[0,9]]}]', "no 'transcription'", id="no-text"),
        pytest.param('a.png\t[{"transcription": "x"}]', "no 'points'", id="no-points"),
        pytest.param(LINE % ("null", "[0,0],[9,0],[9,9],[0,9]"), "not text", id="null"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9]"), "at least 4", id="three-points"),
        pytest.param(LINE % ('"x"', '[0,0],[9,0],[9,9],[0,"9"]'), '"9"', id="string"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9],[0,NaN]"), "NaN", id="nan"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9],[0]"), "[0]", id="one-number"),
        pytest.param(LINE % ('"x"', "[0,0],[9,0],[9,9],[0,1e9]"), "1000000000", id="huge"),
    ],
)
def test_a_broken_line_is_named(data, line, expected):
    data.add("a.png", [text(rectangle(0, 0, 20, 20))])
    data.line(line)
    found = message(scan, data.config(), "Eval")
    assert f"{data.labels}, line 2" in found and expected in found


def test_all_broken_lines_are_counted(data):
    data.line("one")
    data.line("two")
    data.line("three")
    found = message(scan, data.config(), "Eval")
    assert "line 1" in found and "2 more lines are broken too" in found


def test_a_file_that_is_not_utf8(data):
    data.labels.write_bytes(b"a.png\t[]\nb\xff.png\t[]\n")
    found = message(scan, data.config(), "Eval")
    assert "line 2" in found and "0xff" in found and "UTF-8" in found


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_an_empty_file(data, content):
    data.labels.write_bytes(content)
    assert "empty" in message(scan, data.config(), "Eval")


def test_byte_order_mark_and_windows_line_ends(data):
    data.add("a.png", [text(rectangle(0, 0, 20, 20))])
    data.labels.write_bytes(b"\xef\xbb\xbf" + data.labels.read_bytes().replace(b"\n", b"\r\n"))
    assert [sample.name for sample in scan(data.config(), "Eval").samples] == ["a.png"]


def test_a_delimiter_of_its_own(data):
    data.add("a.png", [text(rectangle(0, 0, 20, 20))])
    data.labels.write_text(data.labels.read_text().replace("\t", "|"))
    assert len(scan(data.config("Eval.dataset.delimiter='|'"), "Eval")) == 1
    assert "no tab" in message(scan, data.config(), "Eval")


def test_thin_boxes_become_dont_care(data):
    data.add("a.png", [
        text(rectangle(0, 0, 20, 3)),
        text(rectangle(0, 10, 20, 2.9)),
        text(rectangle(0, 20, 1, 20)),
        text([[0, 0], [40, 40], [41, 39], [1, -1]]),
        text(rectangle(0, 30, 2, 2), "###"),
    ])  # fmt: skip
    labelled = scan(data.config(), "Eval")
    texts = [box["transcription"] for box in json.loads(labelled.samples[0].label)]
    assert texts == ["text", "###", "###", "###", "###"]
    assert labelled.tiny == 3 and "(3 of them because a side is under 3 pixels)" in labelled.summary()


def test_ratio_list_takes_a_part_that_depends_on_the_seed_alone(filled):
    names = [s.name for s in scan(filled.config("Train.dataset.ratio_list=[0.5]"), "Train").samples]
    again = [s.name for s in scan(filled.config("Train.dataset.ratio_list=[0.5]"), "Train").samples]
    other = scan(filled.config("Train.dataset.ratio_list=[0.5]", "Global.seed=6"), "Train").samples
    assert len(names) == 4 and names == again and names != [s.name for s in other]


# --- the scan ------------------------------------------------------------------------------------------


def spoil(data, name, how):
    path = data.images / name
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"<html>not found</html>")
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("how", ["missing", "empty", "text", "truncated"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_unreadable_image_is_left_out_and_named(data, how, suffix):
    for number in range(100):
        data.add(f"{number}.{suffix}", [text(rectangle(10, 20, 60, 18))])
    spoil(data, f"7.{suffix}", how)
    labelled = scan(data.config(), "Eval")
    assert labelled.left_out == (f"7.{suffix}",) and len(labelled) == 99
    assert f"left out as unreadable: 1 (7.{suffix})" in labelled.summary()


def test_more_than_one_percent_unreadable_stops(data):
    for number in range(100):
        data.add(f"{number}.png", [text(rectangle(10, 20, 60, 18))])
    spoil(data, "7.png", "text")
    spoil(data, "8.png", "missing")
    found = message(scan, data.config(), "Train")
    assert "2 of 100 images" in found and "7.png, 8.png" in found and "1%" in found


def test_one_unreadable_of_few_images_stops(filled):
    spoil(filled, "3.png", "truncated")
    assert "1 of 7 images" in message(scan, filled.config(), "Eval")


def test_images_without_text_are_for_evaluation_only(filled):
    filled.add("none.png", [])
    filled.add("ignored.png", [text(rectangle(10, 20, 60, 18), "###")])
    labelled = scan(filled.config(), "Train")
    assert labelled.textless == ("none.png", "ignored.png") and len(labelled) == 7
    assert len(scan(filled.config(), "Eval")) == 9


def test_nothing_to_learn(data):
    data.add("a.png", [])
    assert "text to learn" in message(scan, data.config(), "Train")


def test_fingerprint_follows_labels_images_and_transforms_but_not_the_place(filled, tmp_path):
    def fingerprint(*overrides):
        return scan(filled.config(*overrides), "Eval").fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    shutil.copytree(filled.images, tmp_path / "elsewhere")
    assert fingerprint(f"Eval.dataset.data_dir={tmp_path / 'elsewhere'}") == first
    filled.trees["Eval"] = [{"DetResizeForTest": {"image_shape": [96, 96]}} if "DetResizeForTest" in t else t
                            for t in EVAL]  # fmt: skip
    assert fingerprint() != first
    filled.trees["Eval"] = EVAL
    filled.labels.write_text(filled.labels.read_text().replace("text", "word"))
    second = fingerprint()
    assert second != first
    image = cv2.imread(str(filled.images / "0.png"))
    image[0, 0] ^= 1
    cv2.imwrite(str(filled.images / "0.png"), image)
    assert fingerprint() != second


# --- the evaluation set --------------------------------------------------------------------------------


def test_items_are_what_the_transforms_give(filled):
    items = list(EvalSet(scan(filled.config(), "Eval"), filled.config()))
    assert [item.name for item in items] == [f"{number}.png" for number in range(7)]
    item = items[3]
    assert item.image.shape == (1, 3, 64, 96) and item.image.dtype == np.float32
    np.testing.assert_allclose(item.shape, [[90, 120, 64 / 90, 96 / 120]], rtol=1e-6)
    np.testing.assert_array_equal(item.polys[0], rectangle(13, 20, 60, 18))
    assert item.ignore.tolist() == [False, True]
    pixels = cv2.resize(cv2.imread(str(item.path)), (96, 64)).astype(np.float32)
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(item.image[0], expected.transpose(2, 0, 1), atol=1e-5)


def test_an_image_without_boxes_stays_itself(filled):
    filled.add("none.png", [])
    item = list(EvalSet(scan(filled.config(), "Eval"), filled.config()))[-1]
    assert item.name == "none.png" and item.polys == [] and item.ignore.shape == (0,)


def test_the_cache_has_a_limit_and_does_not_change_the_items(filled):
    labelled = scan(filled.config(), "Eval")
    one = 64 * 96 * 3 * 4
    small = EvalSet(labelled, filled.config(), cache_bytes=3 * one)
    first, second = list(small), list(small)
    same = [a is b for a, b in zip(first, second)]
    assert same == [True] * 3 + [False] * 4
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a.image, b.image)


def test_an_image_that_vanishes_after_the_scan_is_named(filled):
    images = EvalSet(scan(filled.config(), "Eval"), filled.config())
    spoil(filled, "2.png", "missing")
    assert "2.png" in message(list, images)


def test_preprocess_gives_what_the_evaluation_set_gives(filled):
    item = EvalSet(scan(filled.config(), "Eval"), filled.config())[1]
    image, shape = preprocess(filled.config())(item.path)
    np.testing.assert_array_equal(image, item.image)
    np.testing.assert_array_equal(shape, item.shape)


@pytest.mark.parametrize("how", ["missing", "empty", "text", "truncated"])
def test_preprocess_names_a_bad_image(filled, how):
    spoil(filled, "2.png", how)
    assert str(filled.images / "2.png") in message(preprocess(filled.config()), filled.images / "2.png")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"DetLabelEncod": None}, "did you mean DetLabelEncode?", id="unknown"),
        pytest.param({"NormalizeImage": {"mean": "black"}}, "NormalizeImage refuses", id="wrong-argument"),
        pytest.param({"NormalizeImage": {"scale": "__import__('os').getpid()"}}, "scale", id="code"),
        pytest.param({"__import__('os').getpid": None}, "no operator", id="code-as-name"),
    ],
)
def test_bad_transforms_name_mode_operator_and_cause(filled, entry, expected):
    filled.trees["Eval"] = [*EVAL[:3], entry, *EVAL[4:]]
    found = message(preprocess, filled.config(), error=ConfigError)
    assert "Eval.dataset.transforms[3]" in found and expected in found


# --- training batches ----------------------------------------------------------------------------------


def arrays(loader):
    return [[tensor.numpy() for tensor in batch] for batch in loader]


def same(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a, b) for x, y in zip(first, second) for a, b in zip(x, y, strict=True)
    )


def test_batches_depend_on_seed_epoch_and_place_alone(filled):
    config = filled.config()
    labelled = scan(config, "Train")
    first = arrays(train_loader(config, labelled, 3))
    assert [len(batch[0]) for batch in first] == [2, 2, 2, 1]
    assert [array.shape[1:] for array in first[0]] == [(3, 64, 96)] + [(64, 96)] * 4
    random.seed(99)
    np.random.seed(99)
    before = random.getstate()[1], np.random.get_state()[1].tolist()
    assert same(arrays(train_loader(config, labelled, 3)), first)
    assert (random.getstate()[1], np.random.get_state()[1].tolist()) == before
    assert same(arrays(train_loader(config, labelled, 3, skip_batches=2)), first[2:])
    assert not same(arrays(train_loader(config, labelled, 4)), first)
    assert not same(arrays(train_loader(filled.config("Global.seed=6"), labelled, 3)), first)


@pytest.mark.parametrize("shared_memory", [True, False])
def test_workers_give_the_same_batches(filled, shared_memory):
    config = filled.config()
    labelled = scan(config, "Train")
    inside = arrays(train_loader(config, labelled, 1))
    two = filled.config("Train.loader.num_workers=2", f"Train.loader.use_shared_memory={shared_memory}")
    assert same(arrays(train_loader(two, labelled, 1)), inside)
    assert same(arrays(train_loader(two, labelled, 1, skip_batches=3)), inside[3:])
    assert arrays(train_loader(two, labelled, 1, skip_batches=4)) == []


def test_every_image_once_in_an_epoch_in_a_new_order(filled):
    config = filled.config("Train.loader.batch_size_per_card=1")
    filled.trees["Train"] = [*TRAIN[:2], *TRAIN[4:]]
    config = filled.config("Train.loader.batch_size_per_card=1")
    labelled = scan(config, "Train")

    def order(epoch, *overrides):
        loader = train_loader(filled.config("Train.loader.batch_size_per_card=1", *overrides), labelled, epoch)
        return [float(batch[3].numpy().nonzero()[2].min()) for batch in loader]

    assert sorted(order(0)) == sorted(order(1)) == order(0, "Train.loader.shuffle=False")
    assert len(set(order(0))) == 7 and order(0) != order(1)


def test_drop_last(filled):
    config = filled.config("Train.loader.drop_last=True", "Train.loader.batch_size_per_card=3")
    labelled = scan(config, "Train")
    assert len(train_loader(config, labelled, 0)) == 2
    config = filled.config("Train.loader.drop_last=True", "Train.loader.batch_size_per_card=8")
    assert "drop_last=False" in message(train_loader, config, labelled, 0)


def test_skipped_batches_are_not_read(filled):
    config = filled.config()
    labelled = scan(config, "Train")
    shutil.rmtree(filled.images)
    assert len(train_loader(config, labelled, 0, skip_batches=4)) == 0
    with pytest.raises(DataError):
        arrays(train_loader(config, labelled, 0, skip_batches=3))


def test_boxes_that_a_crop_shrinks_to_nothing_do_not_stop_training(data):
    data.trees["Train"] = [
        TRAIN[0],
        TRAIN[1],
        {"EastRandomCropData": {"size": [24, 24], "max_tries": 1}},
        *TRAIN[4:],
    ]
    thin = [text(rectangle(x, y, 3.2, 3.2)) for x in range(0, 90, 9) for y in range(0, 80, 7)]
    data.add("a.png", [text(rectangle(0, 84, 118, 5)), *thin])
    config = data.config()
    loader = train_loader(config, scan(config, "Train"), 0)
    assert len(arrays(loader)) == 1 and loader.retried == 0


def test_a_failing_crop_is_drawn_again_and_counted(filled, monkeypatch):
    from ocrslim.ppocr import imaug

    crop = imaug.EastRandomCropData.__call__

    def fussy(self, sample):
        return crop(self, sample) if np.random.random() < 0.5 or not self.max_tries else None

    config = filled.config()
    labelled = scan(config, "Train")
    monkeypatch.setattr(imaug.EastRandomCropData, "__call__", fussy)
    loader = train_loader(config, labelled, 0)
    first = arrays(loader)
    assert len(first) == 4 and 0 < loader.retried <= 7
    assert same(arrays(train_loader(config, labelled, 0)), first)


def test_a_sample_that_no_crop_can_deal_with_is_taken_whole(filled, monkeypatch):
    from ocrslim.ppocr import imaug

    crop = imaug.EastRandomCropData.__call__
    monkeypatch.setattr(
        imaug.EastRandomCropData, "__call__", lambda self, data: None if self.max_tries else crop(self, data)
    )
    config = filled.config("Train.loader.shuffle=False", "Train.loader.batch_size_per_card=1")
    loader = train_loader(config, scan(config, "Train"), 0)
    image = arrays(loader)[0][0][0]
    pixels = cv2.resize(cv2.imread(str(filled.images / "0.png")), (85, 64)).astype(np.float32)
    np.testing.assert_allclose(image[0, :64, :85], (pixels[..., 0] / 255 - 0.485) / 0.229, atol=1e-4)
    assert loader.retried == 7


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_that_always_fails_is_named_in_one_line(filled, workers):
    filled.trees["Train"] = [*TRAIN[:-1], {"KeepKeys": {"keep_keys": ["image", "shrunk_map"]}}]
    config = filled.config(f"Train.loader.num_workers={workers}")
    found = message(arrays, train_loader(config, scan(config, "Train"), 0))
    assert "KeepKeys" in found and "shrunk_map" in found and ".png" in found


def test_samples_of_different_size_are_refused(filled):
    pixels = np.zeros((50, 60, 3), np.uint8)
    cv2.imwrite(str(filled.images / "0.png"), pixels)
    filled.trees["Train"] = [*TRAIN[:2], *TRAIN[4:]]
    config = filled.config("Train.loader.batch_size_per_card=7")
    assert "differ in size" in message(arrays, train_loader(config, scan(config, "Train"), 0))


def test_transforms_must_end_with_keepkeys(filled):
    filled.trees["Train"] = TRAIN[:-1]
    config = filled.config()
    assert "KeepKeys" in message(train_loader, config, scan(config, "Train"), 0, error=ConfigError)


def test_copy_paste_gets_another_sample(filled):
    filled.trees["Train"] = [*TRAIN[:2], {"CopyPaste": None}, *TRAIN[2:]]
    config = filled.config()
    labelled = scan(config, "Train")
    first = arrays(train_loader(config, labelled, 0))
    assert len(first) == 4 and same(arrays(train_loader(config, labelled, 0)), first)


# --- behaviour of the process --------------------------------------------------------------------------

QUIET = """
import logging, warnings
import paddle
import numpy as np
state = np.geterr(), list(warnings.filters), list(logging.root.handlers), logging.root.level
import ocrslim.ppocr
assert state == (np.geterr(), list(warnings.filters), list(logging.root.handlers), logging.root.level)
assert not logging.getLogger("ppocr").handlers and logging.getLogger("ppocr").level == logging.WARNING
"""


def test_importing_paddleocr_leaves_no_trace(repo):
    done = subprocess.run([sys.executable, "-c", QUIET], cwd=repo, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "DEBUG" not in done.stderr


INTERRUPTED = """
import sys
from ocrslim.config import load_config
from ocrslim.data import scan, train_loader
config = load_config(sys.argv[1], ["Train.loader.num_workers=2"])
labelled = scan(config, "Train")
try:
    epoch = 0
    while True:
        for batch in train_loader(config, labelled, epoch):
            print("batch", flush=True)
        epoch += 1
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs process groups and prctl")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_survives(filled, repo, how):
    """Ctrl-C reaches the whole group and is quiet; kill -9 reaches the main process alone."""
    filled.config()
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(filled.folder / "config.yml")],
        cwd=repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"batch\n"
    time.sleep(0.2)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.kill()
    # returns when the last process that holds the pipes has ended
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -9), errors.decode()
    assert b"Traceback" not in errors


# --- the shared images ---------------------------------------------------------------------------------


def test_the_shared_images(shared, data):
    data.trees["Eval"] = [{"DetResizeForTest": {"limit_side_len": 960, "limit_type": "max"}}
                          if "DetResizeForTest" in t else t for t in EVAL]  # fmt: skip
    config = data.config(
        f"Eval.dataset.data_dir={shared}/data/sroie/images",
        f"Eval.dataset.label_file_list=[{shared}/data/sroie/val.txt]",
    )
    labelled = scan(config, "Eval")
    assert len(labelled) == 40 and labelled.tiny == 0 and not labelled.left_out
    item = EvalSet(labelled, config)[0]
    assert max(item.image.shape[2:]) == 960 and len(item.polys) == labelled.samples[0].boxes
