"""How channels are scored, against PaddleSlim's own choice and against the papers' formulas."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ocrslim.pruning import criteria
from ocrslim.pruning.criteria import lowest, paddleslim_class, paddleslim_lowest, random_scores, unit_scores

RATIOS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def singles(count):
    return tuple((index,) for index in range(count))


def own_choice(criterion, values, ratio, groups=1):
    """What PaddleSlim's pruner itself removes from a convolution's weight, straight from its `cal_mask`."""
    pruner = paddleslim_class(criterion).__new__(paddleslim_class(criterion))
    detail = SimpleNamespace(axis=1, op=SimpleNamespace(attr=lambda name: groups))
    collection = SimpleNamespace(
        master_name="w", master_axis=0, values={"w": values}, all_pruning_details=lambda: [detail]
    )
    return np.flatnonzero(pruner.cal_mask(ratio, collection) == 0).tolist()


@pytest.mark.parametrize("criterion", criteria.PADDLESLIM)
@pytest.mark.parametrize("shape", [(24, 5, 3, 3), (13, 1, 5, 5), (40, 7)], ids=["conv", "depthwise", "linear"])
def test_choice_and_ranking_are_paddleslims(criterion, shape):
    values = weights(*shape)
    scores = unit_scores(criterion, values, singles(shape[0]))
    for ratio in RATIOS:
        expected = own_choice(criterion, values, ratio)
        assert paddleslim_lowest(criterion, values, singles(shape[0]), ratio) == expected
        assert lowest(scores, ratio) == expected


@pytest.mark.parametrize("criterion", criteria.PADDLESLIM)
def test_units_of_several_channels_are_averaged_as_paddleslim_does(criterion):
    values = weights(24, 5, 3, 3)
    consecutive = tuple(tuple(range(4 * i, 4 * i + 4)) for i in range(6))
    strided = tuple(tuple(range(i, 24, 6)) for i in range(6))
    for ratio in RATIOS:
        removed = own_choice(criterion, values, ratio, groups=6)
        assert paddleslim_lowest(criterion, values, consecutive, ratio) == sorted({i // 4 for i in removed})
        for units in (consecutive, strided):
            found = paddleslim_lowest(criterion, values, units, ratio)
            assert found == lowest(unit_scores(criterion, values, units), ratio)
    assert paddleslim_lowest(criterion, values, consecutive, 0.5) != paddleslim_lowest(criterion, values, strided, 0.5)


@pytest.mark.parametrize("criterion", criteria.PADDLESLIM)
def test_only_the_units_positions_count(criterion):
    values = weights(9, 4, 1, 1)
    values[[0, 4]] = 0  # the lowest of all, but of no unit
    units = ((1,), (2,), (3,), (5,), (6,), (7,), (8,))
    expected = own_choice(criterion, np.delete(values, [0, 4], axis=0), 0.4)
    assert paddleslim_lowest(criterion, values, units, 0.4) == expected


@pytest.mark.parametrize("criterion", criteria.PADDLESLIM)
def test_a_group_of_one_unit_stays(criterion):
    assert paddleslim_lowest(criterion, weights(4, 2, 1, 1), ((0, 1, 2, 3),), 0.9) == []


def test_the_formulas():
    values = np.array([[3.0, -4.0], [0.0, 1.0]])
    assert criteria.l1(values).tolist() == [3.5, 0.5]
    assert criteria.l2(values).tolist() == [5.0, 1.0]
    assert criteria.fpgm(values) == pytest.approx([np.hypot(3, 5)] * 2)
    assert criteria.bn_scale(np.array([-2.0, 1.0])).tolist() == [2.0, 1.0]
    assert criteria.taylor(np.array([[1.0, -3.0], [2.0, 2.0]])).tolist() == [5.0, 4.0]


def test_taylor_squares_what_all_weights_of_a_unit_do_together():
    contributions = np.array([[5.0], [-5.0], [1.0], [1.0]])  # two channels that cancel out, two that add up
    assert unit_scores("taylor", contributions, ((0, 1), (2, 3))).tolist() == [0.0, 4.0]


def test_a_unit_without_a_position_has_no_score():
    scores = unit_scores("l1", np.array([[1.0], [2.0], [6.0]]), ((0,), (), (1, 2)))
    assert scores[[0, 2]].tolist() == [1.0, 4.0] and np.isnan(scores[1])


def test_random_scores_depend_on_seed_and_name_alone():
    first = random_scores(1, "a.weight", 8)
    assert np.array_equal(first, random_scores(1, "a.weight", 8))
    assert not np.array_equal(first, random_scores(2, "a.weight", 8))
    assert not np.array_equal(first, random_scores(1, "b.weight", 8))
