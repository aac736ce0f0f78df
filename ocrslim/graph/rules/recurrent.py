"""The rule for recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.graph.coupling import Coupling
from ocrslim.graph.groups import INPUT
from ocrslim.graph.program import Op, Value
from ocrslim.graph.rules.registry import CONSTANT, positions, rule, weight_of


@rule("rnn", matrices=True)
def recurrent(op: Op, coupling: Coupling) -> None:
    """LSTM, GRU and simple RNN, of one or more layers and one or two directions.

    The list of weights holds, layer by layer and direction by direction, [gates x units, in] and [gates x units,
    units], then as many biases. A unit is a row of each gate; its last state is read by the second matrix, and what it
    makes by the next layer in both directions. All layers and directions have one number of units, so the same ones go
    from each. Code may name the size of the first state, which only a run shows.
    """
    source, weights = op["x"], [weight_of(coupling, value) for value in coupling.items(op["weight_list"])]
    directions = 2 if op.attributes.get("is_bidirec") else 1
    matrices = [weight for weight in weights if weight.rank == 2]
    units = coupling.along(matrices[1], 1, INPUT)
    made, times = np.tile(units, directions), positions(source, source.rank - 1)
    for index, weight in enumerate(matrices):
        below = coupling.atoms(source, source.rank - 1) if index < 2 * directions else made
        coupling.couple(units if index % 2 else below, coupling.along(weight, 1, INPUT))
        coupling.count(weight, times)
    for weight in weights:
        rows = coupling.made(weight, 0) if weight.rank == 2 else coupling.along(weight, 0)
        coupling.couple(np.tile(units, rows.size // units.size), rows)
    coupling.fix(units, op)
    coupling.set(op.outputs[0], op.outputs[0].rank - 1, made)
    first = op.inputs.get("pre_state")  # zeros without
    _states(op, coupling, units, [] if first is None else coupling.items(first))


def _states(op: Op, coupling: Coupling, units: np.ndarray, first: Sequence[Value]) -> None:
    """Let the last states, [layers x directions, batch, units] each, carry the units; pin them by a computed first one.

    Code makes a constant first state in the size that the layer says; one that is computed has a size of its own.
    """
    for value in first:
        if coupling.channels(value) is not None or coupling.origin(value) != CONSTANT:
            for atoms in (units, coupling.atoms(value, value.rank - 1)):
                coupling.pin(atoms, f"first state of {op}")
    last = [coupling.item(value.shape or ()) for value in first]
    for value in last:
        coupling.set(value, value.rank - 1, units)
    for target in op.outputs:
        if target.shape is None:
            coupling.set_items(target, last)
