"""Labels that are well formed and wrong all the same."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from small_dataset import data, filled, message, rectangle, text

from ocrslim.data.eval_set import scan

__all__ = ["data", "filled"]

CROSSED = [[10, 20], [70, 20], [10, 38], [70, 38]]


def remarks(data, mode="Eval"):
    return scan(data.config(), mode).remarks


def fill(data, wrong, right=3):
    """Three images with right boxes each, and one with `wrong` boxes beside a right one."""
    for number in range(right):
        data.add(f"{number}.png", [text(rectangle(5, 5 + 20 * n, 100, 12)) for n in range(4)])
    data.add("wrong.png", [text(rectangle(5, 5, 100, 12)), *(text(points) for points in wrong)])


@pytest.mark.parametrize("mode", ["Train", "Eval"])
@pytest.mark.parametrize(
    ("wrong", "meaning", "remedy"),
    [
        pytest.param([CROSSED], "have an outline that crosses itself", "top left, top right", id="crossed"),
        pytest.param([rectangle(200, 20, 50, 20)], "lie outside their image", "another size", id="outside"),
        pytest.param([rectangle(100, 20, 50, 20)], "lie outside their image", "another size", id="more than half"),
        pytest.param([rectangle(-40, -9, 50, 20)], "lie outside their image", "another size", id="before the start"),
        pytest.param([rectangle(5, 40, 50, 20)] * 2, "repeat a box", "remove the repeated", id="twice"),
    ],
)
def test_a_few_wrong_boxes_are_counted_with_the_first_line(data, wrong, meaning, remedy, mode):
    fill(data, wrong)
    (remark,) = remarks(data, mode)
    total = 12 + 1 + len(wrong)
    assert f"{mode}.dataset.label_file_list: 1 of {total} boxes {meaning}" in remark and remedy in remark
    assert f"{data.labels}, line 4, box {1 + len(wrong)} 'text'" in remark


@pytest.mark.parametrize("wrong", [CROSSED, rectangle(3000, 3000, 50, 20)], ids=["crossed", "outside"])
def test_most_boxes_wrong_stop(data, wrong):
    fill(data, [wrong] * 20, right=1)
    assert "20 of 25 boxes" in message(scan, data.config(), "Train")


def test_fractions_of_the_image_are_not_pixels(data):
    data.add("a.png", [text(rectangle(0.1, 0.2, 0.5, 0.2)), text(rectangle(0.1, 0.6, 0.5, 0.2))])
    found = message(scan, data.config(), "Eval")
    assert "2 of 2 boxes have coordinates between 0 and 1" in found and "pixels are expected" in found


def test_an_image_on_two_lines_is_scored_twice(data):
    fill(data, [])
    data.line(data.labels.read_text().splitlines()[0])
    (remark,) = remarks(data)
    assert "4 of 17 boxes belong to an image that an earlier line has already" in remark
    assert f"{data.labels}, line 5, 0.png" in remark


def photograph(data, name, boxes):
    """120 x 90 pixels that a camera held upright stored lying: 90 wide and 120 high when turned."""
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(stream, "JPEG", exif=exif)
    (data.images / name).write_bytes(stream.getvalue())
    data.line(f"{name}\t{json.dumps(boxes)}")


def test_labels_for_the_pixels_as_they_are_stored(data):
    photograph(data, "a.jpg", [text(rectangle(20, 20, 90, 20)), text(rectangle(60, 50, 55, 20))])
    found = message(scan, data.config(), "Eval")
    assert "2 of 2 boxes fit the image only as it is stored" in found and "ignore_orientation: true" in found
    stored = [{"DecodeImage": {"img_mode": "BGR", "channel_first": False, "ignore_orientation": True}}]
    data.trees["Eval"] = stored + data.trees["Eval"][1:]
    assert scan(data.config(), "Eval").remarks == () and scan(data.config(), "Eval").samples[0].size == (90, 120)


def test_labels_for_a_photograph_as_people_see_it_are_right(data):
    photograph(data, "a.jpg", [text(rectangle(20, 20, 60, 20)), text(rectangle(10, 90, 70, 20))])
    labelled = scan(data.config(), "Eval")
    assert labelled.remarks == () and labelled.samples[0].size == (120, 90)


def test_labels_made_for_a_smaller_copy_are_suspected(data):
    for number in range(5):
        data.add(f"{number}.png", [text(rectangle(5, 5, 40, 10)), text(rectangle(8, 25, 45, 10))])
    (remark,) = remarks(data)
    assert "in 5 images no box reaches beyond 44% of width or height" in remark and "smaller copy" in remark


def test_right_labels_bring_no_remark(filled, caplog):
    for mode in ("Train", "Eval"):
        assert remarks(filled, mode) == ()


def test_remarks_are_logged_as_warnings(data, caplog):
    fill(data, [CROSSED])
    with caplog.at_level("INFO"):
        scan(data.config(), "Eval").announce()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_polygons_that_touch_themselves_by_repeating_a_corner_are_right(data):
    fill(data, [[*rectangle(5, 40, 50, 20), [5, 60], [5, 60]]])
    assert remarks(data) == ()


@pytest.mark.parametrize("case", ["crossed_corners/label.txt", "outside_image/label.txt"])
def test_the_reported_cases_are_refused(shared, data, case):
    config = data.config(
        f"Eval.dataset.data_dir={shared}/cases/base", f"Eval.dataset.label_file_list={shared}/cases/{case}"
    )
    assert "32 of 32 boxes" in message(scan, config, "Eval")


def test_the_reported_case_of_every_second_box_is_counted(shared, data):
    config = data.config(
        f"Eval.dataset.data_dir={shared}/cases/base",
        f"Eval.dataset.label_file_list={shared}/cases/crossed_corners/half.txt",
    )
    (remark,) = scan(config, "Eval").remarks
    assert "16 of 32 boxes" in remark and "half.txt, line 1, box 2" in remark


@pytest.mark.parametrize("name", ["icdar2015", "sroie"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_real_labels_bring_no_remark(shared, data, name, part):
    folder = shared / "data" / name
    config = data.config(
        f"Eval.dataset.data_dir={folder}/images", f"Eval.dataset.label_file_list={os.fspath(folder / part)}.txt"
    )
    assert scan(config, "Eval").remarks == ()
