"""LSTMs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.graph.frontends.onnx.network import FormError, Network, converter
from ocrslim.graph.frontends.onnx.node import Node
from ocrslim.graph.program import Value

_GATES = (0, 2, 3, 1)  # Paddle's input, forget, cell, output; ONNX has input, output, forget, cell
_X, _WEIGHT, _STATE_WEIGHT, _BIAS, _LENGTHS, _FIRST_STATES, _PEEPHOLES = 0, 1, 2, 3, 4, (5, 6), 7


@converter("LSTM")
def lstm(node: Node, net: Network) -> Sequence[Value]:
    """An LSTM of one layer from zeros on; its weights are the tensors that the file puts into ONNX's order."""
    direction, hidden = node.attributes.get("direction", "forward"), int(node.attributes["hidden_size"])
    _require_plain(node, net, direction)
    count = 2 if direction == "bidirectional" else 1
    x = net.input(node, _X)
    settings = {"mode": "LSTM", "is_bidirec": count == 2, "input_size": (x.shape or ())[2], "hidden_size": hidden}
    inputs = {"x": x, "weight_list": net.listed(_weights(node, net, count, hidden))}
    length, batch = (x.shape or ())[:2]
    shape = (length, batch, count * hidden)
    made = net.emit("rnn", inputs, shape, **settings, num_layers=1, dropout_prob=0.0, is_test=True, seed=0)
    parts = net.emit("reshape", {"x": made}, (length, batch, count, hidden), shape=[0, 0, count, -1])
    whole = net.emit("transpose", {"x": parts}, (length, count, batch, hidden), perm=[0, 2, 1, 3])
    return [whole, *net.unknown(node, "LSTM whose last states are used")[1:]]


def _require_plain(node: Node, net: Network, direction: str) -> None:
    given = [place for place in (_LENGTHS, _PEEPHOLES) if node.given(place)]
    states = [node.inputs[place] for place in _FIRST_STATES if node.given(place)]
    strange = {"activations", "clip", "input_forget", "layout"} & {
        key for key, value in node.attributes.items() if value
    }
    if given or strange or direction == "reverse" or not node.given(_BIAS):
        raise FormError(f"LSTM with lengths, peepholes, {', '.join(sorted(strange)) or 'reverse'} or without bias")
    if not all(map(net.folding.is_zero, states)):
        raise FormError("LSTM with a first state")


def _weights(node: Node, net: Network, directions: int, hidden: int) -> list[Value]:
    """Return the tensors of the file as Paddle lists them: two weights a direction, then two biases a direction."""
    arrays = [net.folding.array(node.inputs[place]) for place in (_WEIGHT, _STATE_WEIGHT, _BIAS)]
    taken: set[str] = set()
    found: list[Value] = []
    for direction in range(directions):
        for place, array in zip((_WEIGHT, _STATE_WEIGHT), arrays):
            if array is None:
                raise FormError("LSTM with computed weights")
            found.append(net.tensor(node, place, _in_paddle_order(array[direction]), taken))
    biases = arrays[2]
    if biases is None:
        raise FormError("LSTM with computed biases")
    for direction in range(directions):
        for half in np.split(biases[direction], 2):
            found.append(net.tensor(node, _BIAS, _in_paddle_order(half), taken))
    return found


def _in_paddle_order(gates: np.ndarray) -> np.ndarray:
    blocks = np.split(gates, 4)
    return np.concatenate([blocks[place] for place in _GATES])
