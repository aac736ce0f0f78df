"""Everything constant folded into the steps that do the work.

A batch norm in eval mode, a bias and a scaling are one affine map of each channel; behind a convolution they
go into its weight and bias (Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2),
in double precision. An activation behind it, and a sum with something else, become part of the step too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocrslim.inference.compiler.ir import ACTIVATIONS, ADD, AFFINE, CONV, STRETCHED, Activation, Id, Step, out_channels
from ocrslim.inference.compiler.parallel import joined


def fold(steps: Iterable[Step], outputs: Iterable[Id]) -> list[Step]:
    """Merge affine maps, activations and sums into the convolutions that they alone follow."""
    steps, outputs = list(steps), set(outputs)
    uses = Counter(used for step in steps for used in step.inputs)
    uses.update(outputs)
    folded: dict[Id, Step] = {}  # by output, in order
    for step in steps:
        makers = [folded[i] for i in step.inputs if _may_grow(folded.get(i), uses)]
        maker, merged = next(((one, new) for one in makers if (new := _merged(one, step, uses))), (None, step))
        if maker is not None:
            del folded[maker.output]
            branch = folded.get(merged.inputs[-1]) if len(merged.inputs) == 2 else None
            one = joined(merged, branch) if branch is not None and uses[branch.output] == 1 else None
            if branch is not None and one is not None:
                del folded[branch.output]
                merged = one
        folded[step.output] = merged
    return _scaled_before(list(folded.values()), outputs)


def _scaled_before(steps: Sequence[Step], outputs: Collection[Id]) -> list[Step]:
    """Put an affine map into the convolutions of one pixel that alone read it: they have no border to look beyond."""
    readers: dict[Id, list[Step]] = {}
    for step in steps:
        for value in step.inputs:
            readers.setdefault(value, []).append(step)
    moved = {
        step.output: step
        for step in steps
        if step.kind == AFFINE and step.output not in outputs and _read_by_pixels(step, readers.get(step.output, ()))
    }
    return [
        _of_unscaled(step, moved[step.inputs[0]]) if step.convolves and step.inputs[0] in moved else step
        for step in steps
        if step.output not in moved
    ]


def _read_by_pixels(affine: Step, readers: Sequence[Step]) -> bool:
    return bool(readers) and all(
        step.kind == CONV
        and step.weight is not None
        and step.weight.shape[2:] == (1, 1)
        and not any(step.attributes["paddings"])
        and affine.output not in step.inputs[1:]
        for step in readers
    )


def _of_unscaled(step: Step, affine: Step) -> Step:
    """Return a convolution of one pixel behind an affine map as one of what that map is of."""
    assert step.weight is not None
    out, width = step.weight.shape[:2]
    groups = step.attributes["groups"]
    scale, shift = (
        np.broadcast_to(affine.attributes[name], (width * groups,)).reshape(groups, 1, width)
        for name in ("scale", "shift")
    )
    weight = step.weight.reshape(groups, out // groups, width)
    bias = (weight * shift).sum(2).reshape(out) + (0.0 if step.bias is None else step.bias)
    inputs = (affine.inputs[0], *step.inputs[1:])
    return replace(step, inputs=inputs, weight=(weight * scale).reshape(step.weight.shape), bias=bias)


def _may_grow(step: Step | None, uses: Mapping[Id, int]) -> bool:
    grows = step is not None and (step.kind == AFFINE or (step.convolves and step.activation is None))
    return step is not None and grows and uses[step.output] == 1


def _merged(maker: Step, step: Step, uses: Mapping[Id, int]) -> Step | None:
    """`step` as part of the convolution `maker` before it; None where it must stay on its own."""
    if maker.kind == AFFINE:
        return _scaled_twice(maker, step) if step.kind == AFFINE else None
    if step.kind == AFFINE and len(maker.inputs) == 1:
        return _scaled(maker, step)
    if step.kind in ACTIVATIONS.values() and maker.kind == CONV:  # a transposed one takes none in Paddle
        return replace(maker, output=step.output, activation=Activation(step.kind, step.attributes))
    if step.kind == ADD and not step.passed and maker.kind == CONV and len(maker.inputs) == 1:
        other = next((i for i in step.inputs if i != maker.output), maker.output)
        # the runtime may write the sum over the other summand, which must have its size
        if uses[other] == 1 and other != maker.output and step.attributes["axis"] != STRETCHED:
            return replace(maker, output=step.output, inputs=(maker.inputs[0], other))
    return None


def _scaled_twice(maker: Step, affine: Step) -> Step:
    scale, shift = affine.attributes["scale"], affine.attributes["shift"]
    both = {"scale": maker.attributes["scale"] * scale, "shift": maker.attributes["shift"] * scale + shift}
    return replace(maker, output=affine.output, attributes=both)


def _scaled(maker: Step, affine: Step) -> Step:
    assert maker.weight is not None
    scale, shift = affine.attributes["scale"], affine.attributes["shift"]
    bias = shift if maker.bias is None else maker.bias * scale + shift
    return replace(
        maker, output=affine.output, weight=_times(maker, scale), bias=np.broadcast_to(bias, (out_channels(maker),))
    )


def _times(step: Step, scale: np.ndarray) -> np.ndarray:
    """Return the weight of a convolution with each output channel multiplied."""
    weight = step.weight
    assert weight is not None
    scale = np.broadcast_to(scale, (out_channels(step),))
    if step.kind == CONV:
        return weight * scale[:, None, None, None]
    groups = step.attributes["groups"]
    blocks = weight.reshape(groups, -1, *weight.shape[1:]) * scale.reshape(groups, 1, -1, 1, 1)
    return blocks.reshape(weight.shape)
