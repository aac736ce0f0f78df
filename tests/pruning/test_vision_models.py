"""Networks that others wrote: removing channels equals silencing them, and most of each network is prunable.

Every n-th group of each network stands the oracle here, six at most (three of the heaviest), to keep this quick, and
classifiers of a hundred million weights have few channels. A wider network of the same blocks as another is left out.
`benchmarks/channel_graph.py --all-groups` takes all groups of all networks as they are.

In double precision: through fifty layers the rounding of float32 alone comes to 1.7e-5 of the largest output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import known_networks
import paddle
import pytest
from oracle import judge, sample
from paddle import nn
from slow import quick

from ocrslim.graph.builder import ONE_UNIT
from ocrslim.graph.groups import ChannelGraph
from ocrslim.graph.rules.registry import MODEL_OUTPUT
from ocrslim.pruning.channel_graph import channel_graph

AT_MOST = 6
QUICK = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_25")  # residual, squeeze-and-excitation, split and concat
HEAVY = ("vgg16", "inception_v3")
OF_THE_SAME_BLOCKS = {"wide_resnet50_2": "resnet50", "mobilenet_v3_large": "mobilenet_v3_small"}
NETWORKS = [name for name in known_networks.VISION if name not in OF_THE_SAME_BLOCKS]


@dataclass
class Traced:
    """A network with random weights, and its graph at the size that it is used at."""

    name: str
    model: nn.Layer
    graph: ChannelGraph

    @property
    def inputs(self) -> list[paddle.Tensor]:
        return [image.astype("float64") for image in sample(known_networks.small_shape(self.name))]

    def unprunable(self) -> dict[str, str]:
        """Reasons for the layers that cost anything."""
        costly = {layer.key for layer in self.graph.layers}
        return {key: reason for key, reason in self.graph.unprunable.items() if key in costly}


@pytest.fixture(scope="module", params=quick(NETWORKS, QUICK))
def traced(request):
    model = known_networks.settled(request.param, narrow=True)
    small = known_networks.small_shape(request.param)
    graph = channel_graph(model, known_networks.usual_shape(request.param), proof_shapes=[small])
    model.to(dtype="float64")
    return Traced(request.param, model, graph)


def test_each_group_alone_equals_the_silenced_network(traced):
    names = list(traced.graph.groups)
    names = names[:: math.ceil(len(names) / (3 if traced.name in HEAVY else AT_MOST))]
    some = replace(traced.graph, groups={name: traced.graph.groups[name] for name in names})
    verdict = judge(traced.model, some, traced.inputs, together=())
    assert verdict.checks == 2 * len(names) and not verdict.faults
    assert verdict.changed == verdict.checks, "silencing must matter, or this proves nothing"


def test_all_groups_together_equal_the_silenced_network(traced):
    verdict = judge(traced.model, traced.graph, traced.inputs, ratios=())
    assert verdict.checks == verdict.changed == 2 and not verdict.faults


def test_what_makes_the_output_stays_and_little_else(traced):
    reasons = traced.unprunable()
    if traced.name == "shufflenet_v2_x1_0":
        # A block passes half of its channels by, then shuffles both halves. Halves stay equal: p and p + C/2 go
        # together, end up at 2p and 2p + 1, and are split again. Each block doubles what is tied: stage 4 keeps
        # units of 16 channels, 8 of each half; stages 2 and 3 have fewer factors of two than blocks, and tie all.
        coupled = [key for key, reason in reasons.items() if reason == ONE_UNIT]
        ends = [key for key in coupled if "_conv_linear" in key and key[0] in "23"]
        assert len(ends) == 14 and set(coupled) == {*ends, "3_1._conv_dw_1.0.weight", "4_1._conv_dw_1.0.weight"}
        assert {len(unit) for unit in traced.graph.groups["4_1._conv_linear_1.0.weight"].master.units} == {8}
        assert traced.graph.prunable_macs_share == pytest.approx(0.7467, abs=1e-3)
        reasons = {key: reason for key, reason in reasons.items() if key not in coupled}
    elif traced.name == "squeezenet1_1":  # its last convolution makes the classes, and is a quarter of it
        assert list(reasons) == ["_conv9.weight"]
        assert traced.graph.prunable_macs_share == pytest.approx(0.7524, abs=1e-3)
    elif traced.name == "inception_v3":  # its code says reshape(x, [-1, 2048]), which only running it shows
        literal = [key for key, reason in reasons.items() if "fixes the number of channels (reshape" in reason]
        assert len(literal) == 6 and all(key.startswith("inception_block_list.10.") for key in literal)
        assert traced.graph.prunable_macs_share > 0.96
        reasons = {key: reason for key, reason in reasons.items() if key not in literal}
    else:
        assert traced.graph.prunable_macs_share > 0.98
    assert set(reasons.values()) == {MODEL_OUTPUT}
    assert len(reasons) == (3 if traced.name == "googlenet" else 1)  # with its two auxiliary classifiers
