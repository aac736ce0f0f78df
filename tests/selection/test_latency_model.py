"""Latency as a target: the table of a machine, what is made of it, and how it is kept."""

from __future__ import annotations

import numpy as np
import pytest
from detection import DETECTION
from test_target_search import OPTIONS, assert_parts_of, chain

from ocrslim.config import load_config
from ocrslim.graph.groups import OUTPUT, ChannelGraph, Group, Layer, Member
from ocrslim.pruning.cost import MACS, product_cost
from ocrslim.selection.latency.model import (
    BLOCKS,
    SAMPLES,
    LatencyCost,
    LatencyTable,
    Work,
    describe_machine,
    load_table,
    measured_table,
    random_samples,
)
from ocrslim.selection.select import permitted_counts, select

RATE, REST = 2e-5, 7.0  # milliseconds per MAC, and what no pruning saves
MACHINE = {"processor": "a", "threads": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ocrslim"


@pytest.fixture
def graph():
    return chain([16, 24, 16, 8], [200, 300, 100, 100])


def milliseconds(graph, removed):
    return REST + RATE * product_cost(graph, MACS)(np.asarray(removed))


def timer(graph, calls, noise=0.0):
    """Stands for a machine whose time follows the MACs, with noise; notes what it is asked."""
    names, rng = list(graph.groups), np.random.default_rng(5)

    def time_of(removed):
        calls.append(removed)
        row = np.zeros((1, len(names)), dtype=int)
        full = milliseconds(graph, row)[0]
        row[0] = [removed.get(name, 0) for name in names]
        return full, milliseconds(graph, row)[0] / full * (1 + noise * rng.standard_normal())

    return time_of


@pytest.mark.parametrize("block", BLOCKS)
def test_a_part_of_the_latency_changes_as_the_whole_with_its_groups(block, monkeypatch):
    graph = chain([16, 24, 16, 8, 4], [200, 300, 100, 100, 50])
    monkeypatch.setattr("ocrslim.selection.latency.model.BLOCKS", (block,))
    table = measured_table(MACHINE, wanted(graph), timer(graph, [], noise=0.1))
    assert_parts_of(LatencyCost(graph, table), [group.size for group in graph.groups.values()])


def wanted(graph):
    return {name: list(range(1, group.size - 1)) for name, group in graph.groups.items()}


def test_where_time_follows_macs_every_combination_is_predicted_exactly(graph):
    cost = LatencyCost(graph, measured_table(MACHINE, wanted(graph), timer(graph, [])))
    rng = np.random.default_rng(0)
    removed = np.stack([rng.integers(0, group.size - 1, 50) for group in graph.groups.values()], axis=1)
    assert cost(removed) == pytest.approx(milliseconds(graph, removed))
    assert cost.error < 1e-6


@pytest.mark.parametrize("block", BLOCKS)
def test_the_blocks_that_a_processor_computes_are_found_from_its_times(block):
    graph = chain([16, 48, 64, 40], [200, 300, 100, 100])
    work, names = Work(graph, block), list(graph.groups)

    def blocked(removed):
        return REST + RATE * work(np.asarray(removed))[:, 1:5].sum(axis=1)

    def time_of(removed):
        rows = np.array([[0] * len(names), [removed.get(name, 0) for name in names]])
        full, left = blocked(rows)
        return full, left / full

    cost = LatencyCost(graph, measured_table(MACHINE, wanted(graph), time_of))
    rng = np.random.default_rng(0)
    removed = np.stack([rng.integers(0, group.size - 1, 50) for group in graph.groups.values()], axis=1)
    assert cost.block == block and cost(removed) == pytest.approx(blocked(removed))


def test_outputs_that_fill_no_block_cost_a_whole_one_and_inputs_what_they_are():
    graph = chain([40, 40], [10, 10])
    whole, some, more = Work(graph, 16)(np.array([[0], [8], [9]]))[:, 1]
    assert whole == 9 * 10 * (3 * 48 + 40 * 48)
    assert some == 9 * 10 * (3 * 32 + 32 * 48)
    assert more == 9 * 10 * (3 * 32 + 31 * 48)


def test_noise_of_the_measurements_does_not_look_like_a_saving(graph):
    cost = LatencyCost(graph, measured_table(MACHINE, wanted(graph), timer(graph, [], noise=0.05)))
    rng = np.random.default_rng(0)
    removed = np.stack([rng.integers(0, group.size - 1, 500) for group in graph.groups.values()], axis=1)
    full = milliseconds(graph, 0 * removed)
    assert np.abs(cost(removed) - milliseconds(graph, removed)).max() < 0.05 * full[0]
    assert cost(0 * removed[:1])[0] == pytest.approx(full[0]), "the unpruned network is as it was measured"
    assert 0.01 < cost.error < 0.08


def test_kinds_of_work_are_told_apart(v2_config):

    from ocrslim.config.config import load_config
    from ocrslim.models.factory import build_model
    from ocrslim.pruning.prunable import model_graph

    graph = model_graph(build_model(load_config(v2_config).section("Architecture")), DETECTION)
    one, dense, pointwise, transposed, depthwise, written = Work(graph)(np.zeros((1, len(graph.groups)), dtype=int))[0]
    assert one == 1 and dense + pointwise + transposed + depthwise == graph.macs
    macs = {layer.key: layer.macs for layer in graph.layers}
    assert dense > macs["neck.p2_conv.weight"] + macs["head.binarize.conv1.weight"] > 0.5 * dense
    assert transposed == macs["head.binarize.conv2.weight"] + macs["head.binarize.conv3.weight"]
    assert depthwise == sum(layer.macs for layer in graph.layers if "bottleneck_conv" in layer.key)
    assert 0 < written < graph.macs


def test_a_product_of_activations_is_the_work_of_its_channels_and_writes_no_layers_output():
    per = tuple(("a.weight", 1, channel) for channel in range(8))
    member = Member("a.weight", 1, 8, tuple((channel,) for channel in range(8)), OUTPUT)
    made = ChannelGraph({"a.weight": Group("a.weight", (member,))}, {}, (Layer("", (), 100, per),))
    pointwise, written = (Work(made)(np.array([[0], [4]]))[:, kind].tolist() for kind in (2, 5))
    assert (pointwise, written) == ([800, 400], [0, 0])
    assert Work(made, block=8)(np.array([[0], [4]]))[:, 2].tolist() == [800, 800], "in whole blocks"


def test_what_is_kept_is_not_measured_again(graph, cache):
    first, second, third = [], [], []
    table = measured_table(MACHINE, wanted(graph), timer(graph, first))
    again = measured_table(MACHINE, wanted(graph), timer(graph, second))
    table.plans["a plan"] = 0.5
    table.save()
    assert measured_table(MACHINE, wanted(graph), timer(graph, second)).plans == {"a plan": 0.5}, "nor a plan"
    assert first and not second and again.samples == table.samples and again.full == table.full
    measured_table({**MACHINE, "processor": "b"}, wanted(graph), timer(graph, third))
    assert third == first and len(list(cache.iterdir())) == 2, "another machine has another table"


def test_an_interrupted_measurement_goes_on_where_it_was(graph):
    calls = []
    time_of = timer(graph, calls)

    def breaks(removed):
        if len(calls) == 3:
            raise KeyboardInterrupt
        return time_of(removed)

    with pytest.raises(KeyboardInterrupt):
        measured_table(MACHINE, wanted(graph), breaks)
    seen = list(calls)
    measured_table(MACHINE, wanted(graph), time_of)
    assert calls == random_samples(wanted(graph)) and len(calls) == SAMPLES and calls[:3] == seen


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1, "machine": {}}'])
def test_a_damaged_table_is_measured_anew(graph, content):
    path = LatencyTable(MACHINE).path
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert load_table(MACHINE) is None
    assert measured_table(MACHINE, wanted(graph), timer(graph, [])).full > REST


def test_the_target_is_reached_in_milliseconds_and_not_in_macs(graph):
    table = {name: {0.3: 0.001, 0.9: 0.01} for name in graph.groups}
    options = OPTIONS.model_copy(update={"target": {"latency": 0.4}})
    counts = {name: permitted_counts(group, options) for name, group in graph.groups.items()}
    cost = LatencyCost(graph, measured_table(MACHINE, counts, timer(graph, [])))
    chosen = select(graph, table, options, {}, cost)
    removed = [[round(chosen.ratios.get(name, 0) * group.size) for name, group in graph.groups.items()]]
    full, left = milliseconds(graph, [[0, 0, 0]])[0], milliseconds(graph, removed)[0]
    assert chosen.saving == pytest.approx(1 - left / full) and chosen.saving >= 0.4
    by_macs = select(graph, table, options.model_copy(update={"target": {"macs": 0.4}}), {})
    assert chosen.joint_loss > by_macs.joint_loss, "the rest takes its time whatever is pruned"


def test_samples_reach_from_a_little_to_nearly_all():
    choices = {"a": list(range(8, 96, 8)), "b": [8, 16]}
    found = random_samples(choices)
    assert found == random_samples(choices) and all(
        count in choices[name] for one in found for name, count in one.items()
    )
    assert sum(found[0].values()) <= 8 and {one.get("b", 0) for one in found} == {0, 8, 16}
    assert found[-1] == {"a": 88, "b": 16}


def test_a_table_is_of_a_processor_a_runtime_a_version_and_a_network(v2_config):
    def of(*options, groups=("a: b",), align=None):
        return describe_machine(groups, load_config(v2_config, options), align)

    described = of()
    assert described["processor"] and described["input"] == [1, 3, 736, 1280]
    assert described["runtime"] == ["paddle", described["paddle"]]
    others = [
        of(groups=["a: c"]),
        of(align=8),
        of("Export.threads=2"),
        of("Export.runtime=onnxruntime"),
        of("Export.rewrite=false"),
    ]
    paths = {LatencyTable(one).path for one in (described, *others)}
    assert len(paths) == 6 and LatencyTable(of()).path in paths
