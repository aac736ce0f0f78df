"""Numbers in which a layer repeats the sizes of the layers inside it follow a cut, and come back."""

from __future__ import annotations

import numpy as np
import pytest
from branches import deploying
from oracle import sample
from paddle import nn

from ocrslim.graph import deployed
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.surgery.cutting import cut, pruned
from ocrslim.pruning.surgery.repeated_sizes import repeated_sizes

SHAPE = (1, 3, 8, 8)


def every_third(graph):
    return combine(
        Cut(member.key, member.axis, member.size, member.keep(range(0, group.size, 3)))
        for group in graph.groups.values()
        for member in group.members
    )


def sizes(layer):
    return layer.in_channels, layer.out_channels, layer.groups


def test_a_layer_is_re_parameterised_after_a_cut():
    model = deploying()
    graph = channel_graph(model, SHAPE)
    (x,) = sample(SHAPE)
    with pruned(model, Plan({}, every_third(graph))):
        assert (sizes(model.one), sizes(model.two)) == ((5, 8, 1), (8, 8, 8))
        assert model.one.kernel_size == 3
        assert np.allclose(deployed(model)(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)
    assert (sizes(model.one), sizes(model.two)) == ((8, 12, 1), (12, 12, 12))


def test_a_backup_restores_them():
    model = deploying()
    backup = cut(model, every_third(channel_graph(model, SHAPE)))
    assert sizes(model.two) == (8, 8, 8)
    backup.restore()
    assert sizes(model.two) == (12, 12, 12)


class Holder(nn.Layer):
    """Reads 6 channels and makes 6, through a layer of 9."""

    def __init__(self, **attributes):
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2D(6, 9, 3), nn.BatchNorm2D(9), nn.Conv2D(9, 6, 3, groups=3)
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("name", "value", "source", "side"),
    [
        ("in_channels", 6, "first", "in"),
        ("_out_channels", 6, "last", "out"),
        ("out_channels", 9, "first", "out"),
        ("channels", 9, "first", "out"),
        ("hidden_dim", 9, "first", "out"),
        ("num_features", 9, "first", "out"),
        ("groups", 3, "last", "groups"),
        ("inp", 6, "first", "in"),
    ],
)
def test_a_size_is_known_by_name_and_value(name, value, source, side):
    holder = Holder(**{name: value})
    (one,) = repeated_sizes(nn.Sequential(holder))
    assert (one.name, one.value, one.side) == (name, value, side) and one.source is getattr(holder, source)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("in_channels", 7),
        ("num_heads", 6),
        ("kernel_size", 3),
        ("in_size", 6),
        ("in_channels", True),
        ("in_channels", 6.0),
    ],
)
def test_other_numbers_stay_as_they_are(name, value):
    assert not repeated_sizes(nn.Sequential(Holder(**{name: value})))


def test_the_layers_of_paddle_are_left_to_themselves():
    assert not repeated_sizes(nn.Sequential(nn.Conv2D(3, 4, 1), nn.LSTM(4, 4)))
