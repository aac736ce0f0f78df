"""The same network with fewer multiply-accumulates: algebra on steps that nothing nonlinear separates.

Between two nonlinear steps a network is a sum of linear maps. Each value on the way is either computed, or left
out and its definition put in the place of its uses:

- a convolution of a sum, or of a concatenation, is a sum of convolutions;
- a convolution of a 1x1 convolution is one convolution, and so is a 1x1 convolution of a convolution;
- a k x k convolution of a map upsampled s times (nearest neighbour) is a transposed convolution of the small map,
  with kernel s + k - 1, stride s and padding (k - 1) / 2: (1 + (k - 1) / s)^2 products an output instead of k^2.

All are exact but for rounding, also at the borders, where padding is with zeros: a bias, which does not map zeros
to zeros, is never moved under a kernel that reaches into the padding. Which values to leave out is searched for
with a model of what each step costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import inf
from operator import or_
from typing import Any

import numpy as np

from ocrslim.graph.program import Op
from ocrslim.runtime.linear import NEAREST, Shapes, Sum, Term, areas, definition, upsampling_kernel, widths
from ocrslim.runtime.steps import ADD, CONCAT, CONV, DECONV, Id, Step, fold

_BLOCK = 8  # channels that oneDNN computes together
_MOVE = 12.0  # multiply-accumulates in the time that one float takes to be read or written (AVX2, one thread)
_DECONV = 1.1  # time of a product in a transposed convolution over that in a convolution
_GAIN = 0.03  # a rewriting has to save at least this share, or the model is not to be trusted
_MAX_WINDOWS = 6  # convolutions in one sum; there are 2^5 ways to group so many


def shapes_of(ops: Iterable[Op]) -> dict[Id, tuple[int, ...]]:
    """The traced shapes of all values that `ops` use or make, -1 where not known."""
    values = [value for op in ops for value in (*op.values(), *op.outputs)]
    return {value.id: value.shape for value in values if value.shape is not None}


def rewrite(steps: Sequence[Step], outputs: Iterable[Id], shapes: Shapes) -> list[Step]:
    """Equivalent steps that cost less: the same outputs but for rounding, of the same inputs.

    Args:
        steps: folded steps, in order.
        outputs: values that must come out as they are.
        shapes: [N, C, H, W] of the values as traced, to tell sums from broadcasts; channel counts are taken from
            the weights, so pruned weights need no new shapes. A sum of values without a shape stays as it is.
    """
    outputs = list(outputs)
    region = _Region(steps, outputs, shapes)
    left_out = region.search()
    if not left_out:
        return list(steps)
    return fold([new for step in steps for new in region.emitted(step, left_out)], outputs)


@dataclass(frozen=True)
class _Plan:
    """How a sum is computed.

    Attributes:
        cost: in multiply-accumulates for one pixel of area 1.
        groups: maps that one convolution of their concatenation computes, transposed where all are upsampled.
        small: 1x1 convolutions that run before the upsampling.
        plain: maps without weights.
    """

    cost: float
    groups: tuple[tuple[Term, ...], ...] = ()
    small: tuple[Term, ...] = ()
    plain: tuple[Term, ...] = ()


def _plan(total: Sum, channels: int, area: float, activated: bool, shared: Container[Id]) -> _Plan:
    """The cheapest way to a sum of `channels` channels on `area` pixels; nothing may write over `shared` values."""
    plain = tuple(term for term in total.terms if not term.weights)
    small = tuple(term for term in total.terms if term.weights and term.kernel == 1 and term.factor > 1)
    windows = [term for term in total.terms if term.weights and (term.kernel > 1 or term.factor == 1)]
    if len(windows) > _MAX_WINDOWS or any(term.channels for term in total.terms):
        return _Plan(inf)
    fixed = sum(_upsampling(channels, term.factor, area) for term in (*plain, *small))
    fixed += sum(_convolution((term,), channels, area / term.factor**2) for term in small)
    others = len(plain) + len(small)
    kept = others == 1 and any(term.factor == 1 and term.source in shared for term in plain)
    best = _Plan(inf)
    for grouped, groups in _groupings(sorted(windows, key=lambda term: (term.kernel, term.factor)), channels, area):
        last = sum(group[0].factor == 1 for group in groups)
        sums = others + len(groups) - 1
        residual = min(sums, last) - (kept and 0 < last == len(groups))
        moves = 3 * sums - residual + 2 * (activated and not last)  # a residual is read, but not written
        cost = fixed + grouped + _MOVE * area * channels * moves
        if cost < best.cost:
            best = _Plan(cost, groups, small, plain)
    return best


def _groupings(
    terms: Sequence[Term], channels: int, area: float
) -> Iterator[tuple[float, tuple[tuple[Term, ...], ...]]]:
    """All ways to cut `terms`, sorted by kernel, into runs of equal kernel; the cost of each."""
    if not terms:
        yield 0.0, ()
    for size in range(1, len(terms) + 1):
        if terms[size - 1].kernel == terms[0].kernel:
            group = tuple(terms[:size])
            cost = _grouped(group, channels, area)
            yield from ((cost + other, (group, *rest)) for other, rest in _groupings(terms[size:], channels, area))


def _grouped(group: Sequence[Term], channels: int, area: float) -> float:
    """The cost of one convolution of the maps of `group`, upsampled to the size of the largest and joined."""
    factor = group[0].factor
    if any(term.factor % factor for term in group):
        return inf
    small = area / factor**2
    cost = sum(_upsampling(term.width, term.factor // factor, small) for term in group)
    if len(group) > 1:
        cost += _MOVE * 2 * small * sum(term.width for term in group)
    if factor == 1:
        return cost + _convolution(group, channels, area)
    window = (factor + group[0].kernel - 1) ** 2 * _DECONV
    return cost + small * window * _products(group, channels) + _MOVE * (small * _inputs(group) + area * channels)


def _convolution(group: Sequence[Term], channels: int, area: float) -> float:
    moves = _MOVE * (_inputs(group) + channels)
    return area * (group[0].kernel ** 2 * _products(group, channels) + moves)


def _inputs(group: Sequence[Term]) -> int:
    return sum(term.width for term in group)


def _products(group: Sequence[Term], channels: int) -> int:
    return -(-_inputs(group) // _BLOCK) * -(-channels // _BLOCK) * _BLOCK**2


def _upsampling(channels: int, factor: int, area: float) -> float:
    return _MOVE * area * channels * (1 + factor**-2) if factor > 1 else 0.0


class _Region:
    """The linear steps of a network; a set of values to leave out is an integer with one bit for each of them."""

    def __init__(self, steps: Sequence[Step], outputs: Sequence[Id], shapes: Shapes):
        self._widths = widths(steps, shapes)
        self._steps = {step.output: step for step in steps}
        found = {step.output: definition(step, shapes, self._widths) for step in steps}
        self._sums = {value: total for value, total in found.items() if total is not None}
        self._areas, self._parts = areas(self._sums)
        uses = Counter(used for step in steps for used in step.inputs)
        uses.update(outputs)
        self._shared = {value for value, count in uses.items() if count > 1}
        self._bits = {value: 1 << n for n, value in enumerate(self._free(uses))}
        self._reach = {value: self._within(value, False) for value in self._sums}
        self._known: dict[tuple[Id, int], Sum | None] = {}
        self._plans: dict[tuple[Id, int], _Plan] = {}

    def search(self) -> int:
        """The values to leave out: for each part the better of two descents, if it saves enough."""
        found = [self._descent(0), self._descent(self._legal())]
        best = 0
        for part in set(self._parts.values()):
            bits = sum(bit for value, bit in self._bits.items() if self._parts[value] == part)
            if not bits:
                continue
            values = [value for value in self._sums if self._parts[value] == part]
            cost, choice = min((self._cost(values, left_out & bits), left_out & bits) for left_out in found)
            if cost < (1 - _GAIN) * self._cost(values, 0):
                best |= choice
        return best

    def emitted(self, step: Step, left_out: int) -> list[Step]:
        """What computes the value of `step`: the step itself where all that it uses is there."""
        total = self._sums.get(step.output)
        if self._bit(step.output) & left_out:
            return []
        if total is None or not any(self._bit(term.source) & left_out for term in total.terms):
            return [step]
        total, plan = self._resolved(step.output, left_out), self._planned(step.output, left_out)
        assert total is not None
        return _Writer(step).write(plan, total.bias)

    def _free(self, uses: Mapping[Id, int]) -> list[Id]:
        """Values that only linear steps use, all of which can take their definition."""
        users: dict[Id, list[Term]] = {}
        for term in (term for total in self._sums.values() for term in total.terms):
            users.setdefault(term.source, []).append(term)
        return [
            value
            for value, total in self._sums.items()
            if 0 < uses[value] == len(users.get(value, ()))
            and self._steps[value].activation is None
            and all(total.under(term) for term in users[value])
        ]

    def _within(self, value: Id, spatial: bool) -> int:
        """What may be left out on the way to a value; under a window or an upsampling if `spatial`."""
        terms = self._sums[value].terms
        if spatial and any(term.kernel > 1 for term in terms):
            return 0  # no sum, whatever is left out before it
        free = [term for term in terms if self._bit(term.source)]
        deeper = (self._within(t.source, spatial or t.kernel > 1 or t.factor > 1) for t in free)
        return reduce(or_, (*(self._bit(term.source) for term in free), *deeper), 0)

    def _relevant(self, value: Id, left_out: int) -> int:
        """The part of `left_out` that the sum for a value depends on."""
        bits = 0
        for term in self._sums[value].terms:
            bit = self._bit(term.source) & left_out
            if bit:
                bits |= bit | self._relevant(term.source, left_out)
        return bits

    def _bit(self, value: Id) -> int:
        return self._bits.get(value, 0)

    def _legal(self) -> int:
        """All that can be left out together, from the outputs back."""
        left_out = 0
        for bit in sorted(self._bits.values(), reverse=True):
            if self._cost(self._concerned(bit), left_out | bit) < inf:
                left_out |= bit
        return left_out

    def _descent(self, left_out: int) -> int:
        """Change one or two values at a time for as long as that is cheaper."""
        pairs = {self._bit(t.source) | bit for value, bit in self._bits.items() for t in self._sums[value].terms}
        moves = [(move, self._concerned(move)) for move in sorted(pairs | set(self._bits.values()))]
        improved = True
        while improved:
            improved = False
            for move, values in moves:
                if self._cost(values, left_out ^ move) < self._cost(values, left_out) * (1 - 1e-9):
                    left_out, improved = left_out ^ move, True
        return left_out

    def _concerned(self, move: int) -> list[Id]:
        return [value for value in self._sums if (self._reach[value] | self._bit(value)) & move]

    def _cost(self, values: Iterable[Id], left_out: int) -> float:
        return sum(self._planned(value, left_out).cost for value in values if not self._bit(value) & left_out)

    def _planned(self, value: Id, left_out: int) -> _Plan:
        key = value, left_out & self._reach[value]
        if key not in self._plans:
            exact = value, self._relevant(*key)
            if exact not in self._plans:
                self._plans[exact] = self._plan(*exact)
            self._plans[key] = self._plans[exact]
        return self._plans[key]

    def _plan(self, value: Id, left_out: int) -> _Plan:
        step, area, channels = self._steps[value], self._areas[value], self._widths[value]
        if step.kind == CONCAT and not left_out:
            return _Plan(2 * _MOVE * area * channels)
        total = self._resolved(value, left_out)
        return _plan(total, channels, area, step.activation is not None, self._shared) if total else _Plan(inf)

    def _resolved(self, value: Id, left_out: int) -> Sum | None:
        """A value as a sum over what is computed; None where that is no sum."""
        key = value, self._relevant(value, left_out)
        if key not in self._known:
            self._known[key] = self._resolve(*key)
        return self._known[key]

    def _resolve(self, value: Id, left_out: int) -> Sum | None:
        total = self._sums[value]
        if not any(self._bit(term.source) & left_out for term in total.terms):
            return total
        terms: list[Term] = []
        bias = total.bias
        for term in total.terms:
            if not self._bit(term.source) & left_out:
                terms.append(term)
                continue
            inner = self._resolved(term.source, left_out)
            inner = inner and inner.under(term)
            if inner is None:
                return None
            terms += inner.terms
            bias = inner.bias if bias is None else bias if inner.bias is None else bias + inner.bias
        return Sum(tuple(terms), bias)


class _Writer:
    """Writes the steps of one value."""

    def __init__(self, step: Step):
        self._step = step
        self._written: list[Step] = []

    def write(self, plan: _Plan, bias: np.ndarray | None) -> list[Step]:
        """The steps that compute a sum as planned, and the activation after it."""
        # convolutions without upsampling come last: `fold` makes what is there by then their residual
        groups = sorted([*plan.groups, *((term,) for term in plan.small)], key=lambda group: -group[0].factor)
        result: Id | None = None
        for term in plan.plain:
            result = self._add(self._upsample(term.source, term.factor), result)
        for group in groups:
            last = group is groups[-1]
            result = self._add(self._map(group, bias if last else None), result)
        activation = self._step.activation
        if activation is not None:
            assert result is not None
            self._append(activation.name, (result,), activation.attributes)
        return [*self._written[:-1], replace(self._written[-1], output=self._step.output)]

    def _append(self, kind: str, inputs: tuple[Id, ...], attributes: Mapping[str, Any], **parameters: Any) -> Id:
        output = f"{self._step.output}.{len(self._written)}"
        self._written.append(Step(kind, inputs, output, attributes, **parameters))
        return output

    def _add(self, value: Id, other: Id | None) -> Id:
        # a convolution comes first, as `fold` makes the second summand its residual
        return value if other is None else self._append(ADD, (value, other), {"axis": -1})

    def _upsample(self, value: Id, factor: int) -> Id:
        if factor == 1:
            return value
        free = {"data_layout": "NCHW", "out_d": -1, "out_h": -1, "out_w": -1, "align_mode": 1}
        settings = {"interp_method": "nearest", "align_corners": False, "scale": [float(factor)] * 2, **free}
        return self._append(NEAREST, (value,), settings)

    def _map(self, group: Sequence[Term], bias: np.ndarray | None) -> Id:
        kernel, factor = group[0].kernel, group[0].factor
        sources = tuple(self._upsample(term.source, term.factor // factor) for term in group)
        source = sources[0] if len(group) == 1 else self._append(CONCAT, sources, {"axis": 1})
        weight = np.concatenate([term.weight(kernel) for term in group], axis=1)
        settings = {"strides": [1, 1], "paddings": [kernel // 2] * 2, "dilations": [1, 1], "groups": 1}
        if kernel == 1 or factor == 1:
            result = self._append(CONV, (source,), settings, weight=weight, bias=bias)
            return self._upsample(result, factor)
        settings |= {"strides": [factor] * 2, "output_padding": []}
        return self._append(DECONV, (source,), settings, weight=upsampling_kernel(weight, factor), bias=bias)
