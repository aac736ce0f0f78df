"""ONNX files as programs: what they compute is what ONNX Runtime computes, and what is not read says why."""

from __future__ import annotations

import numpy as np
import onnx
import paddle
import pytest
from onnx import TensorProto, helper
from onnx_models import node, numbers, onnx_model, photograph, runtime_output, saved, weights

from ocrslim.errors import WeightsError
from ocrslim.graph import read_onnx_file
from ocrslim.graph.frontends.imported import Imported
from ocrslim.models import ImportedNetwork

SHAPE = (1, 3, 32, 48)
OTHER = (2, 3, 64, 96)


def output_of(imported: Imported, image: np.ndarray) -> np.ndarray:
    network = ImportedNetwork(imported)
    network.eval()
    with paddle.no_grad():
        return network(paddle.to_tensor(image)).numpy()


def conv(out: str = "y", inputs: str = "x w", **attributes):
    return node("Conv", inputs, out, **attributes)


W = {"w": weights(8, 3, 3, 3)}
SQUARE = {"w": weights(8, 3, 2, 2)}
UP = {"r": np.zeros(0, np.float32), "s": np.array([1, 1, 4, 4], np.float32)}
M, KS = weights(8, 5), {"k": numbers(2)}
HARD = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}
LINEAR = {"w": weights(8, 3, 3, 3), "m": weights(8, 5), "c": weights(5)}
FLAT = (conv("a", pads=[1] * 4), node("GlobalAveragePool", "a", "g"), node("Flatten", "g", "f"))
BATCH = {name: np.abs(weights(3, seed=place)) for place, name in enumerate(("g", "b", "u", "v"))}
NORM = (
    node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
    node("ReduceMean", "t", "u", axes=[-1]),
    node("Sub", "t u", "d"),
    node("Pow", "d two", "q"),
    node("ReduceMean", "q", "v", axes=[-1]),
    node("Add", "v e", "p"),
    node("Sqrt", "p", "r"),
    node("Div", "d r", "z"),
    node("Mul", "z g", "k"),
    node("Add", "b k", "y"),
)
PARTS = {"two": numbers(2), "four": numbers(4), "zero": numbers(0), "one": numbers(1), "half": numbers(1, 3, 16, 48)}


def sizes_like_torch():
    """`F.interpolate(size=other.shape[2:])`, and an expansion to a computed shape with -1 in it."""
    return (
        conv("a", strides=[2, 2], pads=[1] * 4),
        node("Shape", "x", "whole"),
        node("Slice", "whole two four zero", "last"),
        node("Shape", "a", "small"),
        node("Slice", "small zero two zero", "first"),
        node("Concat", "first last", "size", axis=0),
        node("Resize", "a - - size", "y", mode="linear"),
    )


CASES = {
    "bias": ((conv(inputs="x w b", pads=[1] * 4),), {**W, "b": weights(8)}, 13),
    "same-of-even-window": ((conv(auto_pad="SAME_UPPER"),), SQUARE, 13),
    "same-with-strides": ((conv(auto_pad="SAME_UPPER", strides=[2, 2]),), W, 13),
    "same-below": ((conv(auto_pad="SAME_LOWER"),), SQUARE, 13),
    "dilated": ((conv(dilations=[2, 1], pads=[2, 1, 2, 1]),), W, 13),
    "valid": ((conv(auto_pad="VALID"),), W, 13),
    "uneven-pads": ((conv(pads=[0, 1, 1, 2]),), W, 13),
    "depthwise": ((conv(group=3, pads=[1] * 4),), {"w": weights(6, 1, 3, 3)}, 13),
    "deconv-output-padding": (
        (node("ConvTranspose", "x w b", "y", strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),),
        {"w": weights(3, 4, 3, 3), "b": weights(4)},
        13,
    ),
    "deconv-grouped": ((node("ConvTranspose", "x w", "y", strides=[2, 2], group=3),), {"w": weights(3, 2, 2, 2)}, 13),
    "max-pool-same": ((node("MaxPool", "x", "y", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),), {}, 11),
    "max-pool-ceil": ((node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),), {}, 11),
    "mean-pool-counts-pads": (
        (node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),),
        {},
        11,
    ),
    "mean-pool-leaves-pads-out": ((node("AveragePool", "x", "y", kernel_shape=[3, 2], pads=[1] * 4),), {}, 11),
    "batch-norm": ((node("BatchNormalization", "x g b u v", "y", epsilon=1e-3),), BATCH, 15),
    "nearest-floor": (
        (node("Resize", "x r s", "y", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),),
        UP,
        11,
    ),
    "nearest-rounded": ((node("Resize", "x r s", "y", coordinate_transformation_mode="asymmetric"),), UP, 11),
    "nearest-half-pixel": ((node("Resize", "x - s", "y"),), UP, 13),
    "nearest-of-opset-10": ((node("Resize", "x s", "y"),), UP, 10),
    "upsample": ((node("Upsample", "x s", "y", mode="nearest"),), UP, 9),
    "linear-half-pixel": ((node("Resize", "x - s", "y", mode="linear"),), UP, 13),
    "linear-asymmetric": (
        (node("Resize", "x - s", "y", mode="linear", coordinate_transformation_mode="asymmetric"),),
        UP,
        13,
    ),
    "linear-corners": (
        (node("Resize", "x - s", "y", mode="linear", coordinate_transformation_mode="align_corners"),),
        UP,
        13,
    ),
    "linear-to-computed-size": (sizes_like_torch(), {**W, **PARTS}, 13),
    "gemm": ((*FLAT, node("Gemm", "f t c", "y", transB=1, alpha=0.5, beta=2.0)), {**LINEAR, "t": weights(5, 8)}, 13),
    "matmul-and-bias": ((*FLAT, node("MatMul", "f m", "p"), node("Add", "c p", "y")), LINEAR, 13),
    "clip-by-inputs": ((node("Clip", "x zero six", "y"),), HARD, 13),
    "clip-by-attributes": ((node("Clip", "x", "y", min=-0.5, max=0.25),), {}, 9),
    "clip-below-alone": ((node("Clip", "x zero", "y"),), HARD, 13),
    "hard-sigmoid-default": ((node("HardSigmoid", "x", "y"),), {}, 13),
    "hardswish": ((node("HardSwish", "x", "y"),), {}, 14),
    "hardswish-as-four": (
        (
            node("Add", "x three", "a"),
            node("Clip", "a zero six", "k"),
            node("Mul", "x k", "m"),
            node("Div", "m six", "y"),
        ),
        HARD,
        11,
    ),
    "no-hardswish": (
        (
            node("Add", "x three", "a"),
            node("Clip", "a zero six", "k"),
            node("Mul", "a k", "m"),
            node("Div", "m six", "y"),
        ),
        HARD,
        11,
    ),
    "gelu-as-five": (
        (
            node("Div", "x root", "d"),
            node("Erf", "d", "e"),
            node("Add", "e one", "a"),
            node("Mul", "x a", "m"),
            node("Mul", "m half", "y"),
        ),
        {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)},
        11,
    ),
    "layer-norm-as-nine": (
        NORM,
        {"two": np.float32(2), "e": np.float32(1e-5), "g": weights(3), "b": weights(3, seed=1)},
        11,
    ),
    "layer-norm": (
        (conv("a"), node("Transpose", "a", "t", perm=[0, 2, 3, 1]), node("LayerNormalization", "t g b", "y")),
        {**W, "g": weights(8), "b": weights(8, seed=1)},
        17,
    ),
    "gelu": ((node("Gelu", "x", "y", approximate="tanh"),), {}, 20),
    "swish": ((node("Sigmoid", "x", "s"), node("Mul", "s x", "y")), {}, 13),
    "softmax-before-13": ((node("Softmax", "x", "y", axis=3),), {}, 11),
    "softmax-default": ((node("Softmax", "x", "y"),), {}, 13),
    "split-by-attribute": ((node("Split", "x", "a b", axis=1, split=[1, 2]), node("Mul", "a b", "y")), {}, 11),
    "split-by-input": (
        (node("Split", "x p", "a b", axis=1), node("Mul", "a b", "y")),
        {"p": numbers(2, 1), "unused": numbers(0)},
        13,
    ),
    "split-by-number": ((node("Split", "x", "a b", axis=2, num_outputs=2), node("Sub", "a b", "y")), {}, 18),
    "slice-by-attributes": ((node("Slice", "x", "y", axes=[2], starts=[1], ends=[-1]),), {}, 9),
    "slice-with-steps": (
        (node("Slice", "x a b c d", "y"),),
        {"a": numbers(0, 0), "b": numbers(2**62, 3), "c": numbers(-1, 1), "d": numbers(2, 1)},
        13,
    ),
    "gather-one": ((node("Gather", "x i", "y", axis=1),), {"i": np.array(-1, np.int64)}, 13),
    "gather-several": ((node("Gather", "x i", "y", axis=1),), {"i": numbers(2, 0)}, 13),
    "mean-by-attribute": ((node("ReduceMean", "x", "y", axes=[-1, 2], keepdims=0),), {}, 13),
    "mean-by-input": ((node("ReduceMean", "x a", "y"),), {"a": numbers(2, 3)}, 18),
    "max": ((node("ReduceMax", "x", "y", axes=[1]),), {}, 13),
    "pad": ((node("Pad", "x p v", "y"),), {"p": numbers(0, 0, 1, 2, 0, 0, 3, 0), "v": np.float32(0.5)}, 13),
    "constants-first": (
        (node("Sub", "three x", "a"), node("Div", "six a", "b"), node("Pow", "b three", "y")),
        HARD,
        13,
    ),
    "learned-scalar": ((node("Mul", "s x", "a"), node("Add", "a s", "y")), {"s": np.array([0.7], np.float32)}, 13),
    "squeeze-by-attribute": ((node("ReduceMean", "x", "a", axes=[2]), node("Squeeze", "a", "y", axes=[2])), {}, 11),
    "squeeze-by-input": (
        (node("ReduceMean", "x", "a", axes=[2]), node("Squeeze", "a two", "b"), node("Unsqueeze", "b one", "y")),
        PARTS,
        13,
    ),
    "prelu": ((node("PRelu", "x s", "y"),), {"s": weights(3, 1, 1)}, 13),
    "depth-to-space": (
        (conv("a", pads=[1] * 4), node("DepthToSpace", "a", "y", blocksize=2, mode="CRD")),
        W,
        13,
    ),
    "identities": ((node("Identity", "x", "a"), node("Relu", "a", "b"), node("Dropout", "b", "y")), {}, 11),
    "expand-to-computed": (
        (node("ReduceMean", "x", "a", axes=[2, 3]), node("Shape", "x", "s"), node("Expand", "a s", "y")),
        {},
        13,
    ),
    "unused-unknown-operator": ((node("Relu", "x", "y"), node("Hardmax", "x", "z")), {}, 13),
    "alone": ((conv("a", pads=[1] * 4), node("Hardmax", "a", "b", axis=1), node("Add", "a b", "y")), W, 13),
    "alone-with-attributes": ((node("LpNormalization", "x", "y", axis=1, p=1),), {}, 13),
    "alone-with-a-parameter": ((conv("a"), node("Einsum", "a m", "y", equation="nchw,cd->ndhw")), {**W, "m": M}, 13),
    "alone-with-numbers": (
        (node("Resize", "x - s", "y", mode="cubic"),),
        {"s": np.array([1, 1, 2, 2], np.float32)},
        13,
    ),
    "alone-of-two-results": (
        (node("TopK", "x k", "a i", axis=1), node("Cast", "i", "f", to=1), node("Add", "a f", "y")),
        KS,
        13,
    ),
}


def pool(kind: str = "AveragePool", size: int = 3, **attributes):
    return (node(kind, "x", "y", kernel_shape=[size, size], **attributes),)


def resized_to_the_image(**attributes):
    """A map in the size of the image, which is no whole multiple of it for each image."""
    return (*sizes_like_torch()[:-1], node("Resize", "a - - size", "y", **attributes))


def integers(*nodes):
    """Operators that make the integers `i` of others, `x`, as one number each, between -30 and 30 or so."""
    return (node("Mul", "x nine", "m"), node("Cast", "m", "x7", to=7), *nodes, node("Cast", "i", "y", to=1))


def doubled(*between):
    """A map in another size, computed number by number; `between`: what makes `h2` and `w2` of `h` and `wide`."""
    return (
        node("Shape", "x", "s"),
        node("Gather", "s at2", "h"),
        node("Gather", "s at3", "wide"),
        *between,
        node("Unsqueeze", "h2 zero", "h3"),
        node("Unsqueeze", "w2 zero", "w3"),
        node("Slice", "s zero two zero", "first"),
        node("Concat", "first h3 w3", "size", axis=0),
        node("Resize", "x - - size", "y", mode="linear"),
    )


def class_token(*between, shape: str = "n one three"):
    """A vector in front of a sequence, once for each image of the batch."""
    return (
        node("ReduceMean", "x", "mean", axes=[2], keepdims=0),
        node("Transpose", "mean", "sequence", perm=[0, 2, 1]),
        node("Shape", "x", "s"),
        node("Slice", "s zero one zero", "n"),
        node("Concat", shape, "wanted", axis=0),
        *between,
        node("Expand", f"token {'known' if between else 'wanted'}", "tokens"),
        node("Concat", "tokens sequence", "y", axis=1),
    )


AT = {name: np.array(number, np.int64) for name, number in (("at2", 2), ("at3", 3), ("last", -1), ("twice", 2))}
MORE = {**PARTS, **AT, "three": numbers(3), "minus": numbers(-1), "ones": numbers(1, 1, 1), "token": weights(1, 1, 3)}
WHOLE = {**AT, "nine": np.float32(9), "one7": np.array(1, np.int64), "three7": numbers(3)}
PLAIN_NORM = (conv("a"), node("Transpose", "a", "t", perm=[0, 2, 3, 1]), *NORM[1:-1])
NORMED = {**W, "two": np.float32(2), "e": np.float32(1e-5), "g": weights(8)}

# at sizes that a stride does not divide, too
ODD_CASES = {
    "same-counts-pads": (pool(auto_pad="SAME_UPPER", count_include_pad=1), {}, 11),
    "uneven-counts-pads": (pool(pads=[0, 0, 1, 1], count_include_pad=1), {}, 11),
    "ceil-counts-pads": (pool(strides=[2, 2], pads=[1] * 4, ceil_mode=1, count_include_pad=1), {}, 11),
    "ceil-counts-pads-19": (pool(strides=[2, 2], pads=[1] * 4, ceil_mode=1, count_include_pad=1), {}, 19),
    "ceil-beyond-the-map": (pool("MaxPool", 2, strides=[4, 4], ceil_mode=1), {}, 11),
    "ceil-into-the-pads": (pool("MaxPool", 2, strides=[2, 2], pads=[1] * 4, ceil_mode=1), {}, 11),
    "same-of-one": (pool("MaxPool", 1, strides=[3, 2], auto_pad="SAME_UPPER"), {}, 11),
    "nearest-to-computed": (resized_to_the_image(mode="nearest"), {**W, **PARTS}, 13),
    "nearest-up-to-computed": (resized_to_the_image(nearest_mode="ceil"), {**W, **PARTS}, 13),
    "linear-to-one": (
        (node("Resize", "x - s", "y", mode="linear"),),
        {"s": np.array([1, 1, 1 / 32, 1 / 32], np.float32)},
        13,
    ),
    "doubled": (doubled(node("Mul", "h twice", "h2"), node("Mul", "wide twice", "w2")), MORE, 13),
    "halved": (doubled(node("Div", "h twice", "h2"), node("Div", "wide twice", "w2")), MORE, 13),
    "numbers-of-32-bits": (
        doubled(
            node("Cast", "h", "small", to=6),
            node("Mul", "small small2", "product"),
            node("Cast", "product", "h2", to=7),
            node("Identity", "wide", "w2"),
        ),
        {**MORE, "small2": np.array(2, np.int32)},
        13,
    ),
    "last-of-a-row": ((node("Gather", "x last", "y", axis=3),), AT, 13),
    "class-token": (class_token(), MORE, 13),
    "class-token-of-a-mask": (
        class_token(
            node("Equal", "wanted minuses", "free"),
            node("Where", "free ones wanted", "known"),
            shape="n minus minus",
        ),
        {**MORE, "minuses": numbers(-1, -1, -1)},
        13,
    ),
    "integers-divided": (integers(node("Div", "x7 three7", "i")), WHOLE, 13),
    "integers-clipped": (integers(node("Clip", "x7 one7", "i")), WHOLE, 13),
    "power-of-integers": (
        (node("Abs", "x", "a"), node("Pow", "a p", "y")),
        {"p": numbers(1, 2, 3).reshape(3, 1, 1)},
        13,
    ),
    "last-index": (
        (
            node("Floor", "x", "f"),
            node("ArgMax", "f", "i", axis=3, select_last_index=1),
            node("Cast", "i", "y", to=1),
        ),
        {},
        13,
    ),
    "double-precision": (
        (node("Cast", "x", "d", to=11), node("CumSum", "d at2", "e"), node("Cast", "e", "f", to=1), conv(inputs="f w")),
        {**W, **AT},
        13,
    ),
    "half-precision": (
        (
            node("Floor", "x", "whole"),
            node("Cast", "whole", "d", to=10),
            node("Relu", "d", "e"),
            node("Cast", "e", "f", to=1),
            conv(inputs="f w"),
        ),
        W,
        13,
    ),
    "pads-below-zero": ((node("Pad", "x p", "y"),), {"p": numbers(0, 0, -1, 2, 0, 0, 3, -2)}, 13),
    "deconv-computed-weight": (
        (node("Neg", "w", "v"), node("ConvTranspose", "x v", "y", strides=[2, 2])),
        {"w": weights(3, 4, 2, 2)},
        13,
    ),
    "compared": (
        (
            node("GreaterOrEqual", "x low", "a"),
            node("LessOrEqual", "x high", "b"),
            node("And", "a b", "c"),
            node("Where", "c x low", "y"),
        ),
        {"low": np.float32(-0.5), "high": np.float32(0.5)},
        16,
    ),
    "group-norm": (
        (conv("a"), node("GroupNormalization", "a g b", "y", num_groups=4)),
        {**W, "g": weights(8), "b": weights(8, seed=1)},
        21,
    ),
    "norm-without-bias": ((*PLAIN_NORM, node("Add", "k t", "y")), NORMED, 11),
    "norm-with-one-number": ((*PLAIN_NORM, node("Add", "k h", "y")), {**NORMED, "h": np.float32(0.5)}, 11),
    "norm-in-four-axes": (
        (*PLAIN_NORM, node("Add", "k h", "y")),
        {**NORMED, "g": weights(1, 1, 1, 8), "h": weights(1, 1, 1, 8, seed=1)},
        11,
    ),
    "dropout-off": (
        (node("Relu", "x", "a"), node("Dropout", "a half off", "y")),
        {"half": np.float32(0.5), "off": np.array(False)},
        13,
    ),
}
ODD = (1, 3, 33, 51)


@pytest.mark.parametrize("name", ODD_CASES)
def test_forms_that_paddle_has_in_part_are_right_at_odd_sizes_too(tmp_path, name):
    nodes, tensors, opset = ODD_CASES[name]
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors, opset=opset))
    imported = read_onnx_file(file, SHAPE)
    for place, shape in enumerate((SHAPE, OTHER, ODD)):
        image = photograph(*shape, seed=place)
        expected = runtime_output(file, image)
        found = output_of(imported, image)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
        assert expected.std() > 1e-3


def test_a_norm_over_several_axes(tmp_path):
    tensors = {"g": weights(3, 32, 48), "b": weights(3, 32, 48, seed=1)}
    model = onnx_model(node("LayerNormalization", "x g b", "y", axis=1), tensors=tensors, opset=17)
    file = saved(tmp_path / "m.onnx", model)
    image = photograph(*SHAPE)
    expected = runtime_output(file, image)
    assert np.abs(output_of(read_onnx_file(file, SHAPE), image) - expected).max() < 1e-4


def test_factors_of_an_operator_alone_are_no_parameters(tmp_path):
    nodes = (conv("a"), node("Resize", "a r s", "y", nearest_mode="ceil"))
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors={**W, **UP}))
    assert set(read_onnx_file(file, SHAPE).arrays) == {"w"}


def test_a_size_in_an_attribute_is_fixed(tmp_path):
    nodes = (node("Split", "x", "a b", axis=3, num_outputs=2), node("ReduceMean", "a", "m"), node("Add", "m b", "y"))
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, opset=18))
    assert read_onnx_file(file, (1, 3, 32, 47)).program.inputs[0].shape == (-1, 3, 32, 47)


def test_a_dropout_whose_mask_is_used_is_refused(tmp_path):
    nodes = (node("Dropout", "x", "a m"), node("Cast", "m", "f", to=1), node("Mul", "a f", "y"))
    with pytest.raises(WeightsError, match="not known here \\(Dropout x1\\)"):
        read_onnx_file(saved(tmp_path / "m.onnx", onnx_model(*nodes, opset=11)), SHAPE)


@pytest.mark.parametrize("name", CASES)
def test_operators_compute_what_onnx_runtime_does_at_any_size(tmp_path, name):
    nodes, tensors, opset = CASES[name]
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors, opset=opset))
    imported = read_onnx_file(file, SHAPE)
    for place, shape in enumerate((SHAPE, OTHER)):
        image = photograph(*shape, seed=place)
        expected = runtime_output(file, image)
        assert np.abs(output_of(imported, image) - expected).max() <= 1e-4 * np.abs(expected).max()
        assert expected.std() > 1e-3


def test_chains_become_one_operator(tmp_path):
    def operators(name: str) -> list[str]:
        nodes, tensors, opset = CASES[name]
        file = saved(tmp_path / f"{name}.onnx", onnx_model(*nodes, tensors=tensors, opset=opset))
        return [op.name for op in read_onnx_file(file, SHAPE).program.ops]

    assert operators("hardswish-as-four") == ["hardswish"]
    assert operators("gelu-as-five") == ["gelu"]
    assert operators("layer-norm-as-nine") == ["transpose", "layer_norm"]
    assert "hardswish" not in operators("no-hardswish")


def test_a_shape_computed_of_the_image_follows_it_and_its_numbers_stay(tmp_path):
    nodes = (
        conv("a", pads=[1] * 4),
        node("Shape", "a", "s"),
        node("Slice", "s zero one zero", "n"),
        node("Cast", "n", "batch", to=TensorProto.INT32),
        node("Cast", "batch", "again", to=TensorProto.INT64),
        node("Concat", "again four two rest", "t", axis=0),
        node("Reshape", "a t", "y"),
    )
    tensors = {**W, **PARTS, "rest": numbers(-1)}
    imported = read_onnx_file(saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors)), SHAPE)
    (reshape,) = [op for op in imported.program.ops if op.name == "reshape"]
    assert reshape.ints("shape") == [0, 4, 2, -1]
    assert [op.name for op in imported.program.ops] == ["conv2d", "reshape"]
    assert imported.program.inputs[0].shape == (-1, 3, -1, -1)
    assert reshape["x"].shape == (-1, 8, -1, -1)


def test_sizes_that_the_network_fixes_without_saying_so_are_known(tmp_path):
    nodes = (conv("a", strides=[32, 1]), node("Squeeze", "a", "y", axes=[2]))
    model = onnx_model(*nodes, tensors={"w": weights(8, 3, 32, 3)}, opset=11)
    imported = read_onnx_file(saved(tmp_path / "m.onnx", model), SHAPE)
    assert imported.program.inputs[0].shape == (-1, 3, 32, -1)


def test_a_tensor_that_two_operators_share_is_two_parameters(tmp_path):
    nodes = (
        conv("a", pads=[1] * 4),
        node("Add", "a bias", "b"),
        conv("c", "b v", pads=[1] * 4),
        node("Identity", "bias", "same"),
        node("Add", "c same", "d"),
        node("BatchNormalization", "d one zero zero one", "y"),
    )
    tensors = {**W, "v": weights(8, 8, 3, 3), "bias": weights(8, 1, 1)}
    tensors.update(one=np.ones(8, np.float32), zero=np.zeros(8, np.float32))
    imported = read_onnx_file(saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors)), SHAPE)
    (norm,) = [op for op in imported.program.ops if op.name == "batch_norm"]
    named = {argument: norm[argument].parameter for argument in ("scale", "bias", "mean", "variance")}
    assert named == {"mean": "zero", "variance": "one", "scale": "one@y[1]", "bias": "zero@y[2]"}
    assert {key for key in imported.arrays if key.startswith("bias")} == {"bias", "bias@d[1]"}
    np.testing.assert_array_equal(imported.arrays["bias@d[1]"], tensors["bias"])


def changed(model: onnx.ModelProto, change) -> onnx.ModelProto:
    change(model)
    return model


def plain(**settings) -> onnx.ModelProto:
    return onnx_model(conv(pads=[1] * 4), tensors=dict(W), **settings)


def in_other_file(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("valid_ratio", TensorProto.FLOAT, [1]))


def half(model):
    model.graph.initializer[0].data_type = TensorProto.FLOAT16
    model.graph.initializer[0].raw_data = np.zeros((8, 3, 3, 3), np.float16).tobytes()


def own_domain(model):
    model.graph.node[0].domain = "com.example"


def branch(model):
    inner = helper.make_graph([], "g", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))


def no_image(model):
    model.graph.input[0].type.tensor_type.shape.dim.pop()


def cyclic(model):
    model.graph.node[0].input[0] = "y"


REFUSED = {
    "external": (in_other_file, "w lies in another file, which is not opened"),
    "two-inputs": (second_input, "2 inputs \\(x, valid_ratio\\), expected one"),
    "half": (half, "w is float16, expected float32"),
    "own-domain": (own_domain, "operators of other makers \\(com.example.Conv x1\\)"),
    "branch": (branch, "control flow \\(If x1\\)"),
    "no-image": (no_image, "expected a float32 \\(1\\) image \\[N, C, H, W\\]"),
    "cyclic": (cyclic, "takes y, which nothing before it makes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_in_one_line(tmp_path, name):
    change, message = REFUSED[name]
    file = saved(tmp_path / "m.onnx", changed(plain(), change))
    with pytest.raises(WeightsError, match=message) as refusal:
        read_onnx_file(file, SHAPE)
    assert str(refusal.value).startswith(f"{file}: ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("opset", [8, 40])
def test_an_opset_out_of_range_is_refused_with_the_range(tmp_path, opset):
    with pytest.raises(WeightsError, match=f"opset {opset}, expected 9 to 22"):
        read_onnx_file(saved(tmp_path / "m.onnx", plain(opset=opset)), SHAPE)


def test_operators_that_cannot_be_run_alone_are_all_listed_once(tmp_path):
    nodes = (
        node("RandomNormalLike", "x", "a"),
        node("RandomNormalLike", "a", "b"),
        node("Dropout", "b r t", "c"),
        node("Bernoulli", "c", "y"),
    )
    tensors = {"r": np.float32(0.5), "t": np.array(True)}
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors, opset=15))
    with pytest.raises(WeightsError, match="Bernoulli x1, Dropout x1, RandomNormalLike x2"):
        read_onnx_file(file, SHAPE)


def test_quantised_networks_are_refused(tmp_path):
    nodes = (node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "q s", "y"))
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors={"s": np.float32(0.1)}))
    with pytest.raises(WeightsError, match="quantised \\(DequantizeLinear x1, QuantizeLinear x1\\).*float32"):
        read_onnx_file(file, SHAPE)


def test_a_fixed_input_size_is_named(tmp_path):
    file = saved(tmp_path / "m.onnx", plain(image=("n", 3, 64, "w")))
    with pytest.raises(WeightsError, match="fixes the height of its input at 64, asked for was 32"):
        read_onnx_file(file, SHAPE)
    assert read_onnx_file(file, (1, 3, 64, 48)).program.inputs[0].shape == (-1, 3, 64, -1)


def test_an_image_that_the_network_does_not_take_is_refused_with_the_operator(tmp_path):
    nodes = (conv("a", strides=[32, 1]), node("Squeeze", "a", "y", axes=[2]))
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors={"w": weights(8, 3, 32, 3)}, opset=11))
    with pytest.raises(WeightsError, match="\\(Squeeze\\) does not fit an input of this size") as refusal:
        read_onnx_file(file, (1, 3, 96, 48))
    assert "\n" not in str(refusal.value)


def test_damaged_files_are_refused_in_one_line(tmp_path):
    data = plain().SerializeToString()
    random = np.random.default_rng(0)
    for end in (0, 1, 20, len(data) // 2, len(data) - 1):
        (tmp_path / "m.onnx").write_bytes(data[:end])
        with pytest.raises(WeightsError):
            read_onnx_file(tmp_path / "m.onnx", SHAPE)
    for _ in range(200):
        broken = bytearray(data)
        broken[int(random.integers(len(data)))] ^= int(random.integers(1, 256))
        (tmp_path / "m.onnx").write_bytes(broken)
        try:
            read_onnx_file(tmp_path / "m.onnx", SHAPE)
        except WeightsError as refusal:
            assert "\n" not in str(refusal)


BROKEN = {
    # ONNX's own inference ends the process on this one
    "rank": ((node("ConvTranspose", "w b", "y"),), {**W, "b": weights(4)}, "a window that does not fit a map"),
    "arity": ((node("Relu", "x x", "y"),), {}, "\\(Relu\\) is damaged: .*input size 2 not in range"),
    "attribute": ((node("Relu", "x", "y", axis=1),), {}, "Unrecognized attribute: axis"),
    "type": ((node("Nothing", "x", "y"),), {}, "operators that ONNX does not have in opset 13 \\(Nothing x1\\)"),
    "text": ((node("Resize", "x - s", "y", mode=b"\xff"),), UP, "a name in it is no text"),
    "output": ((node("Identity", "w", "y"),), W, "an output that no operator computes"),
    "nan": ((conv(),), {"w": np.full((8, 3, 3, 3), np.nan, np.float32)}, "w holds 216 NaN or infinite values of 216"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_operators_are_refused_in_one_line(tmp_path, name):
    nodes, tensors, message = BROKEN[name]
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors))
    with pytest.raises(WeightsError, match=message) as refusal:
        read_onnx_file(file, SHAPE)
    assert str(refusal.value).startswith(f"{file}: ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 3, 0, 48)])
def test_only_shapes_of_images_are_taken(tmp_path, shape):
    with pytest.raises(WeightsError, match="expected positive sizes \\[N, C, H, W\\]"):
        read_onnx_file(saved(tmp_path / "m.onnx", plain()), shape)


def test_numbers_of_a_hostile_file_are_not_computed_beyond_bounds(tmp_path):
    nodes = (node("Tile", "one many", "huge"), node("ReduceSum", "huge", "s", keepdims=0), node("Add", "x s", "y"))
    tensors = {"one": np.ones((1, 1), np.float32), "many": numbers(40_000, 40_000)}
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors))
    program = read_onnx_file(file, SHAPE).program
    assert [op.name for op in program.ops] == ["tile", "sum", "add"]
