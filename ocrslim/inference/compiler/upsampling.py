"""Upsampling by nearest neighbour as a transposed convolution, for runtimes that do not run it as what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.inference.compiler.ir import DECONV, Step
from ocrslim.inference.compiler.linear_maps import upsampling_factor, widths

_NAME = "upsampling.weight"  # not that of the convolution behind it, whose number would change


def without_upsampling(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with upsamplings by a whole factor as transposed convolutions of each channel, to the last bit.

    The windows of ones are as large as the stride, so that each output pixel is one input pixel times one. Maps whose
    channels no weight tells, such as what a network is fed, stay with their upsampling.

    Groups of several channels are about twice as fast by themselves, but oneDNN then orders their maps otherwise
    than those of the convolutions that they are added to, and adds the two one number after the other: PP-OCRv4's
    detector took three times as long.
    """
    known = widths(steps, {})
    return [_convolution(step, known[step.output]) if _can_be(step) and known[step.output] else step for step in steps]


def _can_be(step: Step) -> bool:
    return not step.passed and upsampling_factor(step) > 0


def _convolution(step: Step, channels: int) -> Step:
    factor = upsampling_factor(step)
    settings = {"strides": [factor] * 2, "paddings": [0, 0], "dilations": [1, 1], "groups": channels}
    return Step(
        DECONV,
        step.inputs,
        step.output,
        {**settings, "output_padding": [], "output_size": []},
        np.ones((channels, 1, factor, factor)),
        name=_NAME,
    )
