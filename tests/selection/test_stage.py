"""Pruning for training refuses a network whose training could not be looked at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ocrslim.config import load_config
from ocrslim.errors import GraphError
from ocrslim.graph import ChannelGraph
from ocrslim.selection import iterative, stage

FAULT = "Net: cannot be run as it trains, with inputs of shape [1, 3, 8, 8] (no labels)"
SCORES = SimpleNamespace(inputs=list)


@pytest.fixture
def untrainable(monkeypatch):
    """A network without labels to train with, loaded from a configuration; nothing may be chosen for it."""
    network = SimpleNamespace(graph=ChannelGraph({}, {}, training_fault=FAULT))
    for module in (stage, iterative):
        monkeypatch.setattr(module, "load_prunable_network", lambda *_, **__: network)
        monkeypatch.setattr(module, "choose_plan", lambda *given: pytest.fail("a plan was chosen"))


def test_before_a_plan_is_chosen(untrainable, monkeypatch, v2_config, tmp_path):
    config = load_config(v2_config, [f"Global.save_model_dir={tmp_path / 'out'}"])
    for name in ("scan_both", "load_base_network"):
        monkeypatch.setattr(stage, name, lambda *given: (None, None))
    monkeypatch.setattr(stage, "CandidateScores", lambda *given: SCORES)
    monkeypatch.setattr(stage, "early_rounds", lambda *given: SimpleNamespace(config=config))
    with pytest.raises(GraphError, match="Net: cannot be run as it trains.*not pruned for training"):
        stage._run(config, SimpleNamespace(first=True, share=lambda given: given), None, print)


def test_before_a_round_of_several(untrainable, v2_config, tmp_path):
    with pytest.raises(GraphError, match="not pruned for training"):
        iterative._round(load_config(v2_config), None, SCORES, tmp_path)
