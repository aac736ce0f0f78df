"""A real detector, a few rendered images and an analysis of them: what the tests of the analysis share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocrslim.config.config import load_config
from ocrslim.data.eval_set import scan
from ocrslim.graph.frontends.dygraph import traced
from ocrslim.inference import tracing
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.loading import load_network
from ocrslim.pruning.prunable import for_table
from ocrslim.sensitivity.analyzer import analyse
from ocrslim.sensitivity.result import SensitivityResult
from ocrslim.sensitivity.settings import Problem, Settings

GROUPS = ["backbone.stage2.2.expand_conv.conv.weight", "neck.in2_conv.weight", "neck.p2_conv.weight"]
PUBLIC = ["conv10_expand_weights", "neck.in2_conv.weight", "neck.p2_conv.weight"]
RATIOS = (0.3, 0.6)
HASHES = {"weights": "w", "architecture": "a", "criterion": "fpgm", "evaluation data": "d"}
PLAIN = Settings(engine="dygraph")
FAST = Settings(workers=1)


def problem_of(config, graph=None) -> Problem:
    config = for_table(config)
    model = load_network(config).model
    graph = graph or channel_graph(model, [1, 3, 64, 96])
    return Problem(
        model, graph, scan(config, "Eval"), config, lambda: ChannelPruner(model, graph, "fpgm"), HASHES, GROUPS, RATIOS
    )


def analyse_at(problem, groups, ratios, folder, settings=None, **options) -> SensitivityResult:
    """Analyse a problem at other groups and ratios."""
    return analyse(replace(problem, groups=groups, ratios=ratios), folder, settings, **options)


def entries(folder: Path) -> list[tuple]:
    """(layer, ratio, start, images) of each line of the journals in `folder`."""
    lines = [json.loads(line) for path in sorted(folder.glob("sen*.jsonl")) for line in path.open()]
    return [(e["layer"], e["ratio"], e["start"], len(e["gt"])) for e in lines if "layer" in e]


def images_once(folder: Path, images: int) -> dict[tuple, int]:
    """Images by (layer, ratio), from the first on; fails where an image was counted twice or passed over."""
    ends: dict[tuple, int] = {}
    for layer, ratio, start, count in entries(folder):
        if layer is None and ends:
            continue  # each rank begins with it
        assert start == ends.get((layer, ratio), 0), f"{layer} {ratio}: goes on at {start}, after {ends}"
        ends[layer, ratio] = start + count
        assert ends[layer, ratio] <= images
    return ends


_MADE: dict[str, Any] = {}  # once for all test files: a fixture that is imported is another one in each of them


@pytest.fixture(scope="session")
def problem(v2_config, pp_ocrv2, rendered_options) -> Problem:
    if "problem" not in _MADE:
        options = [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}"]
        _MADE["problem"] = problem_of(load_config(v2_config, options))
    return _MADE["problem"]


@pytest.fixture(scope="session")
def undisturbed(problem, tmp_path_factory):
    """The reference: every point in dygraph, nothing in between."""
    if "analysis" not in _MADE:
        _MADE["analysis"] = analyse_at(problem, GROUPS, RATIOS, tmp_path_factory.mktemp("undisturbed"), PLAIN)
    return _MADE["analysis"]


@pytest.fixture
def traced_once(problem, monkeypatch):
    """The network of `problem` is traced a single time for all tests."""
    known = problem.__dict__

    def cached(model, shapes, training):
        if model is not problem.model:
            return traced(model, shapes, training=training)
        if "_program" not in known:
            known["_program"] = traced(model, shapes, training=training)
        return known["_program"]

    monkeypatch.setattr(tracing, "traced", cached)
