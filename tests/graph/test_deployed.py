"""Layers that train as parallel branches: what is deployed is counted, and is what the branches compute."""

from __future__ import annotations

import copy

import numpy as np
import paddle
import pytest
from branches import Branches, Deploying, deploying
from oracle import assert_groups, sample
from paddle import nn

from ocrslim.errors import GraphError
from ocrslim.graph import deployed
from ocrslim.graph.frontends.deployed import counterparts
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.cost import MACS, PARAMS, Cost, measure_cost, product_cost
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.surgery.cutting import pruned

SHAPE = (1, 3, 8, 8)
POSITIONS = 64


def cuts_of(graph, removed):
    """Remove the named number of units, the first ones, from each group."""
    return combine(
        Cut(member.key, member.axis, member.size, member.keep(range(removed[name])))
        for name, group in graph.groups.items()
        for member in group.members
    )


def test_the_deployed_network_is_a_copy_that_computes_the_same():
    model = deploying()
    made = deployed(model)
    (x,) = sample(SHAPE)
    assert np.allclose(made(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)
    assert made.one.is_repped and not model.one.is_repped and "one" not in model.one._sub_layers
    plain = nn.Conv2D(3, 2, 1)
    assert deployed(plain) is plain and deployed(made) is made


def test_costs_are_those_of_the_deployed_network():
    """By hand: 3x3 convolutions 3 -> 8 -> 12, one of 12 channels alone, and 1x1 12 -> 2."""
    graph = channel_graph(deploying(), SHAPE)
    weights = 8 * 3 * 9 + 12 * 8 * 9 + 12 * 9 + 2 * 12
    assert list(graph.groups) == ["first.weight", "one.wide.0.0.weight"]
    assert measure_cost(graph) == Cost(weights * POSITIONS, weights + 8 + 12 + 12 + 2)
    assert graph.macs == weights * POSITIONS


def test_costs_follow_a_cut():
    model = deploying()
    graph = channel_graph(model, SHAPE)
    removed = dict(zip(graph.groups, (3, 5)))
    cuts = cuts_of(graph, removed)
    weights = 5 * 3 * 9 + 7 * 5 * 9 + 7 * 9 + 2 * 7
    assert measure_cost(graph, cuts) == Cost(weights * POSITIONS, weights + 5 + 7 + 7 + 2)
    counts = np.array([list(removed.values())])
    assert product_cost(graph, MACS)(counts).tolist() == [weights * POSITIONS]
    assert product_cost(graph, PARAMS)(counts).tolist() == [weights + 5 + 7 + 7 + 2]
    with pruned(model, Plan({}, cuts)):
        made = deployed(model)
        ran = [made.first, made.one.one, made.two.one, made.last]
        assert sum(int(layer.weight.size) for layer in ran) == weights, "the hand counts what runs"


def test_groups_hold_every_branch():
    model = deploying()
    graph = channel_graph(model, SHAPE)
    cut_keys = {member.key for member in graph.groups["one.wide.0.0.weight"].members}
    assert {"one.wide.1.0.weight", "one.narrow.0.weight", "two.narrow.0.weight", "two.identity.weight"} <= cut_keys
    assert_groups(model, graph, sample(SHAPE))


def test_a_network_that_cannot_be_re_parameterised_is_counted_as_it_trains(caplog):
    class Failing(Deploying):
        def rep(self):
            raise RuntimeError("no kernel of that size")

    model = Failing()
    with pytest.raises(GraphError, match=r"Failing.rep\(\) fails \(no kernel of that size\)"):
        deployed(model)
    graph = channel_graph(model, SHAPE)
    assert "one.narrow.0.weight" in {layer.key for layer in graph.layers} and "as it trains" in caplog.text


def test_a_re_parameterisation_that_computes_something_else_is_said(caplog):
    class Wrong(Branches):
        def rep(self):
            super().rep()
            self.one.bias.set_value(self.one.bias + 1)

    model = deploying()
    model.two = Wrong(12, 12, 12)
    assert len(channel_graph(model, SHAPE).groups) == 2
    assert "re-parameterised, it computes something else than as it trains" in caplog.text


def test_rounding_that_a_network_magnifies_is_nothing_else(caplog):
    """PP-OCRv4's detector came to 8e-4 of its range, and inputs that differ by rounding to 8e-3."""

    class Magnified(nn.Layer):
        def __init__(self):
            super().__init__()
            self.network = deploying()

        def forward(self, x):
            return paddle.sin(3000 * self.network(x))

    assert len(channel_graph(Magnified(), SHAPE).groups) == 2
    assert "something else" not in caplog.text


def test_a_deployed_layer_that_none_trains_like_leaves_the_costs_of_training(caplog):
    class Merged(nn.Layer):
        """Two convolutions one after the other that become one, of a shape of its own."""

        def __init__(self):
            super().__init__()
            self.first, self.second, self.is_repped = nn.Conv2D(3, 8, 3, padding=1), nn.Conv2D(8, 6, 1), False
            self.last = nn.Conv2D(6, 2, 1)

        def forward(self, x):
            return self.last(self.one(x) if self.is_repped else self.second(self.first(x)))

        def rep(self):
            first, second = self.first, self.second
            self.one, self.is_repped = nn.Conv2D(3, second._out_channels, 3, padding=1), True
            mix = second.weight[:, :, 0, 0]
            self.one.weight.set_value(paddle.einsum("oi,ijkl->ojkl", mix, first.weight))
            self.one.bias.set_value(mix @ first.bias + second.bias)

    graph = channel_graph(Merged(), SHAPE)
    assert [layer.key for layer in graph.layers] == ["first.weight", "second.weight", "last.weight"]
    assert list(graph.groups) == ["first.weight", "second.weight"] and "costs are those of training" in caplog.text


def test_a_layer_whose_size_nobody_could_know_keeps_its_channels():
    """Re-parameterised after a cut, it fails: no export could follow."""

    class Hidden(Branches):
        def rep(self):
            self.in_channels, self.out_channels = 8, 12
            super().rep()

    model = deploying()
    model.one = Hidden(8, 12)
    graph = channel_graph(model, SHAPE)
    assert not graph.groups
    assert "re-parameterised, it fails with fewer channels" in graph.unprunable["first.weight"]


def test_the_children_of_a_layer_that_re_parameterises_them_itself_are_done_once():
    class Outer(nn.Layer):
        def __init__(self):
            super().__init__()
            self.inner, self.is_repped = Branches(3, 3), False

        def forward(self, x):
            return self.inner(x)

        def rep(self):
            self.inner.rep()
            del self.inner.wide, self.inner.narrow
            self.is_repped = True

    model = Outer()
    model.eval()
    (x,) = sample(SHAPE)
    assert np.allclose(deployed(model)(x).numpy(), model(x).numpy(), atol=1e-5)


def test_parameters_are_named_after_those_of_the_same_layer():
    trained = {
        "a.wide.conv.weight": (8, 4, 3, 3),
        "a.narrow.conv.weight": (8, 4, 1, 1),
        "a.wide.bn.weight": (8,),
        "a.wide.bn.bias": (8,),
        "b.wide.conv.weight": (8, 4, 3, 3),
        "b.wide.bn.bias": (8,),
        "end.weight": (2, 8),
    }
    made = {"b.one.bias": (8,), "b.one.weight": (8, 4, 3, 3), "a.one.weight": (8, 4, 3, 3), "a.one.bias": (8,)}
    assert counterparts(trained, {**made, "end.weight": (2, 8), "c.one.bias": (8,)}) == {
        "a.one.weight": "a.wide.conv.weight",
        "a.one.bias": "a.wide.bn.bias",
        "b.one.weight": "b.wide.conv.weight",
        "b.one.bias": "b.wide.bn.bias",
        "end.weight": "end.weight",
    }


def test_nothing_of_the_network_changes():
    model = deploying()
    model.train()
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    attributes = [copy.copy(vars(layer)) for layer in model.sublayers()]
    paddle.seed(5)
    expected = paddle.rand([3]).numpy()
    paddle.seed(5)
    channel_graph(model, SHAPE)
    assert np.array_equal(paddle.rand([3]).numpy(), expected)
    assert model.training and model.two.groups == 12
    assert all(np.array_equal(before[key], value.numpy()) for key, value in model.state_dict().items())
    assert [vars(layer).keys() for layer in model.sublayers()] == [one.keys() for one in attributes]
    assert paddle.is_grad_enabled()
