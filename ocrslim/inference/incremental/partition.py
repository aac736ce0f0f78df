"""The part of a network that a pruned group changes, and what can be kept of the rest.

Pruning a group leaves everything in front of it as it was. More than that: the channels that stay of the
layers that make the group are what they were, and so are those of the batch norms, activations and
depthwise convolutions that follow, as each works on its channel alone. What first differs is what *reads*
the group. So the network is split there: the values that are read are kept of the unpruned network,
for each image once, and a variant runs on their remaining channels.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ocrslim.graph import INPUT, OUTPUT, Group, Member, Op, Program, Value
from ocrslim.inference.compiler.ir import ACTIVATIONS, Id
from ocrslim.inference.incremental.min_cut import MinimumCut

PRICE = 150.0  # measured: to keep a number, take its channel, copy and reorder it, in multiply-accumulates
_UNKNOWN_WIDTH = 32  # of a product of two activations, at least
_TOUCH = 25.0  # 0.6 ns to write a number and read what it is made of

_MAKERS = ("conv2d", "conv2d_transpose")
_SPATIAL = {"batch_norm", "scale", "pool2d", "nearest_interp", "bilinear_interp", "depthwise_conv2d"}
_CHANNELWISE = {*_SPATIAL, *ACTIVATIONS, "dropout", "assign", "clip", "sqrt", "exp", "abs", "square", "elu", "softplus"}
_JOINS = ("add", "multiply")


@dataclass(frozen=True)
class Source:
    """A value of the unpruned network that variants start from; `member` says which channels stay, if some go."""

    value: Value
    member: Member | None = None

    def keep(self, removed: Collection[int]) -> tuple[int, ...] | None:
        """Return the channels that stay when the units `removed` of the group go; None: all."""
        return None if self.member is None else self.member.keep(removed)


@dataclass(frozen=True)
class Partition:
    """A network in two parts around a group.

    Attributes:
        prefix: makes the sources from the network's input; the same for every ratio.
        sources: what is handed over; the outputs themselves where `suffix` is empty.
        suffix: makes the outputs from the sources; empty where they do not depend on the group.
    """

    prefix: tuple[Op, ...]
    sources: tuple[Source, ...]
    suffix: tuple[Op, ...]

    def elements(self, sizes: Mapping[Id, float]) -> float:
        """Numbers that are kept for an image, where `sizes` has the elements of each value."""
        return sum(sizes[source.value.id] for source in self.sources)


def split(program: Program, group: Group, sizes: Mapping[Id, float], price: float = PRICE) -> Partition:
    """Split `program` around `group`, at the least cost.

    What a variant changes has to run in the suffix. What it does not may run there again, or be kept
    and fed: the cheapest choice is a minimum cut (Picard 1976, "Maximal closure of a graph").

    Args:
        sizes: elements of each value for one pixel of the input.
        price: of keeping and feeding one number, in multiply-accumulates.
    """
    states = _States(program, group)
    changed = [op for op in program.ops if any(states.changed(value) for value in op.outputs)]
    changed = part(changed, program.outputs, ())
    behind = _cheapest(program, changed, states, sizes, price)
    suffix = [op for op in program.ops if id(op) in behind]
    entering = _entering(suffix, program.outputs, states) if suffix else program.outputs
    sources = [Source(value, states.sliced.get(value.id)) for value in entering]
    prefix = part(program.ops, [source.value for source in sources], ())
    return Partition(tuple(prefix), tuple(sources), tuple(_with_constants(program, suffix, states)))


def unsplit(program: Program) -> Partition:
    """Return the whole network as one suffix: its inputs are the sources."""
    return Partition((), tuple(Source(value) for value in program.inputs), tuple(program.ops))


def part(ops: Iterable[Op], outputs: Sequence[Value], known: Collection[Id]) -> list[Op]:
    """Select the operators, in order, that compute `outputs` from values in `known`."""
    wanted = {value.id for value in outputs}.difference(known)
    found = []
    for op in reversed(list(ops)):
        if any(value.id in wanted for value in op.outputs):
            found.append(op)
            wanted |= {value.id for value in op.values()}.difference(known)
    return found[::-1]


class _States:
    """Each value of a network with a pruned group: as it was, some channels of what it was, or changed."""

    def __init__(self, program: Program, group: Group):
        self._members: dict[str, list[Member]] = {}
        for member in group.members:
            self._members.setdefault(member.key, []).append(member)
        self._changed: set[Id] = set()
        self._constants: dict[Id, list[Member]] = {}  # value -> members that it is made of
        self.sliced: dict[Id, Member] = {}
        for op in program.ops:
            self._follow(op)

    def changed(self, value: Value) -> bool:
        return value.id in self._changed

    def constant(self, value: Value) -> bool:
        """Tell whether only parameters go into a value."""
        return value.parameter is not None or value.id in self._constants

    def _touched(self, value: Value) -> list[Member]:
        if value.parameter is not None:
            return self._members.get(value.parameter, [])
        return self._constants.get(value.id, [])

    def _follow(self, op: Op) -> None:
        touched = [member for value in op.values() for member in self._touched(value)]
        data = [value for value in op.values() if not self.constant(value)]
        if not data and op.name != "data":
            self._constants.update((value.id, touched) for value in op.outputs)
            return
        if any(map(self.changed, data)):
            self._changed.update(value.id for value in op.outputs)
        elif touched or any(value.id in self.sliced for value in data):
            member = self._slice_of(op, data, touched)
            if member is None:
                self._changed.update(value.id for value in op.outputs)
            else:
                self.sliced[op.outputs[0].id] = member

    def _slice_of(self, op: Op, data: Sequence[Value], touched: Sequence[Member]) -> Member | None:
        """Return the member that says which channels of the output stay; None where they must be computed."""
        slices = [self.sliced.get(value.id) for value in data]
        first = slices[0]
        if op.name in _MAKERS:
            makes = [member for member in touched if member.role == OUTPUT]
            alone = len(touched) == 1 and first is None and op.ints("groups") == [1]
            return makes[0] if alone and makes else None
        if first is None or any(member.role == INPUT for member in touched):
            return None
        same = all(other is not None and _alike(first, other) for other in [*slices, *touched])
        known = op.name in _CHANNELWISE or op.name in _JOINS or _over_space(op)
        return first if known and same else None


def _over_space(op: Op) -> bool:
    """Tell whether an operator is the mean of each channel, which stays a map."""
    return op.name == "mean" and bool(op.attributes["keepdim"]) and {*op.ints("axis", [])} <= {2, 3, -1, -2}


def _alike(one: Member, other: Member) -> bool:
    return one.size == other.size and one.units == other.units


def _cheapest(
    program: Program, changed: Sequence[Op], states: _States, sizes: Mapping[Id, float], price: float
) -> set[int]:
    """Identities of the operators to run in the suffix, those of `changed` among them.

    Of each value two things are to be decided: whether it is available in the suffix, and whether it
    is computed there. Available and not computed costs feeding it; computed costs its operator, and makes the
    operator's inputs available.
    """
    computing = [op for op in program.ops if not all(map(states.constant, op.outputs))]
    cut = MinimumCut()
    must = {id(op) for op in changed}
    for op in computing:
        cost = math.inf if op.name == "data" else 0.0 if id(op) in must else _cost(op, sizes)
        if id(op) in must:
            cut.require(id(op))
        cut.pay(id(op), cost)
        for value in op.outputs:
            cut.pay_between(
                (value.id, "available"),
                id(op),
                price * sizes.get(value.id, math.inf) if value.shape else math.inf,  # no list, and no single number
            )
        for value in op.values():
            if not states.constant(value):
                cut.imply(id(op), (value.id, "available"))
    return {node for node in cut.chosen() if isinstance(node, int)}


def _cost(op: Op, sizes: Mapping[Id, float]) -> float:
    """Return the multiply-accumulates of an operator for one pixel of the input, and what touching its output costs."""
    elements = sum(sizes.get(value.id, 0.0) for value in op.outputs)
    return elements * (_products(op) + _TOUCH)


def _products(op: Op) -> int:
    """Return the multiply-accumulates for one number of the output."""
    weight = op.inputs.get("filter")
    if weight is not None and weight.shape is not None:
        return math.prod(weight.shape[1:])
    if op.name == "matmul":
        return max(_UNKNOWN_WIDTH, *(op["y"].shape or ())[-2:-1])
    if op.name == "rnn":
        gates = 4 if op.attributes["mode"] == "LSTM" else 3
        return gates * int(op.attributes["num_layers"]) * (op.ints("input_size")[0] + op.ints("hidden_size")[0])
    return 0


def _entering(suffix: Sequence[Op], outputs: Sequence[Value], states: _States) -> Iterator[Value]:
    """Values that `suffix` uses, or the network returns, and it does not make, constants aside, each once."""
    known = {value.id for op in suffix for value in op.outputs}
    for value in (*(value for op in suffix for value in op.values()), *outputs):
        if value.id not in known and not states.constant(value):
            known.add(value.id)
            yield value


def _with_constants(program: Program, suffix: Sequence[Op], states: _States) -> list[Op]:
    """`suffix` and the operators that make the constants it uses."""
    taken = {id(op) for op in suffix}
    wanted = {value.id for op in suffix for value in op.values() if states.constant(value)}
    for op in reversed(program.ops):
        if any(value.id in wanted for value in op.outputs):
            taken.add(id(op))
            wanted |= {value.id for value in op.values()}
    return [op for op in program.ops if id(op) in taken]
