"""Rendered data sets: repeatable, labelled tightly, and neither trivial nor hopeless for a real detector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from detection import DETECTION
from shapely.geometry import Polygon

from ocrslim.config.config import load_config
from ocrslim.data import synthetic as synth
from ocrslim.data.label_files import read_labels
from ocrslim.data.synthetic import font_files, render_dataset, render_image
from ocrslim.errors import ArtifactError, DataError
from ocrslim.tasks.detection.labels import is_tiny


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_seed_decides_every_byte(tmp_path):
    np.random.seed(1)
    render_dataset(tmp_path / "a", 4, seed=9, size=(192, 160))
    np.random.seed(2)
    render_dataset(tmp_path / "b", 4, seed=9, size=(192, 160))
    render_dataset(tmp_path / "c", 4, seed=10, size=(192, 160))
    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    assert sorted(first) == [*(f"images/0000{n}.jpg" for n in range(4)), "label.txt"]
    assert not set(first.values()) & set(content(tmp_path / "c").values())


def test_more_images_begin_with_the_same(tmp_path):
    render_dataset(tmp_path / "a", 2, seed=9, size=(160, 160))
    render_dataset(tmp_path / "b", 3, seed=9, size=(160, 160))
    few, many = content(tmp_path / "a"), content(tmp_path / "b")
    assert many["label.txt"].startswith(few.pop("label.txt"))
    assert few.items() < many.items()


def test_labels_are_paddleocrs_and_lie_in_the_image_apart(tmp_path):
    label = render_dataset(tmp_path, 12, seed=3)
    dataset = {"data_dir": str(tmp_path / "images"), "label_file_list": [str(label)]}
    samples = read_labels(dataset, "Train", 0, DETECTION)
    assert len(samples) == 12 and all(sample.care for sample in samples)
    for sample in samples:
        boxes = [np.array(box["points"]) for box in json.loads(sample.label)]
        assert all(box.shape == (4, 2) and box.min() >= 0 and box.max() <= 319 for box in boxes)
        assert not any(is_tiny(box.tolist()) for box in boxes)
        polygons = [Polygon(box) for box in boxes]
        assert all(polygon.is_valid for polygon in polygons)
        assert not any(a.intersects(b) for i, a in enumerate(polygons) for b in polygons[:i])


@pytest.mark.parametrize("turn", [0, 15, -80])
@pytest.mark.parametrize("text", ["no", "jumping 3", "AGE"])
def test_boxes_sit_tight_around_the_ink(text, turn):
    view = np.array([[0.9, 0.05, 12], [-0.04, 0.95, 9], [1e-4, -2e-4, 1]])
    scene = synth._Scene(np.zeros((320, 320, 3), np.float32), view)
    line = synth._Line(text, font_files()[0], 30, np.full(3, 255.0), (150, 150), turn=turn)
    synth._write(scene, line)
    (label,) = scene.labels
    quad = Polygon(label["points"])
    ys, xs = np.nonzero(scene.pixels[..., 0] > 60)
    assert all(quad.buffer(0.5).contains(point) for point in _points(xs, ys))
    # the ink comes close to every side, and no side stands off by more than a quarter of the height
    height = np.linalg.norm(np.subtract(label["points"][0], label["points"][3]))
    for a, b in zip(label["points"], label["points"][1:] + label["points"][:1]):
        side = np.subtract(b, a) / np.linalg.norm(np.subtract(b, a))
        inward = ((np.column_stack([xs, ys]) - a) @ [-side[1], side[0]]).min()
        assert -0.5 < inward < max(3.0, 0.25 * height)


def _points(xs, ys):
    from shapely import points

    return points(np.column_stack([xs, ys]).astype(float))


def test_a_size_that_holds_no_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="128"):
        render_dataset(tmp_path, 1, seed=0, size=(320, 64))


def test_the_smallest_size_still_gets_text():
    for index in range(5):
        pixels, labels = render_image(np.random.default_rng(index), (128, 128), font_files())
        assert pixels.shape == (128, 128, 3) and pixels.dtype == np.uint8 and labels


def test_an_interrupted_rendering_leaves_no_label_file(tmp_path, monkeypatch):
    render_dataset(tmp_path, 2, seed=0, size=(128, 128))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(synth, "render_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render_dataset(tmp_path, 2, seed=1, size=(128, 128))
    assert not (tmp_path / "label.txt").exists()


def test_missing_fonts_and_folders_are_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="file"):
        render_dataset(tmp_path / "file", 1, seed=0)
    monkeypatch.setattr(synth, "_FONTS", ("Nonesuch",))
    with pytest.raises(DataError, match=r"Nonesuch.*pip install matplotlib"):
        render_dataset(tmp_path / "data", 1, seed=0)


def test_a_real_detector_finds_most_but_not_all(tmp_path, pp_ocrv2, v2_config):
    from ocrslim.data.eval_set import EvalSet, scan
    from ocrslim.evaluation.evaluator import Scorer
    from ocrslim.inference.engines import DygraphEngine
    from ocrslim.models import load_weights
    from ocrslim.models.factory import build_model

    render_dataset(tmp_path, 24, seed=2)
    config = load_config(
        v2_config,
        [
            f"Eval.dataset.data_dir={tmp_path}/images",
            f"Eval.dataset.label_file_list=[{tmp_path}/label.txt]",
            "Eval.dataset.transforms.DetResizeForTest={image_shape: [320, 320]}",
        ],
    )
    model = build_model(config.section("Architecture"))
    load_weights(model, pp_ocrv2)
    scores = Scorer(config)(DygraphEngine(model), EvalSet(scan(config, "Eval"), config))
    assert 0.85 < scores["hmean"] < 0.98, scores
