"""Attributes in which Paddle's own layers keep the sizes of their tensors, so that they follow a cut."""

from __future__ import annotations

from typing import Any

from paddle import nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase, _InstanceNormBase
from paddle.nn.layer.rnn import RNNBase

_CELLS: dict[type[nn.Layer], int] = {nn.SimpleRNNCell: 1, nn.GRUCell: 3, nn.LSTMCell: 4}  # gates
_RECURRENT: dict[type[nn.Layer], int] = {nn.SimpleRNN: 1, nn.GRU: 3, nn.LSTM: 4}
# The layer, its attribute, the tensor, the axis, and the entries for each.
_SIZES: tuple[tuple[type[nn.Layer], str, str, int, int], ...] = (
    (_BatchNormBase, "_num_features", "_mean", 0, 1),
    (_InstanceNormBase, "_num_features", "scale", 0, 1),
    (nn.GroupNorm, "_num_channels", "weight", 0, 1),
    (nn.PReLU, "_num_parameters", "_weight", 0, 1),
    *((cell, "input_size", "weight_ih", 1, 1) for cell in _CELLS),
    (RNNBase, "input_size", "weight_ih_l0", 1, 1),
    # rows of each gate, and not columns: of an LSTM with projection these are the projected units
    *((cell, "hidden_size", "weight_ih", 0, gates) for cell, gates in _CELLS.items()),
    *((layer, "hidden_size", "weight_ih_l0", 0, gates) for layer, gates in _RECURRENT.items()),
)
_NAMES = ("_groups", "_num_groups", "_in_channels", "_out_channels", *sorted({row[1] for row in _SIZES}))


def layer_sizes(model: nn.Layer) -> list[tuple[nn.Layer, str, Any]]:
    """Return such attributes of the layers of `model`: layer, name, value now."""
    layers = model.sublayers(include_self=True)
    return [(layer, name, vars(layer)[name]) for layer in layers for name in _NAMES if name in vars(layer)]


def match_layers(model: nn.Layer) -> None:
    """Set the sizes that the layers of `model` keep to those of their tensors."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, _ConvNd):
            _match_convolution(layer)
        for kind, attribute, name, axis, entries in _SIZES:
            tensor = getattr(layer, name, None) if isinstance(layer, kind) else None
            if tensor is not None:
                setattr(layer, attribute, tensor.shape[axis] // entries)


def _match_convolution(layer: _ConvNd) -> None:
    first, second = layer.weight.shape[:2]
    if isinstance(layer, (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)):
        layer._in_channels, layer._out_channels = first, second * layer._groups
    else:
        layer._out_channels, layer._in_channels = first, second * layer._groups
