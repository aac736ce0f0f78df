"""Rules for linear layers, products of activations and embeddings."""

from __future__ import annotations

import math

import numpy as np

from ocrslim.graph.coupling import Channels, Coupling
from ocrslim.graph.groups import INPUT
from ocrslim.graph.program import Op
from ocrslim.graph.rules.registry import NotFollowedError, positions, rule, weight_of


@rule("matmul", "bmm", matrices=True)
def matmul(op: Op, coupling: Coupling) -> None:
    """A linear layer where the second operand is a matrix of parameters; else a product of activations.

    Attention divides such products by a function of the number of channels, which the trace shows as a
    literal: a product over channels is noted as fixing it.
    """
    x, y = op["x"], op["y"]
    if min(x.rank, y.rank) < 2:
        raise NotFollowedError("a product with a vector")
    x_reads, y_reads = x.rank - 1, y.rank - 2
    if op.attributes.get("transpose_x"):
        x_reads -= 1
    if op.attributes.get("transpose_y"):
        y_reads += 1
    if coupling.view(y) is not None and y.rank == 2 and coupling.view(x) is None:
        _linear(op, coupling, x_reads, y_reads)
    else:
        _product(op, coupling, x_reads, y_reads)


def _linear(op: Op, coupling: Coupling, x_reads: int, y_reads: int) -> None:
    x, weight, out = op["x"], weight_of(coupling, op["y"]), op.outputs[0]
    found = coupling.channels(x)
    read, made = coupling.along(weight, y_reads, INPUT), coupling.made(weight, 1 - y_reads)
    rows = positions(out, out.rank - 1)
    if found is not None and found.axis != x_reads:
        coupling.count(weight, rows // len(found.atoms), per=found.atoms)
        for atoms in (read, made):
            coupling.pin(atoms, f"{op} runs over positions: what it makes are not channels")
        coupling.set(out, min(found.axis, out.rank - 2), found.atoms)
        return
    coupling.count(weight, rows)
    coupling.couple(coupling.atoms(x, x_reads), read)
    coupling.set(out, out.rank - 1, made)


def _product(op: Op, coupling: Coupling, x_reads: int, y_reads: int) -> None:
    x, y, out = op["x"], op["y"], op.outputs[0]
    terms = (x.shape or ())[x_reads]
    if coupling.view(x) is not None or coupling.view(y) is not None:
        _count(op, coupling, terms, None)
        raise NotFollowedError("a parameter in a product that is no linear layer")
    contracted, carried = [], []
    for value, reads, free in ((x, x_reads, out.rank - 2), (y, y_reads, out.rank - 1)):
        found = coupling.channels(value)
        if found is not None and found.axis == reads:
            contracted.append(found.atoms)
        elif found is not None:
            batch = found.axis < value.rank - 2
            carried.append(Channels(found.axis + out.rank - value.rank if batch else free, found.atoms))
    if len(contracted) == 1:
        coupling.pin(contracted[0], f"{op} sums over its channels with values that are not channels")
    elif contracted:
        coupling.couple(*contracted)
        coupling.fix(contracted[0], op)
        coupling.sum_over(contracted[0])
    varying = contracted[:1] if len(contracted) == 2 else [channels.atoms for channels in carried]
    _count(op, coupling, terms, next(iter(varying), None))
    _carry_product(op, coupling, carried)


def _count(op: Op, coupling: Coupling, terms: int, per: np.ndarray | None) -> None:
    """Count a product that sums `terms` products for each entry; of its sizes only that of the channels `per` varies.

    Where both operands carry channels along axes of their own, these stay (`_carry_product`).
    """
    sizes = [*(op.outputs[0].shape or ()), terms]
    if min(sizes) > 0:
        coupling.count_product(math.prod(sizes), per)


def _carry_product(op: Op, coupling: Coupling, carried: list[Channels]) -> None:
    out = op.outputs[0]
    batches = [channels.axis < out.rank - 2 for channels in carried]
    if len(carried) == 2 and all(batches) and carried[0].axis == carried[1].axis:
        coupling.couple(carried[0].atoms, carried[1].atoms)
    elif len(carried) == 2 or any(batches):
        for channels in carried:
            coupling.pin(channels.atoms, f"{op} makes every pair of its channels")
    if carried:
        coupling.set(out, carried[0].axis, carried[0].atoms)
    else:
        coupling.set_opaque(out, f"{op} of activations")


@rule("embedding", matrices=True)
def embedding(op: Op, coupling: Coupling) -> None:
    """Weight [vocabulary, channels]: makes channels on axis 1, and multiplies nothing."""
    weight, out = weight_of(coupling, op["weight"]), op.outputs[0]
    coupling.pin_value(op["x"], f"{op} looks up by them")
    coupling.pin(coupling.along(weight, 0), f"{op} looks up by its index")
    coupling.set(out, out.rank - 1, coupling.made(weight, 1))
