"""LSTMs, GRUs and plain recurrent layers as one operator of Paddle's program format, which oneDNN does not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Op
from ocrslim.inference.compiler.conversion.values import Values
from ocrslim.inference.compiler.ir import Id, Step

_RESULTS = {"LSTM": ("Out", "DropoutState", "State", "State", "Reserve")}
_OTHERS = ("Out", "DropoutState", "State", "Reserve")
_SEQUENCE_FIRST = 1  # axis of the batch in the input and in the state


def recurrent(values: Values, op: Op) -> list[Step]:
    """Return the steps of a recurrent layer, from zeros on or from given states.

    Raises:
        LoweringError: its weights are computed, or its sequences have several lengths.
    """
    states, weights = values.lists[op["pre_state"].id], values.lists[op["weight_list"].id]
    for place in weights:
        if place not in values.parameters:
            raise LoweringError(f"{op}: computed weights are not known to the runtime")
    steps = _steps(op, [] if values.zeros.issuperset(states) else states, weights, values.parameters)
    lists = [one for one in op.outputs if one.shape is None]
    places = [place for place, slot in enumerate(steps[-1].results) if slot == "State"]
    values.lists.update((one.id, [steps[-1].others[place - 1] for place in places]) for one in lists)
    return steps


def _steps(op: Op, states: Sequence[Id], weights: Sequence[Id], arrays: Mapping[Id, np.ndarray]) -> list[Step]:
    """Return the steps of a recurrent layer.

    Args:
        states: hidden state, and cell state of an LSTM, to start with; empty for zeros.
        weights: all weights, then all biases, as Paddle orders them: those of the input and of the state in turns.
        arrays: their values, which give the sizes: the trace has those of the unpruned network.
    """
    if op.inputs.get("sequence_length") is not None:
        raise LoweringError(f"{op}: sequences of several lengths are not known to the runtime")
    mode, source, target = str(op.attributes["mode"]), op["x"].id, op.outputs[0].id
    hidden, layers = arrays[weights[1]].shape[1], int(op.attributes["num_layers"])
    steps = []
    if not states:
        depth = layers * (2 if op.attributes["is_bidirec"] else 1)
        states = [f"{target}.zeros"] * (2 if mode == "LSTM" else 1)
        axes = {"input_dim_idx": _SEQUENCE_FIRST, "output_dim_idx": _SEQUENCE_FIRST}
        settings = {"shape": [depth, 1, hidden], "value": 0.0, "dtype": 5, **axes}
        steps.append(Step("fill_constant_batch_size_like", (source,), states[0], settings, slots=("Input",)))
    sizes = {"input_size": arrays[weights[0]].shape[1], "hidden_size": hidden, "num_layers": layers}
    settings = {"mode": mode, "is_bidirec": bool(op.attributes["is_bidirec"]), "dropout_prob": 0.0, "is_test": True}
    slots = ("Input", *["PreState"] * len(states), *["WeightList"] * len(weights))
    results = _RESULTS.get(mode, _OTHERS)
    others = tuple(f"{target}.{place}" for place in range(1, len(results)))
    inputs = (source, *states, *weights)
    steps.append(Step("rnn", inputs, target, {**settings, **sizes}, slots=slots, results=results, others=others))
    return steps
