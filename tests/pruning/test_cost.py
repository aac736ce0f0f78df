"""Costs from channel counts equal, to the last unit, what hooks count in the network as it runs."""

from __future__ import annotations

import math
from unittest import mock

import networks
import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn.layer.rnn import RNNBase
from slow import quick

from ocrslim.graph.groups import Layer
from ocrslim.models.factory import build_model
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.cost import MACS, PARAMS, measure_cost, product_cost
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.surgery.cutting import pruned

COUNTED = (nn.Conv2D, nn.Conv2DTranspose, nn.Linear)
V2 = {
    "model_type": "det",
    "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "large", "disable_se": True},
    "Neck": {"name": "DBFPN", "out_channels": 96},
    "Head": {"name": "DBHead", "k": 50},
}


def counted_by_hooks(model, shape):
    """MACs and parameters of the layers that run, from the shapes that pass by."""
    macs, ran = 0, {}

    def count(layer, inputs, output):
        nonlocal macs
        ran[id(layer)] = layer
        if isinstance(layer, nn.Conv2DTranspose):
            macs += math.prod(inputs[0].shape) * math.prod(layer.weight.shape[1:])
        elif isinstance(layer, nn.Conv2D):
            macs += math.prod(output.shape) * math.prod(layer.weight.shape[1:])
        elif isinstance(layer, nn.Linear):
            macs += math.prod(output.shape) * layer.weight.shape[0]
        elif isinstance(layer, RNNBase):
            matrices = [math.prod(weight.shape) for weight in layer.parameters(False) if weight.ndim == 2]
            macs += math.prod(inputs[0].shape[:2]) * sum(matrices)

    def multiplied(x, y, transpose_x=False, transpose_y=False):
        nonlocal macs
        out = product(x, y, transpose_x, transpose_y)
        macs += math.prod(out.shape) * x.shape[-2 if transpose_x else -1]
        return out

    product = paddle.matmul
    layers = [layer for layer in model.sublayers() if not layer.sublayers() or isinstance(layer, RNNBase)]
    hooks = [layer.register_forward_post_hook(count) for layer in layers]
    with paddle.no_grad(), mock.patch("paddle.matmul", multiplied):
        model(paddle.zeros(shape))
    for hook in hooks:
        hook.remove()
    parameters = [p for layer in ran.values() for p in layer.parameters(include_sublayers=False)]
    return macs, sum(math.prod(p.shape) for p in parameters if not p.stop_gradient)


class Sequence(nn.Layer):
    """A linear layer over the places of each channel, one that runs twice, grouped and transposed layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2D(3, 12, 3, padding=1)
        self.over_places = nn.Linear(64, 5)
        self.shared = nn.Conv2D(12, 12, 3, padding=1)
        self.depthwise = nn.Conv2D(12, 24, 3, padding=1, groups=12)
        self.up = nn.Conv2DTranspose(24, 8, 2, stride=2)
        self.last = nn.Conv2D(8, 2, 1)

    def forward(self, x):
        x = self.shared(self.shared(self.first(x)))
        return self.over_places(x.flatten(2)), self.last(self.up(self.depthwise(x)))


class Products(nn.Layer):
    """Products of the maps of each channel with one another, and of its rows with those of all places."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.last = nn.Conv2D(3, 12, 1), nn.Conv2D(3, 12, 1), nn.Conv2D(12, 2, 1)

    def forward(self, x):
        maps = paddle.matmul(self.left(x), self.right(x), transpose_x=True)
        gram = paddle.matmul(x, x, transpose_y=True)  # no channels that could go
        return self.last(paddle.matmul(maps, maps)), gram


NETWORKS = {
    "detector": (lambda: build_model(V2), [1, 3, 64, 96]),
    "layers of all kinds": (Sequence, [2, 3, 8, 8]),
    "recurrent": (lambda: networks.Recurrent(nn.LSTM), [1, 3, 8, 8]),
    "recurrent in one direction": (lambda: networks.Recurrent(nn.GRU, 1, "forward"), [2, 3, 8, 8]),
    "attention": (networks.Attention, [2, 3, 8, 8]),
    "attention of several heads": (networks.Transformer, [2, 3, 8, 8]),
    "products": (Products, [2, 3, 8, 8]),
    "mobilenet_v3_small": (lambda: paddle.vision.models.mobilenet_v3_small(), [1, 3, 64, 64]),
    "alexnet": (lambda: paddle.vision.models.alexnet(), [1, 3, 224, 224]),
}


@pytest.mark.parametrize("name", quick(NETWORKS, [name for name in NETWORKS if name != "alexnet"]))
def test_costs_equal_those_counted_while_running(name):
    build, shape = NETWORKS[name]
    paddle.seed(0)
    model = build()
    model.eval()
    graph = channel_graph(model, shape)
    full, pruned_half, pruned_most = (
        tuple(combine(cut for group in graph.groups.values() for cut in cuts_of(group, step))) for step in (0, 2, 3)
    )
    assert not full
    costs = []
    for cuts in (full, pruned_half, pruned_most):
        cost = measure_cost(graph, cuts)
        with pruned(model, Plan({}, cuts)):
            assert (cost.macs, cost.params) == counted_by_hooks(model, shape)
        costs.append(cost.macs)
        removed = np.array([[group.size - len(kept_units(group, cuts)) for group in graph.groups.values()]])
        assert [product_cost(graph, kind)(removed).item() for kind in (MACS, PARAMS)] == [cost.macs, cost.params]
    assert len(set(costs)) == 3, "removing channels must change the cost, or this test proves nothing"
    assert costs[0] == graph.macs


def cuts_of(group, step):
    """Remove every `step`-th unit but the first; none where `step` is 0."""
    removed = [] if not step else [unit for unit in range(1, group.size) if unit % step == 1 % step]
    for member in group.members:
        yield Cut(member.key, member.axis, member.size, member.keep(removed))


def kept_units(group, cuts):
    """Units of a group that `cuts` keep."""
    keep = {cut.axis: set(cut.keep) for cut in cuts if cut.key == group.name}.get(group.axis)
    return [unit for unit, positions in enumerate(group.master.units) if keep is None or keep.issuperset(positions)]


def test_the_detector_at_its_usual_size():
    graph = channel_graph(build_model(V2), [1, 3, 736, 1280], proof_shapes=[[1, 3, 64, 64]])
    cost = measure_cost(graph)
    assert (cost.macs, cost.params) == (4_397_055_360, 559_977)


def test_a_layer_over_each_of_some_channels_costs_less_without_some_of_them():
    layer = Layer("fc.weight", (64, 5), 2, per=(("conv.weight", 0, 0), ("conv.weight", 0, 1), ("conv.weight", 0, 2)))
    assert layer.macs == 2 * 3 * 64 * 5


def test_products_of_activations_are_as_prunable_as_the_channels_that_they_multiply():
    graph = channel_graph(networks.Attention(), [1, 3, 8, 8])
    assert graph.prunable_macs_share == 1 - 16 * 5 * 2 / graph.macs, "all but the layer that makes the output"
    query, value = 16 * 6 * 8, 16 * 6 * 5  # 16 places
    assert graph.macs_of(graph.groups["query.weight"]) == 2 * query + 16 * 16 * 8
    assert graph.macs_of(graph.groups["value.weight"]) == value + 16 * 16 * 5


def test_a_loop_that_depends_on_the_data_is_said_not_to_be_counted():
    assert channel_graph(networks.Conditional(), [1, 3, 8, 8]).uncounted == ("if", "while")
    assert channel_graph(networks.Attention(), [1, 3, 8, 8]).uncounted == ()
