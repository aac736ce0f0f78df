"""Convolutions and linear layers in one form: rows of inputs times a matrix, plus an offset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Union

import numpy as np
from paddle import nn

AffineLayer = Union[nn.Conv2D, nn.Conv2DTranspose, nn.Linear]
INPUT_AXIS: dict[type[nn.Layer], int] = {nn.Conv2D: 1, nn.Conv2DTranspose: 0, nn.Linear: 0}
OUTPUT_AXIS: dict[type[nn.Layer], int] = {nn.Conv2D: 0, nn.Conv2DTranspose: 1, nn.Linear: 1}


def axis_of(axes: Mapping[type[nn.Layer], int], layer: nn.Layer) -> int:
    """The axis of `layer`'s weight by `INPUT_AXIS` or `OUTPUT_AXIS`."""
    return next(axis for kind, axis in axes.items() if isinstance(layer, kind))


def obstacle(layer: nn.Layer) -> str:
    """The reason why a layer cannot be written as a matrix; "" if it can."""
    if isinstance(layer, nn.Linear):
        return ""
    if layer._data_format != "NCHW":
        return f"data format {layer._data_format}, not NCHW"
    if isinstance(layer, nn.Conv2DTranspose):
        simple = layer._padding in (0, [0, 0], "VALID") and layer.output_padding in (0, [0, 0])
        if not simple or list(layer._stride) != list(layer._kernel_size) or layer._groups != 1:
            return "transposed convolution whose kernels overlap or that has groups"
        return ""
    if layer._padding_mode != "zeros" or layer._padding_algorithm == "SAME":
        return "padding that is not a number of zeros"
    return ""


def matrix(layer: AffineLayer) -> np.ndarray:
    """The layer's weights, float64 [blocks, inputs, outputs]."""
    weight = layer.weight.numpy().astype(np.float64)
    if isinstance(layer, nn.Conv2D):
        outputs = len(weight) // layer._groups
        return weight.reshape(layer._groups, outputs, -1).transpose(0, 2, 1)
    return weight.reshape(1, len(weight), -1)


def set_matrix(layer: AffineLayer, value: np.ndarray) -> None:
    """Set the layer's weights from `value`, in the form that `matrix` returns."""
    if isinstance(layer, nn.Conv2D):
        value = value.transpose(0, 2, 1)
    layer.weight.set_value(value.reshape(layer.weight.shape).astype(layer.weight.numpy().dtype))


def offset_of(layer: AffineLayer) -> np.ndarray:
    """The layer's bias, float64 [channels]; zeros where it has none."""
    if layer.bias is not None:
        return layer.bias.numpy().astype(np.float64)
    return np.zeros(layer.weight.shape[axis_of(OUTPUT_AXIS, layer)])


def count_positions(layer: AffineLayer, x: Sequence[int], y: Sequence[int]) -> int:
    """Count the samples that one input gives: its positions.

    A convolution has one for each output position, a transposed one for each input position, a linear layer for each
    vector.

    Args:
        x: shape of the layer's input, without batch.
        y: shape of its output, without batch.
    """
    if isinstance(layer, nn.Linear):
        return math.prod(x[:-1])
    return math.prod((x if isinstance(layer, nn.Conv2DTranspose) else y)[1:])


def rows(layer: AffineLayer, x: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """The layer's inputs at the positions `picks`, [blocks, len(picks), inputs]; `x` is one input without batch."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])[:, picks]
    if isinstance(layer, nn.Conv2DTranspose):
        return x.reshape(1, len(x), -1)[:, :, picks].transpose(0, 2, 1)
    blocks = layer._groups
    found = _patches(layer, x, picks)
    found = found.reshape(blocks, len(found) // blocks, len(picks), -1).transpose(0, 2, 1, 3)
    return found.reshape(blocks, len(picks), -1)


def targets(layer: AffineLayer, y: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """The layer's outputs at the positions `picks`, [len(picks), outputs, entries of the kernel or 1]."""
    if isinstance(layer, nn.Linear):
        return y.reshape(-1, y.shape[-1], 1)[picks]
    if isinstance(layer, nn.Conv2D):
        return y.reshape(len(y), -1, 1)[:, picks].transpose(1, 0, 2)
    down, right = layer._kernel_size
    tiles = y.reshape(len(y), y.shape[1] // down, down, y.shape[2] // right, right)
    across = y.shape[2] // right
    found = tiles[:, picks // across, :, picks % across, :]  # the two index arrays come first
    return found.reshape(len(picks), len(y), down * right)


def _patches(layer: nn.Conv2D, x: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """The patches under the kernel: [channels, len(picks), entries of the kernel]."""
    pads = list(layer._updated_padding)
    around = [(p, p) for p in pads] if len(pads) == 2 else [(pads[0], pads[1]), (pads[2], pads[3])]
    if layer._padding_algorithm == "VALID":
        around = [(0, 0), (0, 0)]
    reach = [d * (k - 1) + 1 for d, k in zip(layer._dilation, layer._kernel_size)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0), *around]), (1, *reach))[:, :, :, 0]
    (down, right), (tall, wide) = layer._stride, layer._dilation
    windows = windows[:, ::down, ::right, ::tall, ::wide]
    found = windows[:, picks // windows.shape[2], picks % windows.shape[2]]
    return found.reshape(*found.shape[:2], -1)
