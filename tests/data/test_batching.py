"""Training batches: repeatable, never stopped by one sample, no process left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from small_dataset import TRAIN, data, filled, message, rectangle, text
from waiting import PATIENCE

from ocrslim.data.eval_set import scan, train_loader
from ocrslim.errors import ConfigError, DataError
from ocrslim.ppocr import imaug as paddle_operators

__all__ = ["data", "filled"]

PaddleCopyPaste = paddle_operators.CopyPaste


def arrays(loader):
    return [[tensor.numpy() for tensor in batch] for batch in loader]


def same(first, second):
    return [len(x) for x in first] == [len(y) for y in second] and all(
        np.array_equal(a, b) for x, y in zip(first, second) for a, b in zip(x, y)
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


def with_copy_paste(data):
    data.trees["Train"] = [*TRAIN[:2], {"CopyPaste": {"objects_paste_ratio": 1.0}}, *TRAIN[2:]]
    return data.config()


@pytest.mark.parametrize("more", [[], [text(rectangle(5, 60, 40, 12), "quad")]], ids=["polygons", "one of each"])
def test_copy_paste_takes_boxes_with_four_corners_and_leaves_polygons(data, more, monkeypatch, caplog):
    """PaddleOCR's cut-out of a box wants four corners; every sample was used whole instead."""
    polygon = [[20, 20], [50, 18], [80, 20], [80, 40], [50, 38], [20, 40]]
    for number in range(4):
        data.add(f"{number}.png", [text(polygon, "curved"), *more])
    config = with_copy_paste(data)
    pasted, paste = [], PaddleCopyPaste.__call__

    def watched(self, sample):
        pasted.append(sample["ext_data"][0]["texts"])
        return paste(self, sample)

    monkeypatch.setattr(PaddleCopyPaste, "__call__", watched)
    loader = train_loader(config, scan(config, "Train"), 0)
    assert len(arrays(loader)) == 2 and loader.retried == 0 and not loader.failures
    assert all(texts == ["quad"] for texts in pasted) and bool(pasted) == bool(more)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_operator_that_fails_names_itself_with_the_number_of_samples(filled, monkeypatch, caplog, workers):
    from ocrslim.ppocr import imaug

    def broken(self, sample):
        raise ZeroDivisionError("no good")

    config = filled.config(f"Train.loader.num_workers={workers}")
    labelled = scan(config, "Train")
    monkeypatch.setattr(imaug.IaaAugment, "__call__", broken)
    loader = train_loader(config, labelled, 0)
    with caplog.at_level("INFO"):
        assert len(arrays(loader)) == 4
    assert loader.failures == {"IaaAugment": 7} and loader.retried == 0
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "IaaAugment failed on 7 samples (IaaAugment: ZeroDivisionError: no good)" in record.message


def test_an_epoch_reads_the_part_that_ratio_list_draws(filled):
    config = filled.config("Train.dataset.ratio_list=[0.5]", "Train.loader.batch_size_per_card=1")
    labelled = scan(config, "Train")
    first, again, second = (train_loader(config, labelled, epoch) for epoch in (0, 0, 1))
    assert len(first) == len(second) == 4
    assert same(arrays(first), arrays(again)) and not same(arrays(again), arrays(second))


INTERRUPTED = """
import sys
from ocrslim.config.config import load_config
from ocrslim.data.eval_set import scan, train_loader
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
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == (130 if how == signal.SIGINT else -9), errors.decode()
    assert b"Traceback" not in errors


KILLED_EARLY = """
import time
from ocrslim.data import batching
start = batching._start_worker
def late(*arguments):
    print("forked", flush=True)
    time.sleep(1)
    start(*arguments)
batching._start_worker = late
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_worker_whose_main_process_was_killed_before_it_began_ends_too(filled, repo):
    filled.config()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_EARLY + INTERRUPTED, str(filled.folder / "config.yml")],
        cwd=repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"forked\n"
    process.kill()
    # returns when the last process that holds the pipes has ended
    output, _ = process.communicate(timeout=PATIENCE)
    assert b"batch" not in output
