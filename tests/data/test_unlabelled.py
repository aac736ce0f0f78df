"""Data sets that name no labels: their images, and the batches of a training on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ocrslim.config import load_config
from ocrslim.data import names_labels, scan, train_loader, unlabelled_images
from ocrslim.errors import DataError

DECODE = {"DecodeImage": {"img_mode": "BGR", "channel_first": False}}
KEEP = {"KeepKeys": {"keep_keys": ["image", "label"]}}
LINE = [DECODE, {"ClsLabelEncode": None}, {"ClsResizeImg": {"image_shape": [3, 32, 64]}}, KEEP]
PAGE = [
    DECODE,
    {"DetLabelEncode": None},
    {"DetResizeForTest": {"image_shape": [64, 96]}},
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
]


@pytest.fixture
def images(tmp_path) -> Path:
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for number in range(9):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def config(images, tmp_path):
    def make(kind="cls", train=None, **datasets):
        transforms = PAGE if kind == "det" else LINE
        tree = {"Architecture": {"model_type": kind, "algorithm": "CLS"}, "PostProcess": {"name": "ClsPostProcess"}}
        if kind == "det":
            tree = {"PostProcess": {"name": "DBPostProcess"}}
        for mode in ("Train", "Eval"):
            listed = train if mode == "Train" and train else transforms
            dataset = {"name": "SimpleDataSet", "data_dir": str(images), "transforms": listed}
            tree[mode] = {"dataset": {**dataset, **datasets.get(mode, {})}}
        tree["Train"]["loader"] = {"shuffle": False, "batch_size_per_card": 3, "num_workers": 0}
        path = tmp_path / "config.yml"
        path.write_text(yaml.safe_dump(tree))
        return load_config(path)

    return make


def names(paths) -> list[str]:
    return [path.stem for path in paths]


def test_a_list_names_the_images_whatever_else_the_folder_has(config, images, tmp_path):
    listed = tmp_path / "images.txt"
    listed.write_text("7.png\n2.png\n")
    made = config(Train={"image_list": str(listed)})
    assert names(unlabelled_images(made, "Train")) == ["7", "2"]
    assert names(unlabelled_images(made, "Eval")) == ["0", "3", "6"]
    listed.write_text("\n")
    with pytest.raises(DataError, match="Train.dataset.image_list .*: empty, expected the names of images"):
        unlabelled_images(made, "Train")
    listed.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        unlabelled_images(made, "Train")


def test_one_folder_for_both_is_divided(config, images):
    found = config()
    assert not names_labels(found, "Train")
    assert names(unlabelled_images(found, "Eval")) == ["0", "3", "6"]
    assert names(unlabelled_images(found, "Train")) == ["1", "2", "4", "5", "7", "8"]


def test_images_that_are_scored_are_not_trained_on(config, images, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("2.png\t0\n5.png\t180\n")
    found = config(Eval={"label_file_list": [str(labels)]})
    assert names(unlabelled_images(found, "Train")) == ["0", "1", "3", "4", "6", "7", "8"]
    labels.write_text("".join(f"{number}.png\t0\n" for number in range(9)))
    assert len(unlabelled_images(found, "Train")) == 9  # rather than none


def test_two_folders_are_taken_whole(config, images, tmp_path):
    (tmp_path / "others").mkdir()
    cv2.imwrite(str(tmp_path / "others/a.png"), np.zeros((40, 60, 3), np.uint8))
    found = config(Eval={"data_dir": str(tmp_path / "others")})
    assert names(unlabelled_images(found, "Eval")) == ["a"]
    assert len(unlabelled_images(found, "Train")) == 9


def test_images_that_cannot_be_read_are_left_out(config, images):
    (images / "1.png").write_bytes(b"no image")
    found = scan(config(), "Train")
    assert len(found) == 5 and not found.labelled
    assert found.summary().startswith("Train: 5 images without labels; left out as unreadable: 1 (1.png: ")
    for path in images.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of its images can be read"):
        scan(config(), "Train")


def test_batches_have_images_alone_prepared_as_for_an_evaluation(config):
    found = config()
    batches = list(train_loader(found, scan(found, "Train"), epoch=0))
    assert [len(batch) for batch in batches] == [1, 1] and batches[0][0].shape == [3, 3, 32, 64]


def test_chance_is_added_that_needs_no_label(config):
    chance = {"BaseDataAugmentation": {"reverse_prob": 1, "crop_prob": 0, "noise_prob": 0, "jitter_prob": 0}}
    calm, turned = config(), config(train=[DECODE, chance, {"RecConAug": None}, *LINE[1:]])
    found = [next(iter(train_loader(each, scan(each, "Train"), epoch=0)))[0].numpy() for each in (calm, turned)]
    again = next(iter(train_loader(turned, scan(turned, "Train"), epoch=0)))[0].numpy()
    assert np.abs(found[0] + found[1]).mean() < 0.2 < np.abs(found[0] - found[1]).mean()  # black is white
    np.testing.assert_array_equal(found[1], again)


def test_pages_are_cut_to_one_size_in_another_place_each_time(config, monkeypatch):
    monkeypatch.setattr("ocrslim.tasks.detection.task.CROP", 32)
    found = config("det")
    labelled = scan(found, "Train")
    first, same, other = (next(iter(train_loader(found, labelled, epoch)))[0].numpy() for epoch in (0, 0, 1))
    assert first.shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0
