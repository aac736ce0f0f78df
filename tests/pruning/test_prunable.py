"""How channels are scored decides what a table is good for: what it depends on is checked, nothing else."""

from __future__ import annotations

import pytest
from detection import DETECTION

from ocrslim import commands
from ocrslim.config.config import load_config
from ocrslim.errors import ArtifactError
from ocrslim.models.factory import build_model
from ocrslim.pruning import prunable as scoring
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.selection import chooser as planning
from ocrslim.utils.files import read_json

LAYER = "neck.in2_conv.weight"


@pytest.fixture
def configure(v2_config, pp_ocrv2, rendered_options, tmp_path, no_pictures):
    def configured(*overrides):
        options = [f"Global.pretrain_weights={pp_ocrv2}", f"Global.save_model_dir={tmp_path}", "Prune.ratios=[0.3]"]
        small = [
            f"Prune.layers=[{LAYER}]",
            "Prune.calibration_batches=2",
            "Prune.loss_tolerance=1",
            "Prune.skip_loss=1",
            "Prune.engine=dygraph",
        ]
        return load_config(v2_config, [*rendered_options, *options, *small, *overrides])

    return configured


@pytest.fixture(scope="module")
def graph(v2_config):
    return scoring.model_graph(build_model(load_config(v2_config).section("Architecture")), DETECTION)


@pytest.fixture
def built(monkeypatch, graph):
    """The options of every pruner that is built; the network is traced once for all."""
    seen = []
    monkeypatch.setattr(scoring, "model_graph", lambda model, task, tree: graph)

    def spy(model, graph, criterion, **options):
        seen.append({"criterion": criterion, **options})
        return ChannelPruner(model, graph, criterion, **options)

    monkeypatch.setattr(scoring, "ChannelPruner", spy)
    return seen


def test_taylor_is_calibrated_once_and_its_table_is_of_those_images(configure, built, graph, tmp_path, rendered):
    commands.run_sensitivity(configure("Prune.criterion=taylor"))
    assert built[0]["gradients"][LAYER, 0].shape == (2, 96)
    hashes = read_json(tmp_path / "sen.json", "")["hashes"]
    assert {"seed", "training data", "calibration"} <= set(hashes)
    commands.run_sensitivity(configure("Prune.criterion=taylor"))
    assert len(built) == 1, "all points are known: nothing to calibrate for"
    labels = (rendered / "train/label.txt").read_text().splitlines()[:5]
    (tmp_path / "fewer.txt").write_text("\n".join(labels) + "\n")
    for override, what in (
        (f"Train.dataset.label_file_list=[{tmp_path}/fewer.txt]", "other training data than"),
        ("Global.seed=7", "other seed than"),
        ("Prune.calibration_batches=3", "other calibration than"),
    ):
        with pytest.raises(ArtifactError, match=what):
            commands.run_sensitivity(configure("Prune.criterion=taylor", override))

    config = configure("Prune.criterion=taylor", "Prune.group_score=master")
    plan = planning.choose_plan(scoring.load_prunable_network(config)).plan
    assert plan.criterion == "taylor" and plan.origin["training data"] == hashes["training data"]
    assert (built[1]["gradients"][LAYER, 0] == built[0]["gradients"][LAYER, 0]).all()


def test_a_table_by_random_depends_on_the_seed_and_one_by_weights_does_not(configure, built):
    commands.run_sensitivity(configure("Prune.criterion=random"))
    assert (built[0]["criterion"], built[0]["seed"], built[0]["gradients"]) == ("random", 1024, None)
    with pytest.raises(ArtifactError, match="other seed than"):
        commands.run_sensitivity(configure("Prune.criterion=random", "Global.seed=7"))
    commands.run_sensitivity(configure("Prune.criterion=l1", "Global.overwrite=true"))
    commands.run_sensitivity(configure("Prune.criterion=l1", "Global.seed=7"))
    with pytest.raises(ArtifactError, match="other group score than.*group score: master there, mean here"):
        commands.run_sensitivity(configure("Prune.criterion=l1", "Prune.group_score=mean"))
