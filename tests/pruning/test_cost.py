"""Costs from channel counts equal, to the last unit, what hooks count in the network as it runs."""

from __future__ import annotations

import math

import paddle
import pytest
from paddle import nn
from slow import quick

from ocrslim.graph.groups import Layer
from ocrslim.models.factory import build_model
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.cost import measure_cost
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.surgery import pruned

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

    hooks = [layer.register_forward_post_hook(count) for layer in model.sublayers() if not layer.sublayers()]
    with paddle.no_grad():
        model(paddle.zeros(shape))
    for hook in hooks:
        hook.remove()
    return macs, sum(math.prod(p.shape) for layer in ran.values() for p in layer.parameters() if not p.stop_gradient)


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


NETWORKS = {
    "detector": (lambda: build_model(V2), [1, 3, 64, 96]),
    "layers of all kinds": (Sequence, [2, 3, 8, 8]),
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
    assert len(set(costs)) == 3, "removing channels must change the cost, or this test proves nothing"
    assert costs[0] == graph.macs


def cuts_of(group, step):
    """Remove every `step`-th unit but the first; none where `step` is 0."""
    removed = [] if not step else [unit for unit in range(1, group.size) if unit % step == 1 % step]
    for member in group.members:
        yield Cut(member.key, member.axis, member.size, member.keep(removed))


def test_the_detector_at_its_usual_size():
    graph = channel_graph(build_model(V2), [1, 3, 736, 1280], proof_shapes=[[1, 3, 64, 64]])
    cost = measure_cost(graph)
    assert (cost.macs, cost.params) == (4_397_055_360, 559_977)


def test_a_layer_over_each_of_some_channels_costs_less_without_some_of_them():
    layer = Layer("fc.weight", (64, 5), 2, per=(("conv.weight", 0, 0), ("conv.weight", 0, 1), ("conv.weight", 0, 2)))
    assert layer.macs == 2 * 3 * 64 * 5
