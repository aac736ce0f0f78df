"""Models without their training code, from Python."""

from __future__ import annotations

import pytest
from bare_models import FORMAT_OF, KINDS, source, write_images

import ocrslim
from ocrslim.errors import ConfigError, WeightsError

SIZE = {
    "Eval.dataset.transforms.DetResizeForTest": {"image_shape": [64, 96]},
    "Prune.recover_images": 4,
    "Prune.align": 1,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_pruned_scored_and_exported(kind, tmp_path):
    file, images = source(tmp_path / "model", kind), write_images(tmp_path / "images")
    options = {**SIZE, "Global.save_model_dir": str(tmp_path / "out")}
    model = ocrslim.load(file, task="det", images=images, options=options)
    assert model.graph.groups and model.plan is None
    small = ocrslim.prune(model, target={"macs": 0.2})
    assert small.cost.macs <= 0.8 * model.cost.macs
    refitted = small.fit()
    assert refitted.cost == small.cost and refitted.training.last.step == 0, "nothing is trained"
    labels = tmp_path / "out/predicted_labels/eval.txt"
    assert model.evaluate(labels)["hmean"] == 1 and refitted.evaluate(labels) == refitted.training.best.metrics
    exported = refitted.export(tmp_path / "exported")
    assert exported.format == FORMAT_OF[kind]
    again = ocrslim.load(exported.folder, task="det", images=images, options=SIZE)
    assert again.evaluate(labels) == refitted.evaluate(labels), "a folder with one ONNX file is that file"


def test_losses_are_measured_against_what_the_model_finds(tmp_path):
    file, images = source(tmp_path / "model", "onnx"), write_images(tmp_path / "images", 6)
    model = ocrslim.load(file, task="det", images=images, options=SIZE)
    table = ocrslim.analyse(model, out=tmp_path / "out", ratios=[0.5])
    assert table.baseline["hmean"] == 1 and set(table.losses) == set(model.graph.groups)
    small = ocrslim.prune(model, table, loss_tolerance=1.0, skip_loss=1.0)
    assert small.plan.cuts


def test_what_lacks_is_an_exception(tmp_path):
    with pytest.raises(WeightsError, match="nowhere: not found"):
        ocrslim.load(tmp_path / "nowhere", task="det")
    with pytest.raises(ConfigError, match="name its task"):
        ocrslim.load(source(tmp_path / "model", "onnx"))
