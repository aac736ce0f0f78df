"""The rule for recurrent layers."""

from __future__ import annotations

from ocrslim.graph.coupling import Coupling
from ocrslim.graph.groups import INPUT
from ocrslim.graph.program import Op
from ocrslim.graph.rules.registry import rule


@rule("rnn", matrices=True)
def recurrent(op: Op, coupling: Coupling) -> None:
    """LSTM and GRU: the first layer's input weights [gates, in] read channels; hidden states stay whole.

    The list of weights holds, layer by layer and direction by direction, input and hidden weights first.
    """
    source, weights = op["x"], coupling.items(op["weight_list"])
    directions = 2 if op.attributes.get("is_bidirec") else 1
    first = weights[: 2 * directions : 2]
    atoms = coupling.atoms(source, source.rank - 1)
    reason = f"hidden state of {op}"
    for weight in first:
        coupling.couple(atoms, coupling.along(weight, 1, INPUT))
        coupling.pin(coupling.along(weight, 0), reason)
    read_once = {weight.id for weight in first}
    for value in (*weights, *coupling.items(op["pre_state"])):
        if value.id not in read_once:
            coupling.pin_value(value, reason)
    for value in op.outputs:
        coupling.set_opaque(value, reason)
