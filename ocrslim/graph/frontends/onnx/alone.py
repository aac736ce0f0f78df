"""Operators that have no equal in Paddle: kept as a model of ONNX's of one node, which a runtime of ONNX's runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ocrslim.formats import Sizes
from ocrslim.graph.frontends.onnx.node import Node

# What they compute depends on chance, or on the other images of a batch.
_UNFIT = (
    *("BatchNormalization", "Bernoulli", "Dropout", "Multinomial"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
)


def model_alone(node: Node, fixed: Mapping[int, np.ndarray], sizes: Sizes, opset: int) -> bytes | None:
    """Return a model of that node alone, whose inputs have the numbers of their places for names; None if it cannot be.

    Args:
        fixed: inputs that the file knows, by their place; the others are inputs of the model.
    """
    from onnx import checker, helper, numpy_helper

    if node.kind in _UNFIT:
        return None

    def described(name: str, value: str) -> Any:
        shape = sizes.shapes[value]
        fixed_length = value in sizes.numbers  # as that of sizes to resize to, which has to be known
        return helper.make_tensor_value_info(name, sizes.kinds[value], shape if fixed_length else [None] * len(shape))

    names = [str(place) if name else "" for place, name in enumerate(node.inputs)]
    given = {place: name for place, name in enumerate(node.inputs) if name and place not in fixed}
    inputs = [described(str(place), name) for place, name in given.items()]
    outputs = [described(name, name) for name in node.outputs if name]
    tensors = [numpy_helper.from_array(array, str(place)) for place, array in fixed.items()]
    try:
        made = helper.make_node(node.kind, names, node.outputs, **node.attributes)
        graph = helper.make_graph([made], "alone", inputs, outputs, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        checker.check_model(model)
    except (checker.ValidationError, ValueError):  # a type of several operators in one, which that opset does not have
        return None
    return bytes(model.SerializeToString())
