"""The same network with fewer multiply-accumulates: algebra on steps that nothing nonlinear separates.

Between two nonlinear steps a network is a sum of linear maps. Each value on the way is either computed, or left
out and its definition put in the place of its uses:

- a convolution of a sum, or of a concatenation, is a sum of convolutions;
- a convolution of a 1x1 convolution is one convolution, and so is a 1x1 convolution of a convolution;
- a k x k convolution of a map upsampled s times (nearest neighbour) is a transposed convolution of the small map,
  with kernel s + k - 1, stride s and padding (k - 1) / 2: (1 + (k - 1) / s)^2 products an output instead of k^2.

All are exact but for rounding, also at the borders, where padding is with zeros: a bias, which does not map zeros
to zeros, is never moved under a kernel that reaches into the padding. Which values to leave out is searched for
with a model of what each step costs. A map plus its gated copy becomes one product, and
some transposed convolutions run in phases (see phases.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from math import inf
from operator import or_
from typing import Any

import numpy as np

from ocrslim.graph import Op
from ocrslim.inference.compiler.cost_model import EvaluationOrder
from ocrslim.inference.compiler.folding import fold
from ocrslim.inference.compiler.ir import ADD, AFFINE, CONCAT, CONV, DECONV, MULTIPLY, NEAREST, Id, Step
from ocrslim.inference.compiler.linear_maps import (
    Shapes,
    Sum,
    Term,
    areas,
    definition,
    known_sizes,
    upsampling_kernel,
    widths,
)
from ocrslim.inference.compiler.pixel_shuffle import in_phases
from ocrslim.inference.compiler.rewriting import Rewriting

_GAIN = 0.03  # a rewriting has to save at least this share, or the model is not to be trusted


def shapes_of(ops: Iterable[Op]) -> dict[Id, tuple[int, ...]]:
    """Return the traced shapes of all values that `ops` use or make, -1 where not known."""
    values = [value for op in ops for value in (*op.values(), *op.outputs)]
    return {value.id: value.shape for value in values if value.shape is not None}


def rewrite(
    steps: Sequence[Step], outputs: Iterable[Id], shapes: Shapes, rewriting: Rewriting | None = None
) -> list[Step]:
    """Equivalent steps that cost less: the same outputs but for rounding, of the same inputs.

    Args:
        steps: folded steps, in order.
        outputs: values that must come out as they are.
        shapes: [N, C, H, W] of the values as traced, to tell sums from broadcasts; a sum of values without a shape
            stays as it is. Channels are counted by the weights, so pruned weights need no new shapes; of values
            that are fed they should be as fed, or a concatenation of them stays as it is.
        rewriting: what is rewritten; by default everything, by costs of oneDNN.
    """
    outputs, rewriting = list(outputs), rewriting or Rewriting()
    steps = _gated(steps, outputs) if rewriting.gates else list(steps)
    if rewriting.sums:
        region = _Region(steps, outputs, shapes, rewriting)
        left_out = region.search()
        steps = [new for step in steps for new in region.emitted(step, left_out)]
    if rewriting.phases:
        steps = in_phases(steps, outputs)
    return fold(steps, outputs)


def _gated(steps: Iterable[Step], outputs: Iterable[Id]) -> list[Step]:
    """Return a map and its gated copy in one pass: x + x g = x (1 + g), where g is mostly of one pixel."""
    steps = list(steps)
    uses = Counter(used for step in steps for used in step.inputs)
    uses.update(outputs)
    made = {step.output: step for step in steps}
    replaced: dict[Id, Step] = {}
    for step in steps:
        for whole, part in (step.inputs, step.inputs[::-1]) if step.kind == ADD and not step.passed else ():
            product = made.get(part)
            known = product is not None and product.kind == MULTIPLY and not product.passed
            if product and known and whole in product.inputs and uses[part] == 1:
                gate = product.inputs[product.inputs[0] == whole]
                shift = {"scale": np.ones(1), "shift": np.ones(1)}
                replaced[part] = Step(AFFINE, (gate,), part, shift)
                replaced[step.output] = replace(product, inputs=(whole, part), output=step.output)
                break
    return [replaced.get(step.output, step) for step in steps]


class _Region:
    """The linear steps of a network; a set of values to leave out is an integer with one bit for each of them."""

    def __init__(self, steps: Sequence[Step], outputs: Sequence[Id], shapes: Shapes, rewriting: Rewriting):
        self._costs = rewriting.costs
        self._widths = widths(steps, shapes)
        self._steps = {step.output: step for step in steps}
        sizes = known_sizes(steps) if rewriting.any_size else None
        found = {step.output: definition(step, shapes, self._widths, sizes) for step in steps}
        self._sums = {value: total for value, total in found.items() if total is not None}
        self._areas, self._parts = areas(self._sums)
        uses = Counter(used for step in steps for used in step.inputs)
        uses.update(outputs)
        self._shared = {value for value, count in uses.items() if count > 1}
        self._bits = {value: 1 << n for n, value in enumerate(self._free(uses))}
        self._reach = {value: self._within(value, False) for value in self._sums}
        self._known: dict[tuple[Id, int], Sum | None] = {}
        self._orders: dict[tuple[Id, int], EvaluationOrder] = {}

    def search(self) -> int:
        """Return the values to leave out, chosen for each connected part on its own."""
        members: dict[Id, list[Id]] = {}
        for value in self._sums:
            members.setdefault(self._parts[value], []).append(value)
        return reduce(or_, map(self._chosen, members.values()), 0)

    def _chosen(self, values: Sequence[Id]) -> int:
        """Return the end of a descent from all that can be left out together among `values`, if it saves enough.

        In 264 of 265 random networks a descent from nothing ended no better.
        """
        single = [self._bits[value] for value in values if value in self._bits]
        pairs = {bit | self._bit(t.source) for v, bit in self._bits.items() if v in values for t in self._sums[v].terms}
        touched = {value: self._reach[value] | self._bit(value) for value in values}
        moves = {move: [v for v in values if touched[v] & move] for move in (*single, *sorted(pairs - {*single}))}
        everything = 0
        for bit in reversed(single):  # from the outputs back, as what comes before has to fit what comes behind
            everything |= bit if self._cost(moves[bit], everything | bit) < inf else 0
        choice = self._descent(everything, moves)
        return choice if self._cost(values, choice) < (1 - _GAIN) * self._cost(values, 0) else 0

    def _descent(self, left_out: int, moves: Mapping[int, Sequence[Id]]) -> int:
        """Make moves, each of which changes the cost of some values, for as long as that is cheaper."""
        improved = True
        while improved:
            improved = False
            for move, values in moves.items():
                if self._cost(values, left_out ^ move) < self._cost(values, left_out) * (1 - 1e-9):
                    left_out, improved = left_out ^ move, True
        return left_out

    def emitted(self, step: Step, left_out: int) -> list[Step]:
        """Return the steps that compute the value of `step`: the step itself where all that it uses is there."""
        total = self._sums.get(step.output)
        if self._bit(step.output) & left_out:
            return []
        if total is None or not any(self._bit(term.source) & left_out for term in total.terms):
            return [step]
        total = self._resolved(step.output, left_out)
        assert total is not None
        return _Writer(step).write(self._order(step.output, left_out), total.bias)

    def _free(self, uses: Mapping[Id, int]) -> list[Id]:
        """Return the values that only linear steps use, all of which can take their definition."""
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
        """Return values that may be left out on the way to a value; under a window or an upsampling if `spatial`."""
        terms = self._sums[value].terms
        if spatial and any(term.kernel > 1 for term in terms):
            return 0  # no sum, whatever is left out before it
        free = [term for term in terms if self._bit(term.source)]
        deeper = (self._within(t.source, spatial or t.kernel > 1 or t.factor > 1) for t in free)
        return reduce(or_, (*(self._bit(term.source) for term in free), *deeper), 0)

    def _relevant(self, value: Id, left_out: int) -> int:
        """Return the part of `left_out` that the sum for a value depends on."""
        bits = 0
        for term in self._sums[value].terms:
            bit = self._bit(term.source) & left_out
            if bit:
                bits |= bit | self._relevant(term.source, left_out)
        return bits

    def _bit(self, value: Id) -> int:
        return self._bits.get(value, 0)

    def _cost(self, values: Iterable[Id], left_out: int) -> float:
        return sum(self._order(value, left_out).cost for value in values if not self._bit(value) & left_out)

    def _order(self, value: Id, left_out: int) -> EvaluationOrder:
        key = value, left_out & self._reach[value]
        if key not in self._orders:
            exact = value, self._relevant(*key)
            if exact not in self._orders:
                self._orders[exact] = self._find_order(*exact)
            self._orders[key] = self._orders[exact]
        return self._orders[key]

    def _find_order(self, value: Id, left_out: int) -> EvaluationOrder:
        step, area, channels = self._steps[value], self._areas[value], self._widths[value]
        if step.kind == CONCAT and not left_out:
            return EvaluationOrder(self._costs.joining(channels, area))
        total = self._resolved(value, left_out)
        return (
            self._costs.best_order(total, channels, area, step.activation is not None, self._shared)
            if total
            else EvaluationOrder(inf)
        )

    def _resolved(self, value: Id, left_out: int) -> Sum | None:
        """Return a value as a sum over what is computed; None where that is no sum."""
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

    def write(self, order: EvaluationOrder, bias: np.ndarray | None) -> list[Step]:
        """Return the steps that compute a sum in `order`, and the activation after it."""
        # convolutions without upsampling come last: `fold` makes what is there by then their residual
        groups = sorted([*order.groups, *((term,) for term in order.small)], key=lambda group: -group[0].factor)
        result: Id | None = None
        for term in order.plain:
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
        self._written.append(Step(kind, inputs, output, attributes, name=self._step.name, **parameters))
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
