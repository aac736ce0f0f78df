"""Upsampling by nearest neighbour as a transposed convolution, for runtimes that do not run it as what it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ocrslim.inference.compiler.ir import DECONV, Step
from ocrslim.inference.compiler.linear_maps import upsampling_factor, widths

_TOGETHER = 8  # channels of a group: oneDNN has no fast kernel for one alone, which would take three times as long
_NAME = "upsampling.weight"  # not that of the convolution behind it, whose number would change


def without_upsampling(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with upsamplings by a whole factor as transposed convolutions, to the last bit.

    The windows are as large as the stride, with ones from each channel to itself and zeros to the others of its group,
    so that each output pixel is one input pixel times one. Maps whose channels no weight tells, such as what a network
    is fed, stay with their upsampling.
    """
    known = widths(steps, {})
    return [_convolution(step, known[step.output]) if _can_be(step) and known[step.output] else step for step in steps]


def _can_be(step: Step) -> bool:
    return not step.passed and upsampling_factor(step) > 0


def _convolution(step: Step, channels: int) -> Step:
    factor, together = upsampling_factor(step), math.gcd(channels, _TOGETHER)
    weight = np.tile(np.eye(together), (channels // together, 1))[:, :, None, None] * np.ones((factor, factor))
    settings = {"strides": [factor] * 2, "paddings": [0, 0], "dilations": [1, 1], "groups": channels // together}
    return Step(
        DECONV,
        step.inputs,
        step.output,
        {**settings, "output_padding": [], "output_size": []},
        weight,
        name=_NAME,
    )
