"""The linear layer that makes the classes, found from the output; and networks whose classes are not those of one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_models import node, onnx_model, saved, weights
from small_recognisers import SHAPE, line_onnx

from ocrslim.errors import GraphError
from ocrslim.graph import Op, Program, Value, read_onnx_file
from ocrslim.vocabulary.last_layer import find_last_layer

CLASSES = 7


def found(model: onnx.ModelProto, folder):
    return find_last_layer(read_onnx_file(saved(folder / "rec.onnx", model), SHAPE).program)


def tail(*nodes, **tensors: np.ndarray) -> onnx.ModelProto:
    """A network that ends with these nodes; they read the steps `4`, [N, T, 8]."""
    first = line_onnx(CLASSES).graph
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in first.initializer}
    return onnx_model(*list(first.node)[:4], *nodes, tensors={**arrays, **tensors}, image=("n", 3, 32, "w"))


def test_weight_and_bias_are_found_with_their_axes(tmp_path):
    last = found(line_onnx(CLASSES), tmp_path)
    assert last.parameters == {"last": 1, "bias": 0} and last.classes == CLASSES


def test_a_turned_weight_has_its_classes_in_front(tmp_path):
    assert found(line_onnx(CLASSES, turned=True), tmp_path).parameters == {"last": 0, "bias": 0}


def test_what_is_added_to_all_classes_alike_stays(tmp_path):
    nodes = (
        node("MatMul", "4 last", "5"),
        node("Add", "5 wide", "6"),
        node("Add", "6 one", "7"),
        node("Softmax", "7", "y", axis=-1),
    )
    last = found(tail(*nodes, wide=weights(1, 1, CLASSES), one=weights(1)), tmp_path)
    assert last.parameters == {"last": 1, "wide": 2}


@pytest.mark.parametrize(
    "nodes, why",
    [
        ([node("MatMul", "4 last", "y")], "no softmax"),
        ([node("MatMul", "4 last", "5"), node("Softmax", "5", "y", axis=1)], "they come from softmax"),
        ([node("MatMul", "4 last", "5"), node("Relu", "5", "6"), node("Softmax", "6", "y", axis=2)], "from relu"),
        (
            [
                node("MatMul", "4 last", "5"),
                node("ReduceMean", "5", "6", axes=[1], keepdims=1),
                node("Add", "5 6", "7"),
                node("Softmax", "7", "y", axis=2),
            ],
            "a sum of computed values",
        ),
        ([node("Transpose", "4", "5", perm=[0, 2, 1]), node("MatMul", "4 5", "6"), node("Softmax", "6", "y", axis=2)],
         "a product of computed values"),
        ([node("Softmax", "4", "y", axis=2)], "they come from transpose|come from squeeze"),
    ],
)  # fmt: skip
def test_other_classes_are_refused_with_the_reason(tmp_path, nodes, why):
    model = tail(*nodes)
    with pytest.raises(GraphError, match=f"its classes are not those of a linear layer: .*({why})"):
        found(model, tmp_path)


def test_logits_that_are_returned_as_well_are_refused(tmp_path):
    model = line_onnx(CLASSES)
    model.graph.output.append(onnx.helper.make_tensor_value_info("6", onnx.TensorProto.FLOAT, None))
    with pytest.raises(GraphError, match="it returns 2 values"):
        found(model, tmp_path)


def test_a_weight_that_another_layer_uses_too_is_refused():
    image, steps, logits, classes = (Value(place, (1, 24, 8)) for place in range(4))
    weight = Value(9, (8, 8), "tied")
    ops = [
        Op("matmul", {"x": image, "y": weight}, [steps]),
        Op("matmul", {"x": steps, "y": weight}, [logits]),
        Op("softmax", {"x": logits}, [classes], {"axis": 2}),
    ]
    with pytest.raises(GraphError, match="other layers use its tied, too"):
        find_last_layer(Program(ops, [image], [classes]))
    assert find_last_layer(Program(ops[1:], [steps], [classes])).parameters == {"tied": 1}
