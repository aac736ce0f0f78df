"""Steps that nothing nonlinear separates, as sums of linear maps that can be put into one another.

A map is an upsampling by nearest neighbour followed by convolutions of stride 1, composed in double precision. All
compositions are exact but for rounding, also at the borders, where padding is with zeros: a bias, which does not
map zeros to zeros, is never moved under a kernel that reaches into the padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from ocrslim.inference.compiler.ir import (
    ACTIVATIONS,
    ADD,
    AFFINE,
    CONCAT,
    CONV,
    MULTIPLY,
    NEAREST,
    SHUFFLE,
    Id,
    Step,
    out_channels,
)

Shapes = Mapping[Id, Sequence[int]]


@dataclass(frozen=True, eq=False)
class Term:
    """A linear map of one value: upsample it, apply the weights (the last one first), put it into some channels.

    Attributes:
        source: the value.
        factor: of the upsampling, by nearest neighbour.
        weights: of stride-1 convolutions [out, in, k, k] that keep the size; k > 1 at most once.
        channels: (first, end, of how many) of the result that the map goes into; None: all of them.
    """

    source: Id
    factor: int = 1
    weights: tuple[np.ndarray, ...] = ()
    channels: tuple[int, int, int] | None = None

    @cached_property
    def kernel(self) -> int:
        """Size of the window, 1 where there are no weights."""
        return max((weight.shape[-1] for weight in self.weights), default=1)

    @cached_property
    def width(self) -> int:
        """Channels of `source`, where there are weights."""
        return self.weights[-1].shape[1]

    def after(self, inner: Term) -> Term | None:
        """This map of the result of `inner`, as one map; None where it is not one."""
        if inner.kernel > 1 and (self.kernel > 1 or self.factor > 1):
            return None
        weights, channels = self.weights, self.channels
        if inner.channels and not weights:
            if channels:
                return None
            channels = inner.channels
        elif inner.channels:
            first, end, total = inner.channels
            if weights[-1].shape[1] != total:
                return None
            weights = (*weights[:-1], weights[-1][:, first:end])
        return Term(inner.source, self.factor * inner.factor, weights + inner.weights, channels)

    def weight(self, kernel: int) -> np.ndarray:
        """Return all weights in one, [out, in, kernel, kernel]."""
        weight = reduce(_composed, self.weights)
        margin = (kernel - weight.shape[-1]) // 2
        return np.pad(weight, ((0, 0), (0, 0), (margin, margin), (margin, margin))) if margin else weight


def _composed(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    product = np.tensordot(outer, inner, axes=(1, 0)).transpose(0, 3, 1, 2, 4, 5)  # one of the kernels is 1x1
    return product.reshape(outer.shape[0], inner.shape[1], max(outer.shape[2], inner.shape[2]), -1)


def upsampling_kernel(weight: np.ndarray, factor: int) -> np.ndarray:
    """The weight [in, out, s + k - 1, s + k - 1] of the transposed convolution that upsamples `factor` = s times first.

    Output i = s j + r of a convolution reads position i + d - p with its tap d; so source j reaches it by the taps
    with 0 <= r + d - p < s, at entry r - d + 2 p of the kernel, the r of which is the entry + d - (k - 1).
    """
    out, width, kernel, _ = weight.shape
    size = factor + kernel - 1
    entry, tap = np.indices((size, kernel))
    reached = ((entry + tap >= kernel - 1) & (entry + tap < kernel - 1 + factor)).astype(np.float64)
    flat = weight.transpose(1, 0, 2, 3).reshape(-1, kernel**2) @ np.kron(reached, reached).T
    return flat.reshape(width, out, size, size)


@dataclass(frozen=True, eq=False)
class Sum:
    """A value as a sum of linear maps and a bias [channels]."""

    terms: tuple[Term, ...]
    bias: np.ndarray | None = None

    def under(self, outer: Term) -> Sum | None:
        """`outer` of this sum; None where that is no such sum."""
        bias = self.bias
        if bias is not None:
            if outer.kernel > 1 or outer.channels:
                return None
            bias = reduce(lambda vector, weight: weight[:, :, 0, 0] @ vector, reversed(outer.weights), bias)
        terms = tuple(outer.after(term) for term in self.terms)
        return None if None in terms else Sum(terms, bias)  # type: ignore[arg-type]


Size = tuple[Id, int]


def definition(
    step: Step, shapes: Shapes, widths: Mapping[Id, int], sizes: Mapping[Id, Size] | None = None
) -> Sum | None:
    """Return a linear step as a sum over its inputs, its activation left aside; None for any other.

    Args:
        sizes: as `known_sizes` gives them: summands have to be of one size by them; None: by their traced shapes.
    """
    if step.passed:
        return None
    if sizes is not None and step.kind in (CONV, ADD) and len({sizes.get(i, (i, 1)) for i in step.inputs}) > 1:
        return None
    if step.kind == CONV and _keeps_size(step):
        assert step.weight is not None
        return Sum((Term(step.inputs[0], 1, (step.weight,)), *map(Term, step.inputs[1:])), step.bias)
    if step.kind == ADD and _of_one_size(step.inputs, shapes, widths):
        return Sum(tuple(map(Term, step.inputs)))
    if step.kind == CONCAT and step.attributes["axis"] == 1 and all(widths.get(i) for i in step.inputs):
        ends = np.cumsum([widths[i] for i in step.inputs]).tolist()
        places = zip(step.inputs, [0, *ends], ends)
        return Sum(tuple(Term(i, 1, (), (first, end, ends[-1])) for i, first, end in places))
    factor = upsampling_factor(step)
    return Sum((Term(step.inputs[0], factor),)) if factor else None


def known_sizes(steps: Iterable[Step]) -> dict[Id, Size]:
    """Return the height and width of values as those of another value, and a factor, whatever the image's size is.

    Two values with the same entry are of one size. What is summed mostly is as well, but for images of few pixels,
    where a map of one row or column is stretched to what it is added to.
    """
    found: dict[Id, Size] = {}
    for step in steps:
        inputs = [found.setdefault(i, (i, 1)) for i in step.inputs]
        factor = 0 if step.passed else upsampling_factor(step)
        keeps = step.kind in (*ACTIVATIONS.values(), AFFINE) or (step.kind == CONV and _keeps_size(step))
        joins = step.kind == CONCAT and step.attributes["axis"] == 1
        if step.passed or not inputs:
            pass
        elif factor:
            found[step.output] = (inputs[0][0], inputs[0][1] * factor)
        elif joins or ((keeps or step.kind in (ADD, MULTIPLY)) and len({*inputs}) == 1):
            found[step.output] = inputs[0]
    return found


def _of_one_size(values: Sequence[Id], shapes: Shapes, widths: Mapping[Id, int]) -> bool:
    if len({*values}) == 1:
        return True
    return all(i in shapes for i in values) and len({(widths[i], *shapes[i][2:]) for i in values}) == 1


def _keeps_size(step: Step) -> bool:
    assert step.weight is not None
    settings, (height, width) = step.attributes, step.weight.shape[2:]
    same = [height // 2, width // 2]
    plain = settings["groups"] == 1 and [*settings["strides"], *settings["dilations"]] == [1, 1, 1, 1]
    return (
        plain
        and "padding_algorithm" not in settings
        and height == width
        and height % 2 == 1
        and list(settings["paddings"]) == same
    )


def upsampling_factor(step: Step) -> int:
    """Return the factor of an upsampling by nearest neighbour, the same whole one for both axes; 0 of other steps."""
    if step.kind != NEAREST or step.attributes["align_corners"]:
        return 0
    factors = {float(factor) for factor in step.attributes["scale"]}
    factor = factors.pop()
    return int(factor) if not factors and factor > 1 and factor == int(factor) else 0


def widths(steps: Iterable[Step], shapes: Shapes) -> dict[Id, int]:
    """Return the channels of the values, from the weights, and of what is fed from `shapes`; 0 where not known.

    Where a shape is that of an unpruned network, they are too many, never too few.
    """
    found = {value: max(0, shape[1]) for value, shape in shapes.items() if len(shape) == 4}
    for step in steps:
        if step.convolves:
            found[step.output] = out_channels(step)
        elif not step.passed and step.inputs:
            known = [found.setdefault(i, 0) for i in step.inputs]
            joins = step.kind == CONCAT and step.attributes["axis"] == 1
            found[step.output] = (sum if joins else max)(known) // _pixels(step) if all(known) else 0
    return found


def _pixels(step: Step) -> int:
    """Return the channels that become one, as pixels of it."""
    return int(step.attributes["upscale_factor"]) ** 2 if step.kind == SHUFFLE else 1


def areas(sums: Mapping[Id, Sum]) -> tuple[dict[Id, float], dict[Id, Id]]:
    """Return the pixels of each value relative to others, and a name for the part within which they can be compared."""
    links: dict[Id, list[tuple[Id, float]]] = {}
    for value, total in sums.items():
        for term in total.terms:
            links.setdefault(value, []).append((term.source, term.factor**-2))
            links.setdefault(term.source, []).append((value, term.factor**2))
    sizes: dict[Id, float] = {}
    parts: dict[Id, Id] = {}
    for start in links:
        waiting = [(start, 1.0)]
        while waiting:
            value, area = waiting.pop()
            if value not in sizes:
                sizes[value], parts[value] = area, start
                waiting += [(other, area * ratio) for other, ratio in links[value]]
    return sizes, parts
