"""What the networks before and after pruning find in images, as `ocrslim report RUN --images DIR` records it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ocrslim.cli import main
from ocrslim.config import load_config
from ocrslim.models import save_checkpoint
from ocrslim.pruning import load_base_network


@pytest.fixture
def run(v2_config, pp_ocrv2, rendered_options, tmp_path):
    """A run whose checkpoint has the weights that it started from."""
    folder = tmp_path / "run"
    options = [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}", f"Global.save_model_dir={folder}"]
    config = load_config(v2_config, options)
    folder.mkdir()
    config.save(folder / "config.yml")
    save_checkpoint(load_base_network(config).model, folder / "best_accuracy.pdparams")
    best = {"metric": "hmean", "step": 0, "epoch": 0, "hmean": 0.5}
    (folder / "best_accuracy.json").write_text(json.dumps(best), encoding="utf-8")
    return folder


def samples_of(run):
    return json.loads((run / "samples.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_equal_networks_find_the_same_and_others_do_not(run, v2_config, rendered, capsys):
    images = rendered / "eval/images"
    (images / "broken.jpg").write_bytes(b"no image")
    try:
        assert main(["report", str(run), "--images", str(images)]) == 0
    finally:
        (images / "broken.jpg").unlink()
    found = samples_of(run)
    assert found["compared"] == found["equal"] == 4 and found["task"] == "det"
    assert all(sample["before"] == sample["after"] for sample in found["samples"])
    assert sum(len(sample["before"]) for sample in found["samples"]) > 4
    for sample in found["samples"]:
        with Image.open(run / sample["image"]) as image:
            assert [image.height, image.width] == sample["size"] == [192, 192]
    assert "In 4 of 4 images" in (run / "report.html").read_text(encoding="utf-8")

    blind = load_base_network(load_config(run / "config.yml"))
    last = dict(blind.model.named_parameters())["head.binarize.conv3.weight"]
    last.set_value(np.zeros(last.shape, np.float32))
    save_checkpoint(blind.model, run / "best_accuracy.pdparams")
    assert main(["report", str(run), "--images", str(images)]) == 0
    assert samples_of(run)["equal"] == 0
    assert 'class="lost"' in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: not found; expected the folder of a run"),
        (["run", "--images", "nowhere"], "--images nowhere: not found; expected a folder of images"),
        (["."], "holds no run: none of compress.json"),
    ],
)
def test_errors_are_one_line(words, said, run, monkeypatch, capsys):
    monkeypatch.chdir(run.parent)
    assert main(["report", *words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert said in line
