"""The user's labels, divided as the images are."""

from __future__ import annotations

import pytest
from bare_models import SMALL, source, write_images

from ocrslim.compression.images import Split
from ocrslim.compression.labels import divide_labels
from ocrslim.config import load_model_config
from ocrslim.errors import DataError

PARTS = Split(("00.png",), ("01.png", "02.png"), ("03.png",))
BOX = '[{"transcription": "text", "points": [[8, 8], [80, 8], [80, 50], [8, 50]]}]'


@pytest.fixture
def config(tmp_path):
    images, model = write_images(tmp_path / "images", 4), source(tmp_path / "model", "onnx")
    return load_model_config(model, None, [SMALL, f"Eval.dataset.data_dir={images}"], "det")


def written(tmp_path, *names: str):
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{name}\t{BOX}\n" for name in names))
    return path


def test_each_part_gets_its_lines_and_one_without_any_gets_none(config, tmp_path):
    files = divide_labels(config, written(tmp_path, "02.png", "00.png", "elsewhere.png"), PARTS, tmp_path)
    assert files.calibration.read_text() == f"00.png\t{BOX}\n"
    assert files.choice.read_text() == f"02.png\t{BOX}\n"
    assert files.held_out is None


def test_labels_of_other_images_or_of_another_form_are_refused(config, tmp_path):
    with pytest.raises(DataError, match=r"names none of the images in .*; its first is elsewhere\.png"):
        divide_labels(config, written(tmp_path, "elsewhere.png"), PARTS, tmp_path)
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("00.png\ttext\n")
    with pytest.raises(DataError, match=r"wrong\.txt, line 1"):
        divide_labels(config, wrong, PARTS, tmp_path)
