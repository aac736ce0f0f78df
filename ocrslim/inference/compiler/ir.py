"""A part of a network as a runtime executes it: few large steps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Id = Hashable
CONV, DECONV, AFFINE, CONSTANT = "conv2d", "conv2d_transpose", "affine", "constant"
ADD, MULTIPLY, CONCAT = "elementwise_add", "elementwise_mul", "concat"
NEAREST, SHUFFLE = "nearest_interp_v2", "pixel_shuffle"
# `axis` of a sum or product of maps of unequal size: to Paddle the same as -1, where both have four axes
STRETCHED = 0
# ours by the traced operator's name; the names are those of Paddle's program format
ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "swish": "swish",
    "silu": "swish",
    "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid",
    "gelu": "gelu",
    "tanh": "tanh",
    "mish": "mish",
}


@dataclass(frozen=True)
class Activation:
    """An elementwise function: `name` in Paddle's program format, and its parameters."""

    name: str
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a runtime.

    Attributes:
        kind: `CONV`, `DECONV`, `AFFINE`, `CONSTANT`, or an operator of Paddle's program format.
        inputs: ids of the values that go in; the second of a convolution is summed onto its output.
        output: id of the value that comes out, the first one where there are several.
        attributes: of the operator; `scale` and `shift` (of one entry, or one a channel) of an `AFFINE`; the array
            `value` of a `CONSTANT`.
        weight: float64, of convolutions: [out, in / groups, kh, kw], or [in, out / groups, kh, kw] if transposed.
        bias: float64 [out], or None.
        activation: applied last, or None.
        slots: of an operator that is passed through as it is: the argument that each input is, in the program format.
        results: the argument that each output is.
        others: ids of the outputs behind the first.
        name: state-dict key of its weight; where it is made of several, of one of them; empty where nothing says.
    """

    kind: str
    inputs: tuple[Id, ...]
    output: Id
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    activation: Activation | None = None
    slots: tuple[str, ...] = ()
    results: tuple[str, ...] = ("Out",)
    others: tuple[Id, ...] = ()
    name: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether it is passed through as it is: no algebra applies to it."""
        return bool(self.slots)

    @property
    def convolves(self) -> bool:
        """Tell whether it is a convolution, transposed or not."""
        return self.weight is not None


def out_channels(step: Step) -> int:
    """Return the output channels of a convolution."""
    assert step.weight is not None
    return step.weight.shape[0] if step.kind == CONV else step.weight.shape[1] * step.attributes["groups"]
