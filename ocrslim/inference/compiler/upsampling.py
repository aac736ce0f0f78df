"""Upsampling by nearest neighbour as a transposed convolution, for runtimes that do not run it as what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.inference.compiler.ir import DECONV, Step
from ocrslim.inference.compiler.linear_maps import upsampling_factor, widths

_NAME = "upsampling.weight"  # not that of the convolution behind it, whose number would change
_MOST = 64  # channels of a group: products grow with them


def without_upsampling(steps: Sequence[Step], block: int) -> list[Step]:
    """Return the steps with upsamplings by a whole factor as transposed convolutions, to the last bit.

    The windows are as large as the stride and have one entry that is not zero, so that each output pixel is one input
    pixel times one. Maps whose channels no weight tells, such as what a network is fed, stay with their upsampling.

    Args:
        block: of channels, as `group_width` takes it.
    """
    known = widths(steps, {})
    return [
        _convolution(step, known[step.output], block) if _can_be(step) and known[step.output] else step
        for step in steps
    ]


def group_width(channels: int, block: int) -> int:
    """Return the channels of a group in a convolution that upsamples: two blocks or a few more, or 1 where none fit.

    oneDNN runs groups of several blocks of the processor's (8 channels with AVX2) as fast as upsampling, and single
    channels in a third more time; groups of one block take seven times as long as those.

    Args:
        block: channels that the processor computes at a time; 1 for groups of single channels.
    """
    if block == 1:
        return 1
    fitting = range(2 * block, _MOST + 1, block)
    whole = channels if 2 * block <= channels <= _MOST else 1
    return next((width for width in fitting if channels % width == 0), whole)


def _can_be(step: Step) -> bool:
    return not step.passed and upsampling_factor(step) > 0


def _convolution(step: Step, channels: int, block: int) -> Step:
    factor, width = upsampling_factor(step), group_width(channels, block)
    settings = {"strides": [factor] * 2, "paddings": [0, 0], "dilations": [1, 1], "groups": channels // width}
    weight = np.zeros((channels, width, factor, factor))
    weight[np.arange(channels), np.arange(channels) % width] = 1
    return Step(
        DECONV,
        step.inputs,
        step.output,
        {**settings, "output_padding": [], "output_size": []},
        weight,
        name=_NAME,
    )
