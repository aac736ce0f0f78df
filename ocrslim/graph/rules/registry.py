"""The coupling by operators: the table of rules, and the walk over a program that applies them.

A rule reads the channels of an operator's inputs, couples or pins them, and says which its outputs carry.
An operator without a rule, or in a form that its rule does not cover, is not followed: the channels that
reach it must stay, with the operator's name as the reason. Rules let through operators that work on each
channel alone; operators that mix channels (a norm or a softmax over them) pin them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from ocrslim.graph.coupling import Channels, Coupling
from ocrslim.graph.depth import WEIGHTS
from ocrslim.graph.program import Op, Program, Value

logger = logging.getLogger(__name__)

Rule = Callable[[Op, Coupling], None]
RULES: dict[str, Rule] = {}
_MATRICES: set[str] = set()

MODEL_INPUT, MODEL_OUTPUT, CONSTANT = "the network's input", "the network's output", "a constant"

_ELEMENTWISE = """
    abs acos acosh angle asin asinh assign assign_out atan atanh brelu cast ceil celu clip cos cosh digamma
    dropout elu erf erfinv exp expm1 floor full_like gelu hardshrink hardsigmoid hardswish hardtanh isfinite isinf
    isnan leaky_relu lgamma log log10 log1p log2 logical_not logit logsigmoid mish neg ones_like pow reciprocal
    relu relu6 round rrelu rsqrt scale selu share_data sigmoid sign silu sin sinh softplus softshrink softsign
    sqrt square stanh swish tan tanh tanh_shrink thresholded_relu trunc zeros_like
    add atan2 bitwise_and bitwise_or bitwise_xor divide elementwise_pow equal expand_as floor_divide fmax fmin
    greater_equal greater_than heaviside lerp less_equal less_than logical_and logical_or logical_xor masked_fill
    maximum minimum multiply not_equal remainder subtract where
""".split()


_MULTIPLYING = {*WEIGHTS, "einsum", "flash_attn", "rnn"}  # what costs MACs even where no rule follows it


class NotFollowedError(Exception):
    """An operator in a form that its rule does not know; the message says which."""


def rule(*names: str, matrices: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for the operators `names`.

    Args:
        matrices: whether the rule knows what to do with parameters that have several axes; where it does not,
            these are pinned before it runs.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        if matrices:
            _MATRICES.update(names)
        return function

    return register


def walk(program: Program, coupling: Coupling, inference: bool) -> None:
    """Apply the rules to all of `program`; what the network returns must stay.

    Args:
        inference: whether this is the network as it is used, whose layers count as cost, or as it trains.
    """
    coupling.begin(inference)
    for value in program.inputs:
        coupling.set_opaque(value, MODEL_INPUT)
    for op in program.ops:
        apply(op, coupling)
    for value in program.outputs:
        coupling.pin_value(value, MODEL_OUTPUT)


def apply(op: Op, coupling: Coupling) -> None:
    """Apply the rule for `op`; without one, pin the channels that reach it."""
    counted = len(coupling.uses)
    _apply(op, coupling)
    if len(coupling.uses) == counted and (op.name in _MULTIPLYING or op.captured):
        coupling.leave_uncounted(op)


def _apply(op: Op, coupling: Coupling) -> None:
    known = RULES.get(op.name)
    if known is None:
        stop(op, coupling, f"operator {op} has no rule" if any(op.values()) else CONSTANT)
        return
    try:
        if op.name not in _MATRICES:
            _pin_matrices(op, coupling)
        known(op, coupling)
    except NotFollowedError as why:
        stop(op, coupling, f"operator {op}: {why}")
    except MemoryError:
        raise
    except Exception:  # a form that the rule does not foresee: its channels stay, the walk continues
        logger.debug("rule for %s failed", op, exc_info=True)
        stop(op, coupling, f"operator {op} is used in a way that its rule does not know")


def _pin_matrices(op: Op, coupling: Coupling) -> None:
    for value in op.values():
        for one in coupling.items(value):
            if len(coupling.wide(one)) > 1:
                coupling.pin_value(one, f"{op} combines a parameter along several axes")


def stop(op: Op, coupling: Coupling, reason: str) -> None:
    """Pin all channels that meet `op`; nothing is known of those behind it."""
    for value in op.values():
        coupling.pin_value(value, reason)
    for value in op.outputs:
        coupling.give_up(value, reason)


def carry(
    coupling: Coupling, source: Value, target: Value, order: Sequence[int | None] | None = None, dropped: str = ""
) -> None:
    """Let `target` carry the channels of `source`, entry by entry; a parameter stays one where its entries do.

    Args:
        order: for each axis of `target` the axis of `source` it is, None for a new one; as they are without.
        dropped: why channels along an axis that `order` leaves out must stay.
    """
    order = range(source.rank) if order is None else order
    view = coupling.view(source)
    if view is not None:
        before, after = source.shape or (), target.shape or ()
        kept = [axis if axis is not None and after[i] == before[axis] else None for i, axis in enumerate(order)]
        coupling.set_view(target, (None if axis is None else view[axis] for axis in kept))
        for axis in coupling.wide(source):
            if axis not in kept:
                coupling.pin(coupling.along(source, axis), dropped)
        return
    found = coupling.channels(source)
    if found is None:
        coupling.set_opaque(target, coupling.origin(source))
    elif found.axis in order:
        coupling.set(target, list(order).index(found.axis), found.atoms)
    else:
        coupling.pin(found.atoms, dropped)
        coupling.set_opaque(target, dropped)


def weight_of(coupling: Coupling, value: Value) -> Value:
    """Return `value`, a weight.

    Raises:
        NotFollowedError: it is no parameter.
    """
    view = coupling.view(value)
    if view is None or None in view[:2]:
        raise NotFollowedError("its weight is computed, not a parameter")
    return value


def positions(value: Value, axis: int) -> int:
    """Return batch and space of `value`: all its axes but the one of its channels.

    Raises:
        NotFollowedError: they are not known.
    """
    shape = [size for index, size in enumerate(value.shape or ()) if index != axis]
    if min(shape, default=0) < 0:
        raise NotFollowedError("its size is only known when it runs")
    return math.prod(shape)


@rule(*_ELEMENTWISE, matrices=True)
def elementwise(op: Op, coupling: Coupling) -> None:
    """Each output entry depends on the input entries at its place, broadcast as NumPy does."""
    values = list(op.values())
    if len(values) == 1 and coupling.view(values[0]) is not None:
        for target in op.outputs:
            carry(coupling, values[0], target)
    else:
        join(op, coupling, values)


@rule("add_n", matrices=True)
def add_n(op: Op, coupling: Coupling) -> None:
    """The sum of a list."""
    join(op, coupling, coupling.items(op["inputs"]))


def join(op: Op, coupling: Coupling, values: Sequence[Value]) -> None:
    """Couple the channels of `values` where they meet in an elementwise operator."""
    _pin_matrices(op, coupling)
    placed = _placed(op, coupling, values)
    if not placed:
        for target in op.outputs:
            coupling.set_opaque(target, coupling.origin(values[0]) if values else CONSTANT)
        return
    out, axis, atoms = op.outputs[0], placed[0][1].axis, placed[0][1].atoms
    for _, channels in placed[1:]:
        coupling.couple(atoms, channels.atoms)
    with_channels = {value.id for value, _ in placed}
    for value in values:
        own = axis - out.rank + value.rank
        if value.id not in with_channels and own >= 0 and value.shape and value.shape[own] != 1:
            coupling.pin(atoms, f"{op} meets a value whose size does not change ({coupling.origin(value)})")
    for target in op.outputs:
        if target.shape == out.shape:
            coupling.set(target, axis, atoms)


def _placed(op: Op, coupling: Coupling, values: Sequence[Value]) -> list[tuple[Value, Channels]]:
    """The values whose channels lie along the axis of the output that holds channels; all others are pinned.

    That axis is the one along which activations have several channels; without any, parameters.
    """
    out = op.outputs[0]
    placed: list[tuple[Value, Channels]] = []
    for value in values:
        found = coupling.channels(value)
        if found is None:
            continue
        axis = found.axis + out.rank - value.rank
        if out.shape and len(found.atoms) != out.shape[axis]:
            coupling.pin(found.atoms, f"{op} spreads a single channel over others")
        else:
            placed.append((value, Channels(axis, found.atoms)))

    def weight(item: tuple[Value, Channels]) -> tuple[bool, bool]:
        return len(item[1].atoms) > 1, coupling.view(item[0]) is None

    heaviest = max(map(weight, placed), default=None)
    axes = {item[1].axis for item in placed if weight(item) == heaviest}
    stays = [item for item in placed if axes != {item[1].axis}]
    for _, channels in stays:
        coupling.pin(channels.atoms, f"{op} joins channels along two axes")
    return [item for item in placed if axes == {item[1].axis}]
