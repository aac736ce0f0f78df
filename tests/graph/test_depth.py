"""Kinds of layers and their blocks, by the graph alone."""

from __future__ import annotations

import re

import known_networks
import numpy as np
import paddle
import pytest
from detection import DETECTION
from paddle import nn
from slow import quick

from ocrslim.graph import ChannelGraph, trace
from ocrslim.models import to_public
from ocrslim.pruning import model_graph
from ocrslim.selection.latency.model import Work


def blocks(graph: ChannelGraph) -> dict[str, int]:
    return {layer.key: layer.block for layer in graph.layers}


@pytest.mark.parametrize("name", quick(known_networks.ARCHITECTURES, ["ch_det_mv3_db_v2.0"]))
def test_blocks_of_mobilenet_v3_are_those_of_the_documented_names(name):
    architecture = known_networks.ARCHITECTURES[name]
    found = blocks(model_graph(known_networks.build(name), DETECTION))
    numbered = {key: re.match(r"conv(\d+)_", to_public(key, architecture)) for key in found}
    documented = {key: int(match[1]) for key, match in numbered.items() if match}
    assert len(documented) >= 45 and {key: found[key] for key in documented} == documented
    others = {key: block for key, block in found.items() if key not in documented and not key.startswith("backbone.")}
    assert min(others.values()) == 5, "the first lateral layer of the neck reads what block 4 makes"
    assert min(block for key, block in others.items() if key.startswith("head.")) > max(documented.values())


def test_blocks_of_resnet_are_its_basic_blocks():
    found = blocks(trace(known_networks.build("resnet18"), (1, 3, 64, 64)))
    assert found["conv1.weight"] == 1
    for number, prefix in enumerate(("layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0"), 2):
        assert {found[f"{prefix}.conv1.weight"], found[f"{prefix}.conv2.weight"]} == {number}


class Mixed(nn.Layer):
    """Convolutions of 2x2, as PPHGNetV2's stem has, beside transposed and depthwise ones."""

    def __init__(self):
        super().__init__()
        self.even = nn.Conv2D(3, 8, 2, stride=2)
        self.depthwise = nn.Conv2D(8, 8, 2, stride=2, groups=8)
        self.up = nn.Conv2DTranspose(8, 4, 2, stride=2)
        self.odd_up = nn.Conv2DTranspose(4, 4, 3, stride=2)
        self.squeeze = nn.Conv2D(4, 4, 1)
        self.last = nn.Conv2D(4, 1, 3)

    def forward(self, x):
        x = self.odd_up(self.up(self.depthwise(self.even(x))))
        return self.last(x * nn.functional.sigmoid(self.squeeze(x.mean(axis=[2, 3], keepdim=True))))


def test_kinds_come_from_the_operators_not_from_the_kernels():
    paddle.seed(0)
    graph = trace(Mixed(), (1, 3, 32, 32))
    kinds = {layer.key.removesuffix(".weight"): layer.kind for layer in graph.layers}
    assert kinds == {
        "even": "convolution",
        "depthwise": "depthwise",
        "up": "transposed",
        "odd_up": "transposed",
        "squeeze": "convolution",
        "last": "convolution",
    }
    macs = {layer.key.removesuffix(".weight"): layer.macs for layer in graph.layers}
    _, dense, pointwise, transposed, depthwise, _ = Work(graph)(np.zeros((1, len(graph.groups)), dtype=int))[0]
    assert dense == macs["even"] + macs["last"] and pointwise == macs["squeeze"]
    assert transposed == macs["up"] + macs["odd_up"] and depthwise == macs["depthwise"]
    assert blocks(graph)["squeeze.weight"] == blocks(graph)["odd_up.weight"], "a layer over one position counts none"
