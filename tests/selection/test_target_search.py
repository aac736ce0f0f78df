"""Ratios for a wished saving: least damage, the saving reached exactly, and clear words where it cannot be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ocrslim.config.config import PruneOptions
from ocrslim.errors import PlanError
from ocrslim.graph.groups import FOLLOWS, INPUT, OUTPUT, ChannelGraph, Group, Layer, Member
from ocrslim.pruning.cost import MACS, PARAMS, measure_cost, product_cost
from ocrslim.pruning.plan import Cut, combine
from ocrslim.selection.joint_loss import feature_errors, joint_loss, monotone_losses
from ocrslim.selection.select import select
from ocrslim.selection.target_search import Problem, search

RATIOS = (0.2, 0.4, 0.6, 0.8)
OPTIONS = PruneOptions(skip_first=0, skip_loss=1.0)


def chain(widths, positions):
    """Convolutions in a row, each reading the one before it; the last one is not prunable."""
    keys = [f"conv{chr(97 + index)}.weight" for index in range(len(widths))]
    shapes = {key: (out, before, 3, 3) for key, out, before in zip(keys, widths, [3, *widths])}
    groups = {}
    for index, (key, width) in enumerate(zip(keys[:-1], widths)):
        units = tuple((unit,) for unit in range(width))
        norm = Member(f"norm{index}.weight", 0, width, units, FOLLOWS)
        reader = Member(keys[index + 1], 1, width, units, INPUT)
        groups[key] = Group(key, (Member(key, 0, width, units, OUTPUT), norm, reader))
    layers = tuple(Layer(key, shapes[key], place) for key, place in zip(keys, positions))
    norms = {f"norm{index}.weight": (width,) for index, width in enumerate(widths[:-1])}
    return ChannelGraph(groups, {keys[-1]: "makes the output"}, layers, {**shapes, **norms})


def cuts_of(graph, ratios, last=False):
    """Cuts of the first units of each group, or of the last."""
    found = []
    for name, ratio in ratios.items():
        group = graph.groups[name]
        count = round(group.size * ratio)
        gone = range(group.size - count, group.size) if last else range(count)
        found += [Cut(m.key, m.axis, m.size, m.keep(gone)) for m in group.members]
    return combine(found)


def random_case(seed):
    """A chain and a table: losses that rise, layers that differ by a factor of a hundred."""
    rng = np.random.default_rng(seed)
    graph = chain([5, 10, 5, 10, 4], rng.integers(20, 2000, 5).tolist())
    table = {
        name: dict(zip(RATIOS, (10 ** rng.uniform(-3, -1) * np.cumsum(rng.uniform(0, 1, 4))).tolist()))
        for name in graph.groups
    }
    return graph, table


def choose(graph, table, target, **changes):
    return select(graph, table, OPTIONS.model_copy(update={"target": target, **changes}), {})


def damage_of(selection):
    return -np.log1p(-selection.joint_loss)


def brute_force(graph, table, kind, fraction):
    """The least damage of all combinations that save enough, one by one by `measure_cost`."""
    full, best = getattr(measure_cost(graph), kind), np.inf
    counts = [range(round(group.size * 0.8) + 1) for group in graph.groups.values()]
    for picked in itertools.product(*counts):
        ratios = {name: count / graph.groups[name].size for name, count in zip(graph.groups, picked) if count}
        losses = [np.interp(r, [0, *RATIOS], [0, *table[name].values()]) for name, r in ratios.items()]
        total = feature_errors(np.array(losses), np.array(list(ratios.values()))).sum()
        if total**2 < best and getattr(measure_cost(graph, cuts_of(graph, ratios)), kind) <= (1 - fraction) * full:
            best = total**2
    return best


@pytest.mark.parametrize("kind", [MACS, PARAMS])
@pytest.mark.parametrize("seed", range(4))
def test_no_combination_that_saves_as_much_does_less_damage(seed, kind):
    graph, table = random_case(seed)
    assert damage_of(choose(graph, table, {kind: 0.5})) == pytest.approx(brute_force(graph, table, kind, 0.5))


@pytest.mark.parametrize("kind", [MACS, PARAMS])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.6])
def test_the_saving_is_what_the_pruned_network_saves(kind, fraction):
    graph, table = random_case(7)
    chosen = choose(graph, table, {kind: fraction})
    full = getattr(measure_cost(graph), kind)
    for last in (False, True):
        left = getattr(measure_cost(graph, cuts_of(graph, chosen.ratios, last)), kind)
        assert 1 - left / full == pytest.approx(chosen.saving) and chosen.saving >= fraction


@pytest.mark.parametrize("seed", range(5))
def test_a_larger_target_never_costs_less(seed):
    graph, table = random_case(seed)
    losses = [choose(graph, table, {MACS: fraction}).joint_loss for fraction in np.arange(0.05, 0.8, 0.05)]
    assert losses == sorted(losses)


def test_the_cost_by_counts_is_the_cost_of_the_cuts():
    graph, _ = random_case(0)
    rng = np.random.default_rng(1)
    for _ in range(20):
        counts = np.array([rng.integers(0, group.size) for group in graph.groups.values()])
        ratios = {name: count / graph.groups[name].size for name, count in zip(graph.groups, counts) if count}
        cost = measure_cost(graph, cuts_of(graph, ratios))
        assert (product_cost(graph, MACS)(counts[None])[0], product_cost(graph, PARAMS)(counts[None])[0]) == (
            cost.macs,
            cost.params,
        )


def test_a_layer_over_each_channel_costs_by_those_that_stay():
    units = tuple((unit,) for unit in range(4))
    group = Group("conv.weight", (Member("conv.weight", 0, 4, units, OUTPUT),))
    rows = Layer("fc.weight", (6, 5), 1, per=tuple(("conv.weight", 0, unit) for unit in range(4)))
    graph = ChannelGraph({group.name: group}, {}, (rows,))
    assert product_cost(graph, MACS)(np.array([[0], [1], [3]])).tolist() == [120, 90, 30]


def test_many_small_losses_count_more_than_their_sum_in_one_layer():
    """What adding losses up would choose is not chosen: four layers of 0.001 for one of 0.005."""
    widths = [10, 10, 10, 10, 4]
    graph = chain(widths, [100, 1, 1, 1, 1])
    small, large = dict.fromkeys(RATIOS, 0.001), dict.fromkeys(RATIOS, 0.004)
    first, *others = graph.groups
    table = {first: large, **dict.fromkeys(others, small)}
    chosen = choose(graph, table, {MACS: 0.3})
    assert set(chosen.ratios) == {first}
    together = feature_errors(np.array([0.001] * 4), np.array([0.2] * 4)).sum()
    assert joint_loss(together) > 0.005 > 4 * 0.001


def test_noise_is_neither_a_gain_nor_a_fall():
    fitted = monotone_losses({0.1: 0.02, 0.2: -0.01, 0.3: -0.02, 0.5: 0.04, 0.9: 0.03}, 20)
    assert list(fitted) == [2, 4, 6, 10, 18]
    values = list(fitted.values())
    assert values == sorted(values) and values[:3] == [0, 0, 0] and values[3:] == pytest.approx([0.035, 0.035])
    assert monotone_losses({0.01: 0.5}, 20) == {}, "no unit goes at that ratio"


def test_kept_channels_are_aligned_and_never_fewer_than_the_floor():
    graph = chain([16, 24, 16, 8], [100, 100, 100, 100])
    table = {name: {0.3: 0.001, 0.9: 0.01} for name in graph.groups}
    chosen = choose(graph, table, {MACS: 0.4}, align=8, min_channels=8)
    kept = [graph.groups[name].size * (1 - ratio) for name, ratio in chosen.ratios.items()]
    assert kept and all(count % 8 == 0 and count >= 8 for count in kept)
    free = choose(graph, table, {MACS: 0.4})
    assert free.joint_loss < chosen.joint_loss, "or the alignment had nothing to do"


def test_no_ratio_beyond_the_measured_ones():
    graph = chain([10, 10, 4], [100, 100, 100])
    table = {name: {0.2: 0.0, 0.4: 0.0} for name in graph.groups}
    assert max(choose(graph, table, {MACS: 0.5}).ratios.values()) == pytest.approx(0.4)
    with pytest.raises(PlanError, match="measure larger ratios"):
        choose(graph, table, {MACS: 0.7})
    with pytest.raises(PlanError, match="lower the target") as caught:
        choose(graph, table, {MACS: 0.7}, criterion="reconstruction")
    assert "table" not in str(caught.value) and "measure" not in str(caught.value), "there is none"


def test_what_cannot_be_reached_is_said_with_what_can_and_what_to_ease():
    graph = chain([10, 10, 10, 4], [100, 100, 100, 100])
    table = {name: {0.5: 0.0, 0.8: 0.01} for name in graph.groups}
    table["conva.weight"] = {0.5: 0.5, 0.8: 0.9}
    settings = {"skip_ratio": 0.5, "skip_loss": 0.1, "min_channels": 5}
    with pytest.raises(PlanError, match=r"macs 0\.9 cannot be reached: at most 0\.\d{3}") as caught:
        choose(graph, table, {MACS: 0.9}, **settings)
    text = str(caught.value)
    assert "Prune.skip_loss 1.0: 0." in text and "Prune.min_channels 1: 0." in text
    assert "Prune.skip_first" not in text and "Prune.align" not in text, "they hold nothing back"
    reachable = float(text.partition("at most ")[2].split()[0])
    assert choose(graph, table, {MACS: reachable}, **settings).saving >= reachable
    with pytest.raises(PlanError, match="cannot be reached"):
        choose(graph, table, {MACS: reachable + 0.002}, **settings)


def test_layers_left_alone_by_the_target_say_so():
    graph, table = random_case(3)
    chosen = choose(graph, table, {MACS: 0.05})
    left = set(graph.groups) - set(chosen.ratios)
    assert left and all("Prune.target macs 0.05" in chosen.skipped[name] for name in left)


def test_without_a_target_the_tolerance_decides():
    graph, table = random_case(0)
    assert select(graph, table, OPTIONS, {}).saving is None
    assert select(graph, table, OPTIONS, {}).ratios != choose(graph, table, {MACS: 0.5}).ratios


@pytest.mark.parametrize("kind", [MACS, PARAMS])
def test_a_part_of_the_cost_changes_as_the_whole_with_its_groups(kind):
    graph, _ = random_case(2)
    assert_parts_of(product_cost(graph, kind), [group.size for group in graph.groups.values()])


def assert_parts_of(cost, sizes):
    """Of rows that differ in some groups alone, the part of these groups differs by as much as the whole."""
    rng = np.random.default_rng(0)
    for groups in [(0,), (3,), (0, 1), (1, 3), (2, 3)]:
        rows = np.repeat([[rng.integers(0, size) for size in sizes]], 7, axis=0)
        for group in groups:
            rows[:, group] = rng.integers(0, sizes[group], len(rows))
        whole, part = cost(rows), cost.part(groups)(rows)
        assert np.ptp(whole) > 0 and (part > 0).all() and (part < whole).all()
        assert part - part[0] == pytest.approx(whole - whole[0], abs=1e-9 * whole[0])


class _Linear:
    def __call__(self, removed):
        return 10.0 - removed.sum(axis=1)

    def part(self, groups):
        return lambda removed: -removed[:, list(groups)].sum(axis=1)


def test_the_search_finds_nothing_where_nothing_fits():
    problem = Problem([np.array([0, 1])], [np.array([0.0, 1.0])], _Linear())
    assert search(problem, 8) is None
    assert problem.counts(search(problem, 9)).tolist() == [1]
    assert problem.counts(search(problem, 10)).tolist() == [0]
