"""Latency as a target: the table of a machine, what is made of it, and how it is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_target import OPTIONS, chain

from ocrslim.pruning.counts import MACS, product_cost
from ocrslim.pruning.latency import LatencyCost, LatencyTable, describe_machine, load_table, measured_table, spread
from ocrslim.pruning.select import select, select_counts

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


def timer(graph, calls):
    """Stands for a machine whose time follows the MACs; notes what it is asked."""
    names = list(graph.groups)

    def ratio_of(name, count):
        calls.append((name, count))
        row = np.zeros((1, len(names)), dtype=int)
        full = milliseconds(graph, row)[0]
        row[0, names.index(name)] = count
        return full, milliseconds(graph, row)[0] / full

    return ratio_of


def wanted(graph):
    return {name: list(range(1, group.size - 1)) for name, group in graph.groups.items()}


def test_where_time_follows_macs_every_combination_is_predicted_exactly(graph):
    cost = LatencyCost(graph, measured_table(MACHINE, wanted(graph), timer(graph, [])))
    rng = np.random.default_rng(0)
    removed = np.stack([rng.integers(0, group.size - 1, 50) for group in graph.groups.values()], axis=1)
    assert cost(removed) == pytest.approx(milliseconds(graph, removed))
    added = cost(np.zeros((1, 3), int)) + sum(cost(row) - cost(0 * row) for row in np.eye(3, dtype=int)[:, None] * 10)
    assert added != pytest.approx(milliseconds(graph, [[10, 10, 10]])), "or adding the savings would do"


def test_what_is_kept_is_not_measured_again(graph, cache):
    first, second, third = [], [], []
    table = measured_table(MACHINE, wanted(graph), timer(graph, first))
    again = measured_table(MACHINE, wanted(graph), timer(graph, second))
    assert first and not second and again.points == table.points and again.full == table.full
    measured_table({**MACHINE, "processor": "b"}, wanted(graph), timer(graph, third))
    assert third == first and len(list(cache.iterdir())) == 2, "another machine has another table"


def test_an_interrupted_measurement_goes_on_where_it_was(graph):
    calls = []
    ratio_of = timer(graph, calls)

    def breaks(name, count):
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ratio_of(name, count)

    with pytest.raises(KeyboardInterrupt):
        measured_table(MACHINE, wanted(graph), breaks)
    seen = list(calls)
    measured_table(MACHINE, wanted(graph), ratio_of)
    assert len(calls) == len(set(calls)) == 9 and calls[:3] == seen


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1, "machine": {}}'])
def test_a_damaged_table_is_measured_anew(graph, content):
    path = LatencyTable(MACHINE, 0.0).path
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert load_table(MACHINE) is None
    assert measured_table(MACHINE, wanted(graph), timer(graph, [])).full > REST


def test_the_target_is_reached_in_milliseconds_and_not_in_macs(graph):
    table = {name: {0.3: 0.001, 0.9: 0.01} for name in graph.groups}
    options = replace(OPTIONS, target={"latency": 0.4})
    counts = select_counts(graph, table, options, {})
    assert {name: max(found) for name, found in counts.items()} == dict(zip(graph.groups, (14, 22, 14)))
    cost = LatencyCost(graph, measured_table(MACHINE, counts, timer(graph, [])))
    chosen = select(graph, table, options, {}, cost)
    removed = [[round(chosen.ratios.get(name, 0) * group.size) for name, group in graph.groups.items()]]
    full, left = milliseconds(graph, [[0, 0, 0]])[0], milliseconds(graph, removed)[0]
    assert chosen.saving == pytest.approx(1 - left / full) and chosen.saving >= 0.4
    by_macs = select(graph, table, replace(options, target={"macs": 0.4}), {})
    assert chosen.joint_loss > by_macs.joint_loss, "the rest takes its time whatever is pruned"


def test_a_few_counts_over_the_range():
    assert spread([8, 16, 24, 32, 40]) == [8, 24, 40]
    assert spread([8]) == [8] and spread([]) == []


def test_a_table_is_of_a_processor_a_version_and_a_network():
    described = describe_machine(["a: b"], (1, 3, 736, 1280), 1)
    assert described["processor"] and described["paddle"] and described["input"] == [1, 3, 736, 1280]
    assert described != describe_machine(["a: c"], (1, 3, 736, 1280), 1)
