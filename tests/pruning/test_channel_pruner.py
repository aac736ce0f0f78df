"""Which channels go, on groups written by hand; and that removing them equals silencing what they feed."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from hand_built import (
    INPUT,
    NETS,
    OUTPUT,
    Chain,
    concat,
    depthwise,
    flattened,
    grouped_by_block,
    member,
    net,
    norm_members,
    one_to_one,
    plain,
    residual,
    transposed,
)
from paddle import nn

from ocrslim.errors import ConfigError, PlanError
from ocrslim.graph.groups import ChannelGraph, Group
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.criteria import NAMES, PADDLESLIM, lowest, paddleslim_lowest, unit_scores
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import pruned


def array(net, key):
    return net.model.state_dict()[key].numpy()


def set_array(net, key, value):
    net.model.state_dict()[key].set_value(np.asarray(value, "float32"))


def kept(net, key, axis, ratios, **options):
    cuts = ChannelPruner(net.model, net.graph, options.pop("criterion", "l1"), **options).cuts(ratios)
    return {(cut.key, cut.axis): cut.keep for cut in cuts}.get((key, axis))


@pytest.mark.parametrize("ratio", [0.3, 0.7, 0.999])
@pytest.mark.parametrize("name", NETS)
def test_pruned_equals_silenced(name, ratio):
    net = NETS[name]()
    before = net.run()
    cuts = ChannelPruner(net.model, net.graph, "l2").cuts(dict.fromkeys(net.graph.groups, ratio))
    with pruned(net.model, Plan({}, cuts)):
        found = net.run()
    np.testing.assert_array_equal(net.run(), before)
    net.silence(cuts)
    expected = net.run()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert not np.allclose(expected, before, rtol=0.01), "silencing must matter, or this test proves nothing"


@pytest.mark.parametrize("criterion", PADDLESLIM)
def test_outputs_of_a_transposed_convolution_are_scored_where_they_lie(criterion):
    net = transposed()
    values = np.ascontiguousarray(array(net, "up.weight").swapaxes(0, 1))
    gone = paddleslim_lowest(criterion, values, one_to_one(4), 0.5)
    expected = tuple(i for i in range(4) if i not in gone)
    assert kept(net, "up.weight", 1, {"up.weight": 0.5}, criterion=criterion) == expected
    assert kept(net, "b.weight", 1, {"up.weight": 0.5}, criterion=criterion) == expected


def test_outputs_of_a_linear_layer_are_scored_by_its_columns():
    net = flattened()
    set_array(net, "b.weight", np.ones((16, 5)) * [5, 1, 4, 2, 3])
    assert kept(net, "c.weight", 0, {"b.weight": 0.4}) == (0, 2, 4)


def test_a_member_follows_with_its_own_positions():
    net = concat()
    set_array(net, "b.weight", np.arange(6).reshape(6, 1, 1, 1) * np.ones((6, 3, 1, 1)))
    cuts = {(c.key, c.axis): c for c in ChannelPruner(net.model, net.graph, "l1").cuts({"b.weight": 0.5})}
    assert cuts["b.weight", 0].keep == (3, 4, 5)
    assert cuts["c.weight", 1].keep == (0, 1, 2, 3, 7, 8, 9)


def test_channels_that_go_together_are_scored_together():
    net = grouped_by_block()
    value = np.zeros((8, 3, 1, 1))
    value[[0, 1, 2, 3, 4, 5, 6, 7]] = np.array([9, 0, 4, 4, 1, 1, 3, 3]).reshape(8, 1, 1, 1)  # means 4.5, 4, 1, 3
    set_array(net, "a.weight", value)
    assert kept(net, "a.weight", 0, {"a.weight": 0.5}) == (0, 1, 2, 3)
    assert kept(net, "wide.weight", 0, {"a.weight": 0.5}) == (0, 1, 2, 3, 4, 5)


def two_makers(first, second, units_first, units_second):
    """Two convolutions that make one group's channels, with the scores that L1 gives them."""
    model = Chain(a=nn.Conv2D(1, len(first), 1), b=nn.Conv2D(1, len(second), 1))
    built = net(
        model,
        [member("a.weight", 0, units_first, OUTPUT), member("b.weight", 0, units_second, OUTPUT)],
    )
    set_array(built, "a.weight", np.reshape(first, (-1, 1, 1, 1)))
    set_array(built, "b.weight", np.reshape(second, (-1, 1, 1, 1)))
    return built


def test_group_scores_weigh_layers_of_another_scale_alike():
    built = two_makers([1, 2, 3, 4], [500, 400, 300, 0.001], one_to_one(4), one_to_one(4))

    def scores(group_score):
        return ChannelPruner(built.model, built.graph, "l1", group_score=group_score).scores("a.weight")

    first, second = np.array([1, 2, 3, 4]) / 2.5, np.array([500, 400, 300, 0.001]) / 300.00025
    np.testing.assert_allclose(scores("master"), [1, 2, 3, 4])
    np.testing.assert_allclose(scores("mean"), (first + second) / 2, rtol=1e-5)
    np.testing.assert_allclose(scores("max"), np.maximum(first, second), rtol=1e-5)
    assert kept(built, "a.weight", 0, {"a.weight": 0.5}, group_score="master") == (2, 3)
    assert kept(built, "a.weight", 0, {"a.weight": 0.25}, group_score="mean") == (0, 1, 2)
    assert kept(built, "a.weight", 0, {"a.weight": 0.5}, group_score="max") == (0, 3)


def test_a_unit_that_the_master_lacks_is_scored_by_the_first_layer_that_has_it():
    built = two_makers([1, 3], [20, 10, 30], ((0,), (1,), ()), ((), (0,), (1,)))
    scores = ChannelPruner(built.model, built.graph, "l1").scores("a.weight")
    np.testing.assert_allclose(scores, [1 / 2, 3 / 2, 10 / 15])


def test_units_of_unequal_size_count_by_their_mean():
    built = two_makers([9, 1, 2, 3], [1, 1, 1], ((0, 1), (2,), (3,)), one_to_one(3))
    assert ChannelPruner(built.model, built.graph, "l1").removed("a.weight", 0.6) == (1, 2)


@pytest.mark.parametrize("criterion", sorted({*NAMES} - {"taylor"}))
def test_no_layer_is_left_without_a_channel_whatever_the_ratio(criterion):
    """The second layer has only the units that score lowest by the first one."""
    built = two_makers([1, 2, 30, 40], [1, 1], one_to_one(4), ((0,), (1,), (), ()))
    scores = {"a.weight": np.arange(4.0)} if criterion == "reconstruction" else None
    cuts = ChannelPruner(built.model, built.graph, criterion, scores=scores).cuts({"a.weight": 0.999})
    sizes = {cut.key: len(cut.keep) for cut in cuts}
    assert sizes["b.weight"] == 1 and sizes["a.weight"] <= 2
    if criterion == "l1":  # the better one of the two
        assert {cut.key: cut.keep for cut in cuts} == {"a.weight": (1, 3), "b.weight": (1,)}


def test_a_reader_of_some_units_keeps_one_of_them():
    """Behind a split: the second half of the channels feeds a layer of its own."""
    units, half = one_to_one(4), ((), (), (0,), (1,))
    model = Chain(a=nn.Conv2D(1, 4, 1), b=nn.Conv2D(2, 1, 1))
    built = net(model, [member("a.weight", 0, units, OUTPUT), member("b.weight", 1, half, INPUT)])
    set_array(built, "a.weight", np.reshape([9, 8, 1, 2], (4, 1, 1, 1)))
    assert ChannelPruner(built.model, built.graph, "l1").removed("a.weight", 0.5) == (2,)


def test_bn_scale_takes_the_norm_behind_the_master_and_says_where_there_is_none(caplog):
    net = residual()
    set_array(net, "one.weight", [-6, 1, 5, 2, 4, 3])
    set_array(net, "another.weight", [1, 2, 3, 4, 5, 6])
    # whatever the order in which the tracer met them
    group = net.graph.groups["a.weight"]
    for members in (group.members, (group.master, *reversed(group.members[1:]))):
        net.graph = ChannelGraph({"a.weight": Group("a.weight", tuple(members))}, {})
        assert kept(net, "a.weight", 0, {"a.weight": 0.5}, criterion="bn_scale") == (0, 2, 4)
    assert kept(net, "a.weight", 0, {"a.weight": 0.5}, criterion="bn_scale", group_score="max") == (0, 4, 5)
    assert "without a batch norm" not in caplog.text
    with caplog.at_level(logging.INFO):
        other = concat()
        assert kept(other, "a.weight", 0, {"a.weight": 0.5}, criterion="bn_scale") == kept(
            other, "a.weight", 0, {"a.weight": 0.5}, criterion="l1"
        )
    assert caplog.text.count("cannot score these groups, l1 is used for them: a.weight, b.weight") == 1


def test_bn_scale_knows_paddles_older_batch_norm():
    units = one_to_one(4)
    model = Chain(a=nn.Linear(2, 4), norm=nn.BatchNorm(4))
    built = net(model, [member("a.weight", 1, units, OUTPUT), *norm_members("norm", units)])
    set_array(built, "norm.weight", [4, 1, 3, 2])
    assert kept(built, "a.weight", 1, {"a.weight": 0.5}, criterion="bn_scale") == (0, 2)


def test_taylor_reads_the_gradients_of_the_axis():
    net = transposed()
    gradients = {
        ("a.weight", 0): np.array([[1, 0, 3, 0, 5, 4.0]]),
        ("up.weight", 1): np.array([[1, -4, 0, 0], [-1, 4, 3, 0.5]]),
        ("up.weight", 0): np.full((2, 6), np.nan),
    }
    options = {"criterion": "taylor", "gradients": gradients}
    assert kept(net, "up.weight", 1, {"up.weight": 0.5}, **options) == (1, 2)
    assert kept(net, "up.weight", 0, {"a.weight": 0.5}, **options) == (2, 4, 5)
    with pytest.raises(ConfigError, match="taylor needs measurements on training images"):
        ChannelPruner(net.model, net.graph, "taylor")


def test_random_keeps_other_channels_with_another_seed_and_fewer_of_the_same_with_another_ratio():
    net = plain()
    seeds = {kept(net, "a.weight", 0, {"a.weight": 0.5}, criterion="random", seed=seed) for seed in range(6)}
    assert len(seeds) > 1
    few = kept(net, "a.weight", 0, {"a.weight": 0.7}, criterion="random", seed=3)
    assert set(few) < set(kept(net, "a.weight", 0, {"a.weight": 0.3}, criterion="random", seed=3))


def test_scores_are_those_of_the_weights_at_construction():
    net = plain()
    pruner = ChannelPruner(net.model, net.graph, "l1")
    before = pruner.removed("a.weight", 0.5)
    set_array(net, "a.weight", -array(net, "a.weight")[::-1])
    assert pruner.removed("a.weight", 0.5) == before
    assert ChannelPruner(net.model, net.graph, "l1").removed("a.weight", 0.5) == tuple(sorted(5 - i for i in before))


def test_half_precision_is_scored_in_single():
    half = depthwise()
    half.model.to(dtype="bfloat16")
    values = half.model.state_dict()["a.weight"].astype("float32").numpy()
    expected = lowest(unit_scores("l2", values, one_to_one(4)), 0.5)
    assert list(ChannelPruner(half.model, half.graph, "l2").removed("a.weight", 0.5)) == expected


def test_the_caller_is_told_what_is_wrong():
    net = plain()
    pruner = ChannelPruner(net.model, net.graph, "fpgm")
    with pytest.raises(PlanError, match=r"a\.wieght: no channel group.*did you mean 'a\.weight'"):
        pruner.cuts({"a.wieght": 0.5})
    for ratio in (-0.1, 1.0, 30, float("nan")):
        with pytest.raises(PlanError, match=r"a\.weight: ratio .* outside 0\.\.1"):
            pruner.cuts({"a.weight": ratio})
    with pytest.raises(ConfigError, match="Prune.criterion: 'hrank' is not one of fpgm, l1, l2, bn_scale"):
        ChannelPruner(net.model, net.graph, "hrank")
    with pytest.raises(ConfigError, match="Prune.group_score: 'sum' is not one of master, mean, max"):
        ChannelPruner(net.model, net.graph, "l1", group_score="sum")


def test_nothing_to_remove_is_no_cut():
    net = plain()
    assert ChannelPruner(net.model, net.graph, "fpgm").cuts({"a.weight": 0.0}) == ()
    assert ChannelPruner(net.model, replace(net.graph, groups={}), "fpgm").cuts({}) == ()
