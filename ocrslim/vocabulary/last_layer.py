"""The linear layer that makes the classes of a recogniser, found from the output of its program backwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ocrslim.errors import GraphError
from ocrslim.graph import Op, Program, Value

_ALIKE = ("assign", "scale", "dropout")  # entry by entry


@dataclass(frozen=True)
class LastLayer:
    """A linear layer whose outputs are the classes.

    Attributes:
        parameters: name -> axis of the classes: the weight first, then what is added to its product.
        classes: their number.
    """

    parameters: Mapping[str, int]
    classes: int

    def kept(self, arrays: Mapping[str, np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parameters with the given classes alone."""
        return {name: arrays[name].take(classes, axis) for name, axis in self.parameters.items()}


def find_last_layer(program: Program) -> LastLayer:
    """Return the layer behind the only output, whose last axis are the classes.

    Raises:
        GraphError: the classes do not come from a linear layer alone, or are used for something else as well.
    """
    if len(program.outputs) != 1:
        raise _refused(f"it returns {len(program.outputs)} values, expected the probabilities alone")
    walk = _Walk(program)
    while walk.goes_on():
        pass
    shared = [name for name in walk.parameters if walk.uses[name] > 1]
    if shared:
        raise _refused(f"other layers use its {shared[0]}, too")
    return LastLayer(walk.parameters, (program.outputs[0].shape or (0,))[-1])


class _Walk:
    """The way back from the output, value by value.

    Attributes:
        parameters: as `LastLayer` has them; the weight is found last, and put first.
        uses: how often each value and parameter is read or returned.
    """

    def __init__(self, program: Program):
        self.parameters: dict[str, int] = {}
        self.uses = Counter(value.parameter or value.id for op in program.ops for value in op.values())
        self._makers = {made.id: op for op in program.ops for made in op.outputs}
        self._value, self._softmax = program.outputs[0], False
        self._axis = self._value.rank - 1
        self.uses[self._value.id] += 1

    def goes_on(self) -> bool:
        """Go back behind one operator; False where that is the linear layer."""
        value, axis, op = self._value, self._axis, self._makers.get(self._value.id)
        if op is None or self.uses[value.id] > 1:
            raise _refused("they are used in other ways, too" if op else "nothing computes them")
        if op.name == "matmul":
            if not self._softmax:
                raise _refused("no softmax makes probabilities of them")
            self.parameters = {**_weight(op, value, axis), **self.parameters}
            return False
        if op.name == "add":
            self.parameters.update(_bias(op, value, axis))
            self._value = next(one for one in op.values() if one.parameter is None)
        elif op.name == "transpose":
            self._value, self._axis = op["x"], op.ints("perm")[axis]
        elif op.name in _ALIKE:
            self._value = op["x"]
        elif op.name == "softmax" and op.axis(value) == axis and not self._softmax:
            self._value, self._softmax = op["x"], True
        else:
            raise _refused(f"they come from {op.name}")
        return True


def _bias(op: Op, value: Value, axis: int) -> dict[str, int]:
    """Return the parameter that is added, and its axis of the classes; none where all classes get the same."""
    given = [one for one in op.values() if one.parameter is not None]
    if len(given) != 1:
        raise _refused("they are a sum of computed values")
    shape = given[0].shape or ()
    own = axis - (value.rank - len(shape))
    if own < 0 or shape[own] == 1:
        return {}
    return {str(given[0].parameter): own}


def _weight(op: Op, value: Value, axis: int) -> dict[str, int]:
    weight = op.inputs.get("y")
    if weight is None or weight.parameter is None or weight.rank != 2 or axis != value.rank - 1:
        raise _refused("they come from a product of computed values")
    return {weight.parameter: 0 if op.attributes.get("transpose_y") else 1}


def _refused(why: str) -> GraphError:
    return GraphError(
        f"its classes are not those of a linear layer: {why}; characters can be cut from recognisers with a CTC head "
        "as PaddleOCR's"
    )
