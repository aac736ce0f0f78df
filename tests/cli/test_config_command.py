"""`ocrslim config`: the resolved configuration, and where each of its values comes from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from shipped import shipped

from ocrslim.config import listing, load_config

FILE = """
Global: {pretrain_weights: w, epoch_num: 3, checkpoints: , print_batch_step: 2}
Prune: {target: {flops: 0.5}, skip: [a, 'b # c']}
Train:
  dataset:
    name: SimpleDataSet
    data_dir: x
    label_file_list: [x]
    transforms: [{DecodeImage: {img_mode: BGR}}, {ToCHWImage: }]
"""
OVERRIDES = ["Global.epoch_num=4", "Train.dataset.transforms.DecodeImage.ignore_orientation=true"]

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text(FILE)
    return load_config(path, OVERRIDES)


def test_every_value_has_an_origin(config):
    origins, path = config.origins, str(config.path)
    assert origins["Global.print_batch_step"] == origins["Global.checkpoints"] == path
    assert origins["Global.pretrained_model"] == f"{path}: Global.pretrain_weights"
    assert origins["Prune.target.macs"] == f"{path}: Prune.target.flops"
    assert origins["Global.epoch_num"] == f"-o {OVERRIDES[0]}"
    assert origins["Train.dataset.transforms.0.DecodeImage.ignore_orientation"] == f"-o {OVERRIDES[1]}"
    assert origins["Train.dataset.transforms.0.DecodeImage.img_mode"] == path
    assert origins["Global.seed"] == origins["Prune.ratios"] == origins["Prune.distill.fade"] == "default"


def test_what_is_printed_is_the_configuration_with_a_comment_behind_each_value(config):
    text = listing(config)
    assert yaml.safe_load(text) == config.tree
    assert f"  epoch_num: 4  # -o {OVERRIDES[0]}\n" in text
    assert f"  skip: [a, 'b # c']  # {config.path}\n" in text
    assert "    - ToCHWImage: null  # " in text
    assert text.count("  # ") == len(config.origins)


@pytest.mark.parametrize("path", shipped())
def test_shipped_configurations_are_printed_as_they_are_read(path, tmp_path):
    config = load_config(path)
    (tmp_path / "printed.yml").write_text(listing(config))
    assert load_config(tmp_path / "printed.yml").tree == config.tree


def test_the_command_prints_json_at_the_end(capsys):
    from ocrslim.cli import main

    assert main(["config", "-c", str(REPO / "configs/det/det_mv3_db.yml"), "--json", "-o", "Global.seed=3"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["config"]["Global"]["seed"] == 3
    assert printed["origins"]["Global.seed"] == "-o Global.seed=3"


def test_the_command_answers_without_paddle():
    code = "import sys; from ocrslim.cli import main; main(sys.argv[1:]); sys.exit('paddle' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "config", "-c", str(REPO / "configs/det/det_mv3_db.yml")], capture_output=True
    )
    assert done.returncode == 0
