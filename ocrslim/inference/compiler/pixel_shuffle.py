"""Transposed convolutions whose windows do not overlap, computed before their pixels are put in place.

With a kernel as large as the stride s, each output pixel depends on one input pixel: a 1x1 convolution to s^2 times
the channels, one set for each position (phase) in the window, and a shuffle of channels to pixels (Shi et al. 2016,
"Real-Time Single Image and Video Super-Resolution"). What works on single pixels can run before the shuffle, so two
such convolutions with activations need one shuffle, and the second, which mostly has a single output channel, fills
the blocks of channels that the runtime computes together. Phases that the second does not mix are zeros in its weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocrslim.inference.compiler.cost_model import blocks
from ocrslim.inference.compiler.ir import ACTIVATIONS, CONV, DECONV, SHUFFLE, Id, Step, out_channels


def in_phases(steps: Sequence[Step], outputs: Iterable[Id]) -> list[Step]:
    """`steps` with pairs of transposed convolutions in phases, where that takes no more products; not folded."""
    users: dict[Id, list[Step | None]] = {value: [None] for value in outputs}
    for step in steps:
        for value in step.inputs:
            users.setdefault(value, []).append(step)
    replaced: dict[Id, list[Step]] = {}
    for step in steps:
        if step.output not in replaced and _tiles(step):
            chain = _chain(step, users)
            if sum(map(_tiles, chain)) == 2 and _pays(*filter(_tiles, chain)):
                replaced.update((part.output, []) for part in chain)
                replaced[chain[-1].output] = _phased(chain)
    return [new for step in steps for new in replaced.get(step.output, [step])]


def _tiles(step: Step) -> bool:
    if step.kind != DECONV or step.weight is None:
        return False
    settings, kernel, strides = step.attributes, [*step.weight.shape[2:]], [*step.attributes["strides"]]
    plain = settings["groups"] == 1 and [*settings["dilations"], *settings["paddings"]] == [1, 1, 0, 0]
    return plain and kernel[0] == kernel[1] and kernel == strides and not any(settings.get("output_padding") or ())


def _chain(first: Step, users: Mapping[Id, Sequence[Step | None]]) -> list[Step]:
    """`first` and what alone follows it, up to the activation of a second one of its sort."""
    chain = [first]
    while len(users.get(chain[-1].output, ())) == 1:
        following = users[chain[-1].output][0]
        again = following is not None and _tiles(following) and sum(map(_tiles, chain)) == 1
        if following is None or not (again or following.kind in ACTIVATIONS.values()):
            break
        chain.append(following)
    return chain


def _pays(first: Step, second: Step) -> bool:
    """Tell whether the second convolution has no more products with its zeros than with its few channels."""
    assert first.weight is not None and second.weight is not None
    phases, window = first.weight[0, 0].size, second.weight[0, 0].size
    width, out = out_channels(first), out_channels(second)
    return blocks(phases * width) * blocks(phases * window * out) <= phases * window * blocks(width) * blocks(out)


def _phased(chain: Sequence[Step]) -> list[Step]:
    """Return the same on phases, and the shuffle."""
    first, second = filter(_tiles, chain)
    assert first.weight is not None and second.weight is not None
    factors = first.weight.shape[2], second.weight.shape[2]
    settings = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1}
    weights = {first.output: _before(first.weight), second.output: _behind(second.weight, factors[0])}
    repeats = {first.output: lambda bias: np.tile(bias, factors[0] ** 2)}
    repeats[second.output] = lambda bias: np.repeat(bias, (factors[0] * factors[1]) ** 2)
    result, value = [], first.inputs[0]
    for step in chain:
        phased = replace(step, inputs=(value,), output=f"{step.output}.phases")
        if step.output in weights:
            bias = None if step.bias is None else repeats[step.output](step.bias)
            phased = replace(phased, kind=CONV, attributes=settings, weight=weights[step.output], bias=bias)
        result.append(phased)
        value = phased.output
    shuffle = {"upscale_factor": factors[0] * factors[1], "data_format": "NCHW"}
    return [*result, Step(SHUFFLE, (value,), chain[-1].output, shuffle)]


def _before(weight: np.ndarray) -> np.ndarray:
    """From [in, out, s, s] to the 1x1 convolution with output channels in the order row, column, out."""
    return weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])[:, :, None, None]


def _behind(weight: np.ndarray, factor: int) -> np.ndarray:
    """From [in, out, s, s] to the 1x1 convolution on `factor` x `factor` phases, outputs in the shuffle's order.

    That is: channel, row of the phase, row in the window, column of the phase, column in the window.
    """
    inputs, out, size, _ = weight.shape
    phase = np.eye(factor)
    whole = np.einsum("iorc,ya,xb->oyrxcabi", weight, phase, phase)
    return whole.reshape(out * (factor * size) ** 2, factor**2 * inputs)[:, :, None, None]
