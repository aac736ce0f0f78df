"""Parts of images as samples: cut as PaddleOCR cuts them, and a page decoded once for all its words."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from lines import DIGITS, draw_line, numbers, own_networks, recogniser, write_lines, write_page, write_tree

from ocrslim.config import load_config
from ocrslim.data import EvalSet, Preprocessor, scan, train_loader
from ocrslim.data import samples as samples_module
from ocrslim.data.samples import SampleImages, cut_out, part_size
from ocrslim.errors import DataError

__all__ = ["own_networks"]

BOX = ((10.0, 20.0), (110.0, 24.0), (109.0, 52.0), (9.0, 48.0))
UPRIGHT = ((10.0, 20.0), (40.0, 20.0), (40.0, 95.0), (10.0, 95.0))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 255, (120, 200, 3)).astype(np.uint8)


@pytest.fixture
def page(tmp_path):
    """A configuration that is trained and scored on the lines of a page each."""
    train, scored = write_page(tmp_path / "train", numbers(12, 1)), write_page(tmp_path / "eval", numbers(9, 2))
    path = write_tree(tmp_path / "rec.yml", recogniser(tmp_path, train, scored))
    return lambda *words: load_config(path, list(words))


@pytest.fixture
def decoded(monkeypatch):
    """The sizes of the images that are decoded to be cut."""
    sizes = []
    real = samples_module.decode_image

    def decode(content, ignore_orientation=False):
        sizes.append(len(content))
        return real(content, ignore_orientation)

    monkeypatch.setattr(samples_module, "decode_image", decode)
    return sizes


@pytest.mark.parametrize("outline", [BOX, UPRIGHT], ids=["lying", "upright"])
def test_a_part_is_cut_out_as_a_perspective_view(noise, outline):
    corners = np.array(outline, np.float32)
    width = int(max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3])))
    height = int(max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2])))
    goal = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    view = cv2.getPerspectiveTransform(corners, goal)
    expected = cv2.warpPerspective(noise, view, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    turned = height / width >= 1.5
    found = cut_out(noise, outline)
    np.testing.assert_array_equal(found, np.rot90(expected) if turned else expected)
    assert found.shape[:2] == part_size(outline) and turned == (outline is UPRIGHT)


def test_an_outline_with_more_corners_is_cut_by_the_rectangle_around_it(noise):
    curved = ((10.0, 20.0), (60.0, 18.0), (110.0, 20.0), (110.0, 50.0), (60.0, 52.0), (10.0, 50.0))
    found = cut_out(noise, curved)
    assert np.abs(np.array(found.shape[:2]) - part_size(curved)).max() <= 2 and found.shape[1] > 2 * found.shape[0]


def test_a_page_is_decoded_once_for_all_its_lines(page, decoded):
    labelled = scan(page(), "Eval")
    assert len(labelled) == 9 and {sample.path.name for sample in labelled.samples} == {"page.png"}
    assert [sample.label for sample in labelled.samples] == numbers(9, 2)
    assert labelled.summary() == "Eval: 9 parts of 1 images, 9 texts"
    images = EvalSet(labelled, page())
    for index in reversed(range(9)):
        images.image(index)
    assert len(decoded) == 1, "whichever line is asked for first"
    assert [item.target for item in images] == numbers(9, 2)


def test_it_is_decoded_again_only_where_its_lines_are_not_kept(page, decoded):
    images = EvalSet(scan(page(), "Eval"), page(), memory=0)
    for _ in range(2):
        for index in range(9):
            images.image(index)
    assert len(decoded) == 1, "the cut-out pixels are kept, though no input is"
    read = SampleImages(scan(page(), "Eval").samples, False, memory=0)
    for sample in scan(page(), "Eval").samples[:3]:
        read(sample)
    assert len(decoded) == 1 + 3, "with no memory at all"


def test_a_line_of_a_page_is_the_line_itself(page, tmp_path):
    scored = scan(page(), "Eval")
    pixels = SampleImages(scored.samples, False)(scored.samples[3])
    rng = np.random.default_rng(0)
    drawn = [draw_line(text, rng) for text in numbers(9, 2)][3]
    assert pixels.shape == drawn.shape == (*scored.samples[3].size, 3)
    assert np.abs(pixels.astype(int) - drawn).mean() < 1


def test_a_training_reads_lines_of_pages_whatever_the_number_of_workers(page, decoded):
    config = page("Train.loader.batch_size_per_card=4")
    labelled = scan(config, "Train")
    batches = [[part.numpy() for part in batch] for batch in train_loader(config, labelled, 1)]
    assert [batch[0].shape for batch in batches] == [(4, 3, 32, 96)] * 3 and len(decoded) == 1
    two = page("Train.loader.batch_size_per_card=4", "Train.loader.num_workers=2")
    for first, second in zip(batches, train_loader(two, labelled, 1)):
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(first, second))


def test_calibration_reads_lines_of_pages(page, monkeypatch):
    from ocrslim.pruning.calibration import calibration_inputs

    config = page("Prune.recover_images=6")
    inputs = calibration_inputs(config, scan(config, "Train"))
    assert [image.shape for image in inputs] == [(1, 3, 32, 96)] * 6


def test_a_page_that_changes_after_the_scan_is_named(page, tmp_path):
    images = EvalSet(scan(page(), "Eval"), page())
    file = tmp_path / "eval/page.png"
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(DataError, match="page.png: has changed since this run began"):
        images.image(0)


def test_moving_a_box_makes_another_data_set(page, tmp_path):
    before = scan(page(), "Eval").fingerprint()
    label = tmp_path / "eval/page.txt"
    name, boxes = label.read_text().split("\t")
    moved = json.loads(boxes)
    moved[0]["points"][0][0] += 1
    label.write_text(f"{name}\t{json.dumps(moved)}\n")
    assert scan(page(), "Eval").fingerprint() != before


def test_a_box_far_beyond_its_image_is_left_out_and_not_drawn(page, tmp_path):
    label = tmp_path / "eval/page.txt"
    name, boxes = label.read_text().split("\t")
    huge = {"transcription": "12", "points": [[0, 0], [90000, 0], [90000, 90000], [0, 90000]]}
    label.write_text(f"{name}\t{json.dumps([huge] + json.loads(boxes) * 12)}\n")
    labelled = scan(page(), "Eval")
    assert labelled.left_out == ("page.png: a part of 90000x90000 pixels of an image of 200x380",)


def test_images_that_share_a_label_take_turns_by_chance_in_training_alone(tmp_path):
    label = write_lines(tmp_path / "lines", list(DIGITS))
    names = json.dumps([f"{index}.png" for index in range(10)])
    label.write_text(f"{names}\t5\n")
    config = load_config(write_tree(tmp_path / "rec.yml", recogniser(tmp_path, label, label)))
    labelled = scan(config, "Train")
    assert len(labelled) == 1 and len(labelled.samples[0].others) == 9
    epochs = [next(iter(train_loader(config, labelled, epoch)))[0].numpy() for epoch in range(8)]
    assert len({epoch.tobytes() for epoch in epochs}) > 2
    again = next(iter(train_loader(config, labelled, 3)))[0].numpy()
    assert np.array_equal(again, epochs[3])
    (scored,) = scan(config, "Eval").samples
    assert scored.others == () and scored.path.name == "0.png"
    prepared = Preprocessor(config)(scored.path).image
    assert np.array_equal(EvalSet(scan(config, "Eval"), config).image(0), prepared)


def test_one_of_them_that_is_missing_is_named(tmp_path):
    label = write_lines(tmp_path / "lines", list(DIGITS))
    label.write_text('["0.png", "gone.png"]\t5\n')
    config = load_config(write_tree(tmp_path / "rec.yml", recogniser(tmp_path, label, label)))
    with pytest.raises(DataError, match="1 of 1 images are missing or unreadable"):
        scan(config, "Train")
