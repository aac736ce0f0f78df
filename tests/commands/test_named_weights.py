"""Which weights a command takes where several are named, and what an import may write over."""

from __future__ import annotations

import logging
import os

import numpy as np
import paddle
import pytest

from ocrslim.commands.import_weights import run_import
from ocrslim.config.config import load_config
from ocrslim.errors import ArtifactError, ConfigError
from ocrslim.models import read_weights, save_checkpoint, state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.loading import choose_weights_key, untrained
from ocrslim.training.stage import _starting_network


@pytest.fixture
def config(v2_config, tmp_path, monkeypatch):
    """Makes a configuration of a file with the lines given and of the overrides given."""
    monkeypatch.chdir(tmp_path)

    def make(*overrides, filed=()):
        path = tmp_path / "c.yml"
        load_config(v2_config, ["Global.pretrained_model=", *filed]).save(path)
        return load_config(path, overrides)

    return make


P, Q = "Global.pretrained_model=p", "Global.checkpoints=q"


@pytest.mark.parametrize(
    ("filed", "overrides", "expected"),
    [
        ([], [], None),
        ([P], [], "p"),
        ([Q], [], "q"),
        ([], [Q], "q"),
        ([P], [Q], "q"),
        ([Q], [P], "p"),
        ([Q], ["Global.pretrain_weights=p"], "p"),
        ([P, Q], ["Global.pretrained_model="], "q"),
        ([P, Q], ["Global.checkpoints="], "p"),
        ([P], ["Global.checkpoints=./p.pdparams"], "p"),
    ],
)
def test_what_is_named_last_is_read_where_nothing_is_trained(filed, overrides, expected, config):
    assert untrained(config(*overrides, filed=filed)).weights == expected


def test_what_is_not_read_is_said(config, caplog):
    with caplog.at_level(logging.INFO):
        untrained(config(Q, filed=[P]))
    assert "Global.checkpoints: q is used" in caplog.text and "Global.pretrained_model: p is not read" in caplog.text


@pytest.mark.parametrize(("filed", "overrides"), [([], [P, Q]), ([P, Q], [])])
def test_two_different_weights_in_one_place_are_refused_by_name(filed, overrides, config):
    with pytest.raises(ConfigError) as caught:
        untrained(config(*overrides, filed=filed))
    for word in ("Global.checkpoints is q", "Global.pretrained_model is p", "-o Global.checkpoints="):
        assert word in str(caught.value)


def test_a_training_may_start_from_weights_or_from_a_backbone_of_one_place(config, tmp_path):
    made = config()
    network = build_model(made.section("Architecture"))
    path = save_checkpoint(network, tmp_path / "a.pdparams")
    backbone = f"Global.init_backbone={path}"
    model, _ = _starting_network(config(backbone, filed=["Global.pretrained_model=absent"]))
    found, expected = state_arrays(model), state_arrays(network)
    same = {key for key in expected if np.array_equal(found[key], expected[key])}
    assert {key for key in expected if key.startswith("backbone.")} <= same
    with pytest.raises(ConfigError, match=r"Global\.init_backbone is .*Global\.pretrained_model is p"):
        _starting_network(config(backbone, P))
    assert choose_weights_key(config(P, filed=[backbone]), "Global.init_backbone", "Global.pretrained_model") == P[:-2]


@pytest.fixture
def source(config, tmp_path):
    return save_checkpoint(build_model(config().section("Architecture")), tmp_path / "source.pdparams")


def test_an_import_may_be_repeated_and_replaces_nothing_else(config, source, tmp_path):
    made = config()
    for _ in range(2):
        run_import(made, source, tmp_path / "new")
    before = (tmp_path / "new.pdparams").read_bytes()
    paddle.seed(7)
    other = save_checkpoint(build_model(made.section("Architecture")), tmp_path / "other.pdparams")
    with pytest.raises(
        ArtifactError, match=r"new\.pdparams: exists and was not written by this import.*Global\.overwrite=true"
    ):
        run_import(made, other, tmp_path / "new")
    assert (tmp_path / "new.pdparams").read_bytes() == before
    run_import(config("Global.overwrite=true"), other, tmp_path / "new")
    found, expected = read_weights(tmp_path / "new.pdparams"), read_weights(other)
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_an_import_leaves_a_configuration_of_the_same_name_alone(config, source, tmp_path):
    (tmp_path / "mine.yml").write_text("mine: true\n")
    with pytest.raises(ArtifactError, match=r"mine\.yml: exists and was not written"):
        run_import(config(), source, tmp_path / "mine.pdparams")
    assert (tmp_path / "mine.yml").read_text() == "mine: true\n" and not (tmp_path / "mine.pdparams").exists()


@pytest.mark.parametrize("name", ["source", "source.pdparams", "link.pdparams", "hard.pdparams", "c.pdparams"])
def test_an_import_never_writes_over_what_it_reads(name, config, source, tmp_path):
    (tmp_path / "link.pdparams").symlink_to(source)
    os.link(source, tmp_path / "hard.pdparams")
    made, before = config("Global.overwrite=true"), source.read_bytes()
    filed = made.path.read_bytes()
    with pytest.raises(ArtifactError, match="the import reads this file"):
        run_import(made, source, tmp_path / name)
    assert source.read_bytes() == before and made.path.read_bytes() == filed


def test_an_import_onto_a_folder_is_refused(config, source, tmp_path):
    (tmp_path / "folder.pdparams").mkdir()
    with pytest.raises(ArtifactError, match="is not a file"):
        run_import(config(), source, tmp_path / "folder.pdparams")
