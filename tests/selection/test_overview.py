"""The plans that a run records are those that `ocrslim prune --dry-run` chooses; its costs are those of the layers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_latency_model import MACHINE, timer, wanted
from test_target_search import chain

from ocrslim.cli import main
from ocrslim.config import load_config
from ocrslim.formats.sensitivity_table import write_sensitivities
from ocrslim.pruning.cost import Cost, measure_cost, pruned_layers
from ocrslim.pruning.prunable import load_prunable_network
from ocrslim.selection.chooser import choose_plan
from ocrslim.selection.latency.model import LatencyCost, measured_table
from ocrslim.selection.overview import curves, recording
from ocrslim.selection.overview.recording import record_choice

NAMES = ("neck.p2_conv.weight", "neck.p3_conv.weight", "conv10_expand_weights", "conv14_expand_weights")
TABLE = {name: {0.25: 0.004 * k, 0.5: 0.02 * k, 0.75: 0.09 * k} for k, name in enumerate(NAMES, 1)}


@pytest.fixture(scope="module")
def options(rendered_options, pp_ocrv2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    write_sensitivities(folder / "sen.pickle", TABLE)
    settings = [
        "Prune.skip_loss=1.0",
        "Prune.recover=false",
        "Global.epoch_num=0",
        f"Prune.sen_file={folder}/sen.pickle",
    ]
    return [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}", *settings]


@pytest.fixture(scope="module")
def run(v2_config, options, tmp_path_factory):
    """The folder of a run by tolerance, which is not trained."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["prune", "-c", str(v2_config), "-o", *options, f"Global.save_model_dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def plans(run):
    return json.loads((run / "plans.json").read_text(encoding="utf-8"))


def dry_run(v2_config, options, capsys, *changes):
    """What a dry run chooses: removed channels by layer, MACs, parameters, losses."""
    capsys.readouterr()
    assert main(["prune", "-c", str(v2_config), "--dry-run", "--json", "-o", *options, *changes]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def assert_same(plans, point, chosen):
    """Compare a recorded plan with the result of a dry run."""
    removed = {layer["name"]: count for layer, count in zip(plans["layers"], point["removed"]) if count}
    channels = {layer["name"]: layer["channels"] for layer in plans["layers"]}
    assert removed == {name: round(channels[name] * ratio) for name, ratio in chosen["ratios"].items()}
    assert [plans["before"]["macs"], point["macs"]] == chosen["macs"]
    assert [plans["before"]["params"], point["params"]] == chosen["params"]
    assert point["loss"] == pytest.approx(sum(chosen["losses"].values()))


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.004, 0.02, 0.05, 0.1])
def test_the_plan_of_a_tolerance_is_that_of_a_dry_run(tolerance, plans, v2_config, options, capsys):
    steps = {step["at"]: step["plans"] for step in plans["curves"][0]["steps"]}
    chosen = dry_run(v2_config, options, capsys, f"Prune.loss_tolerance={tolerance}")
    (point,) = steps[tolerance]
    assert_same(plans, point, chosen)
    assert point["joint"] == pytest.approx(chosen["predicted_loss"]["joint"])


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.1, 0.25])
def test_the_plan_of_a_target_is_among_the_candidates(target, plans, v2_config, options, capsys):
    curve = plans["curves"][1]
    assert curve["by"] == "macs" and curve["align"] == load_prunable_align(v2_config, options)
    candidates = next(step["plans"] for step in curve["steps"] if step["at"] == target)
    chosen = dry_run(v2_config, options, capsys, f"Prune.target.macs={target}", "Prune.criterion=fpgm")
    (same,) = [point for point in candidates if point["macs"] == chosen["macs"][1]]
    assert_same(plans, same, chosen)


def load_prunable_align(v2_config, options):
    from ocrslim.selection.alignment import with_block

    return with_block(load_config(v2_config, [*options, "Prune.target.macs=0.1"])).align


@pytest.mark.slow
def test_the_curves_hold_the_runs_own_plan(run, plans):
    by_tolerance, by_target = plans["curves"]
    assert by_tolerance["run"] == 0.02 and by_target["run"] is None
    own = next(step["plans"][0] for step in by_tolerance["steps"] if step["at"] == 0.02)
    costs = json.loads((run / "costs.json").read_text(encoding="utf-8"))
    assert [plans["before"]["macs"], own["macs"]] == costs["macs"]
    assert [sum(layer["macs"][i] for layer in costs["layers"]) for i in (0, 1)] == costs["macs"]
    assert costs["seed"] == 1024 and costs["task"] == "det" and "paddlepaddle" in costs["versions"]
    macs = [step["plans"][0]["macs"] for step in by_tolerance["steps"]]
    assert macs == sorted(macs, reverse=True) and macs[0] > macs[-1]
    targets = [(step["at"], point["macs"]) for step in by_target["steps"] for point in step["plans"]]
    assert all(left <= (1 - target) * costs["macs"][0] for target, left in targets)


@pytest.mark.slow
def test_plans_are_made_once(run, v2_config, options, monkeypatch):
    config = load_config(v2_config, [*options, f"Global.save_model_dir={run}"])
    network = load_prunable_network(config)
    choice, before = choose_plan(network), (run / "plans.json").read_bytes()
    monkeypatch.setattr(recording, "Chooser", lambda *given: pytest.fail("made again"))
    record_choice(network, choice, run)
    assert (run / "plans.json").read_bytes() == before
    other = replace(choice, plan=replace(choice.plan, origin={"weights": "others"}))
    with pytest.raises(pytest.fail.Exception, match="made again"):
        record_choice(network, other, run)


@pytest.mark.slow
def test_a_finished_run_is_not_repeated_for_its_record(run, v2_config, options, plans, capsys):
    weights, made = (run / "best_accuracy.pdparams").read_bytes(), (run / "plans.json").stat().st_mtime_ns
    (run / "costs.json").unlink()
    assert main(["prune", "-c", str(run / "config.yml")]) == 0
    assert (run / "best_accuracy.pdparams").read_bytes() == weights and (run / "costs.json").is_file()
    assert (run / "plans.json").stat().st_mtime_ns == made
    assert json.loads((run / "latest.json").read_text(encoding="utf-8"))["steps"] == 0


def test_targets_are_tried_from_the_runs_own_to_the_fine_ones():
    order = curves._targets(0.37)
    assert order[:4] == [0.37, 0.1, 0.2, 0.3] and order[10:13] == [0.05, 0.15, 0.25]
    assert len(order) == len(set(order)) == 20


def test_the_macs_of_the_layers_are_those_of_the_network():
    graph = chain([16, 24, 16, 8], [200, 300, 100, 100])
    from test_target_search import cuts_of

    cuts = cuts_of(graph, {"conva.weight": 0.5, "convc.weight": 0.25})
    layers = pruned_layers(graph, iter(cuts))
    assert [layer.shape for layer in layers] == [(8, 3, 3, 3), (24, 8, 3, 3), (12, 24, 3, 3), (8, 12, 3, 3)]
    assert measure_cost(graph, iter(cuts)) == Cost(
        sum(layer.macs for layer in layers), measure_cost(graph, cuts).params
    )


def test_the_milliseconds_of_the_layers_are_those_of_the_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    graph = chain([16, 24, 16, 8], [200, 300, 100, 100])
    cost = LatencyCost(graph, measured_table(MACHINE, wanted(graph), timer(graph, [])))
    removed = np.array([[0, 0, 0], [8, 4, 2]])
    layers, rest = cost.by_layer(removed)
    assert layers.shape == (2, 4) and rest > 0
    np.testing.assert_allclose(layers.sum(axis=1) + rest, cost(removed))
    assert (layers[1] < layers[0]).all()
