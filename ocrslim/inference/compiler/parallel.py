"""Parallel convolutions of one value as one: the branches that re-parameterised networks train with.

A sum of convolutions of the same value, aligned at their centres, is the convolution with the sum of their weights; a
batch norm of the value itself is one of them, of a single pixel (Ding et al. 2021, "RepVGG"; Vasu et al. 2022,
"MobileOne"). So a network in its training form costs what its deployed form does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ocrslim.inference.compiler.ir import AFFINE, CONV, Step, out_channels


def joined(step: Step, other: Step | None) -> Step | None:
    """Return the sum of a convolution and its residual `other` as one convolution; None where it is none.

    Args:
        step: a convolution whose second input, summed onto its output, is the value of `other`.
    """
    if other is not None and other.kind == AFFINE and other.inputs[0] == step.inputs[0]:
        other = _as_convolution(other, step)
    if other is None or not _same_way(step, other):
        return None
    assert step.weight is not None and other.weight is not None
    wide, narrow = (step, other) if step.weight.shape[2] >= other.weight.shape[2] else (other, step)
    weight = _padded(narrow, wide)
    if weight is None or wide.weight is None:
        return None
    biases = [one.bias for one in (step, other) if one.bias is not None]
    bias = sum(biases[1:], biases[0]) if biases else None
    inputs = (step.inputs[0], *other.inputs[1:])
    return replace(step, inputs=inputs, attributes=wide.attributes, weight=wide.weight + weight, bias=bias)


def _same_way(step: Step, other: Step) -> bool:
    """Tell whether both convolutions read the same value by the same steps in the same groups."""
    if step.kind != CONV or other.kind != CONV or step.inputs[0] != other.inputs[0] or other.activation is not None:
        return False
    names = ("strides", "groups", "dilations", "padding_algorithm")
    return all(step.attributes.get(name) == other.attributes.get(name) for name in names)


def _padded(narrow: Step, wide: Step) -> np.ndarray | None:
    """Return the weight of `narrow` in the window of `wide`; None where its pixels are not among those."""
    assert narrow.weight is not None and wide.weight is not None
    if narrow.weight.shape == wide.weight.shape:
        return narrow.weight if narrow.attributes["paddings"] == wide.attributes["paddings"] else None
    margins: list[Sequence[int]] = [(0, 0), (0, 0)]
    pads = narrow.attributes["paddings"], wide.attributes["paddings"]
    if narrow.weight.shape[:2] != wide.weight.shape[:2] or wide.attributes["dilations"] != [1, 1] or len(pads[0]) != 2:
        return None
    for small, large, inner, outer in zip(narrow.weight.shape[2:], wide.weight.shape[2:], *pads):
        margin = outer - inner
        if margin < 0 or large - small != 2 * margin:
            return None
        margins.append((margin, margin))
    return np.pad(narrow.weight, margins) if len(pads[1]) == 2 else None


def _as_convolution(affine: Step, step: Step) -> Step | None:
    """Return a factor and shift of each channel as a convolution of one pixel, in the groups of `step`."""
    assert step.weight is not None
    groups, channels = step.attributes["groups"], out_channels(step)
    plain = step.attributes["strides"] == [1, 1] and "padding_algorithm" not in step.attributes
    if not plain or channels != step.weight.shape[1] * groups:
        return None
    each = channels // groups
    weight = np.zeros((channels, each, 1, 1))
    places = np.arange(channels)
    weight[places, places % each, 0, 0] = affine.attributes["scale"]
    bias = np.broadcast_to(affine.attributes["shift"], (channels,)).astype(np.float64)
    settings = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": groups}
    return Step(CONV, affine.inputs, affine.output, settings, weight, bias)
