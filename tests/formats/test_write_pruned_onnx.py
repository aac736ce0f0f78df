"""ONNX files, written back with fewer channels: the same operators, and what the silenced file computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from file_networks import difference, graph_of, in_file, silenced_arrays, some_cuts
from onnx import TensorProto, helper, numpy_helper
from onnx_models import node, numbers, onnx_model, photograph, runtime_output, saved, weights

from ocrslim.errors import ArtifactError, PlanError
from ocrslim.formats import onnx_metadata, write_cut_classes_onnx, write_pruned_onnx
from ocrslim.graph import read_onnx_file
from ocrslim.models import ImportedNetwork
from ocrslim.pruning import cut_arrays

SHAPE = (2, 3, 32, 48)


def positive(*shape: int) -> np.ndarray:
    return np.abs(weights(*shape)) + np.float32(0.5)


def detector() -> onnx.ModelProto:
    """Depthwise and grouped convolutions, squeeze-and-excitation, concatenation, a transposed head; shared tensors."""
    hard = {"three": np.float32(3), "nought": np.float32(0), "six": np.float32(6)}
    tensors = {
        **hard,
        **{"stem": weights(8, 3, 3, 3), "expand": weights(16, 8, 1, 1), "deep": weights(16, 1, 3, 3)},
        **{"squeeze": weights(4, 16, 1, 1), "excite": weights(16, 4, 1, 1), "project": weights(8, 16, 1, 1)},
        **{"down": weights(12, 8, 3, 3), "side": weights(8, 6, 3, 3), "fuse": weights(8, 16, 3, 3)},
        **{"up": weights(8, 8, 2, 2), "last": weights(8, 1, 2, 2)},
        **{"one": positive(8), "zero": weights(8), "bias": weights(16), "bias_shape": numbers(1, 16, 1, 1)},
        **{"none": np.zeros(0, np.float32), "double": np.array([1, 1, 2, 2], np.float32), "eight": weights(1, 8, 1, 1)},
    }
    nodes = (
        node("Conv", "x stem", "a", strides=[2, 2], pads=[1] * 4),
        node("BatchNormalization", "a one zero zero one", "b"),
        node("Add", "b three", "b3"),
        node("Clip", "b3 nought six", "b6"),
        node("Mul", "b b6", "bm"),
        node("Div", "bm six", "c"),
        node("Conv", "c expand bias", "d"),
        node("Conv", "d deep", "e", group=16, pads=[1] * 4),
        node("Reshape", "bias bias_shape", "column"),
        node("Add", "e column", "f"),
        node("Identity", "f", "same"),
        node("GlobalAveragePool", "same", "g"),
        node("Conv", "g squeeze", "h"),
        node("Relu", "h", "i"),
        node("Conv", "i excite", "j"),
        node("HardSigmoid", "j", "k"),
        node("Mul", "same k", "l"),
        node("Conv", "l project", "m"),
        node("Add", "m c", "n"),
        node("Conv", "n down", "o", strides=[2, 2], pads=[1] * 4),
        node("Relu", "o", "p"),
        node("Conv", "p side", "q", group=2, pads=[1] * 4),
        node("Add", "q eight", "r"),
        node("Resize", "r none double", "s", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Concat", "n s", "t", axis=1),
        node("Conv", "t fuse", "u", pads=[1] * 4),
        node("Add", "u eight", "v"),
        node("ConvTranspose", "v up zero", "w", strides=[2, 2]),
        node("Relu", "w", "z"),
        node("ConvTranspose", "z last", "y", strides=[2, 2]),
    )
    return onnx_model(*nodes, tensors=tensors)


def recogniser() -> onnx.ModelProto:
    """A map read as a sequence, attention whose shapes are put together of numbers and sizes, as PP-OCRv4's."""
    tensors = {
        **{"conv": weights(12, 3, 3, 3), "mix": weights(16, 12, 3, 3), "scale": np.float32(8**-0.5)},
        **{"qkv": weights(16, 48), "qkv_bias": weights(48), "after": weights(16, 16), "wide": weights(16, 24)},
        **{"narrow": weights(24, 16), "chars": weights(16, 7), "g": positive(16), "b": weights(16)},
        **{"i0": numbers(0), "i1": numbers(1), "i2": numbers(2), "i3": numbers(3), "i32": np.array([3], np.int32)},
        **{"heads": numbers(2), "each": numbers(8), "merged": numbers(16), "rest": numbers(0, 0, -1)},
    }
    part = [(f"part{at}", f"i{at} i{at + 1} i0", name) for at, name in enumerate("qkv")]
    nodes = (
        node("Conv", "x conv", "a", strides=[2, 2], pads=[1] * 4),
        node("Relu", "a", "a1"),
        node("Conv", "a1 mix", "a2", pads=[1] * 4),
        node("ReduceMean", "a2", "a3", axes=[2]),
        node("Shape", "a3", "shape"),
        node("Slice", "shape i0 i2 i0", "front"),
        node("Concat", "front minus", "flat", axis=0),
        node("Reshape", "a3 flat", "a4"),
        node("Transpose", "a4", "seq", perm=[0, 2, 1]),
        node("MatMul", "seq qkv", "p"),
        node("Add", "qkv_bias p", "p1"),
        node("Shape", "seq", "whole"),
        node("Slice", "whole i1 i2 i0", "length"),
        node("Cast", "i32", "three", to=TensorProto.INT64),
        node("Concat", "i0 length three heads each", "split", axis=0),
        node("Reshape", "p1 split", "p2"),
        node("Transpose", "p2", "p3", perm=[2, 0, 3, 1, 4]),
        *(node("Slice", f"p3 {bounds}", name) for name, bounds, _ in part),
        *(node("Squeeze", f"{name} i0", out) for name, _, out in part),
        node("Mul", "q scale", "qs"),
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]),
        node("MatMul", "qs kt", "m"),
        node("Softmax", "m", "s", axis=-1),
        node("MatMul", "s v", "o"),
        node("Transpose", "o", "o1", perm=[0, 2, 1, 3]),
        node("Concat", "i0 length merged", "join", axis=0),
        node("Reshape", "o1 join", "o2"),
        node("MatMul", "o2 after", "o3"),
        node("Add", "seq o3", "r"),
        node("LayerNormalization", "r g b", "n"),
        node("MatMul", "n wide", "w"),
        node("Relu", "w", "w1"),
        node("MatMul", "w1 narrow", "w2"),
        node("MatMul", "w2 chars", "y"),
    )
    return onnx_model(*nodes, tensors={**tensors, "minus": numbers(-1)}, opset=17, image=("n", 3, 32, "w"))


def parts() -> onnx.ModelProto:
    """Channels split by numbers, a size to resize to with a number of channels in it, a reshape to that number."""
    tensors = {
        **{"conv": weights(8, 3, 3, 3), "next": weights(12, 4, 3, 3), "last": weights(12, 2)},
        **{"sizes": numbers(4, 4), "none": np.zeros(0, np.float32), "big": numbers(2, 12, 5, 7)},
        "flat": numbers(-1, 12),
    }
    nodes = (
        node("Conv", "x conv", "a", strides=[4, 4]),
        node("Split", "a sizes", "b c", axis=1),
        node("Mul", "b c", "d"),
        node("Conv", "d next", "e", pads=[1] * 4),
        node("Resize", "e none none big", "j", mode="linear"),
        node("ReduceMean", "j", "k", axes=[2, 3]),
        node("Reshape", "k flat", "l"),
        node("MatMul", "l last", "y"),
    )
    return onnx_model(*nodes, tensors=tensors, image=(2, 3, "h", "w"))


def recurrent() -> onnx.ModelProto:
    """An LSTM of tensors in Paddle's order of gates, which the file puts into ONNX's, from zeros on."""
    tensors = {
        **{"conv": weights(6, 3, 3, 3), "w": weights(20, 6), "r": weights(20, 5, seed=1), "chars": weights(5, 7)},
        **{"b": weights(20, seed=2), "c": weights(20, seed=3)},
        "first": np.zeros((1, 2, 5), np.float32),
        **{"i0": numbers(0), "i5": numbers(5), "i15": numbers(15), "i20": numbers(20), "i1": numbers(1)},
    }
    ordered = []
    for name in "wrbc":
        ordered += [
            node("Slice", f"{name} i0 i5 i0", f"{name}_input"),
            node("Slice", f"{name} i15 i20 i0", f"{name}_output"),
            node("Slice", f"{name} i5 i15 i0", f"{name}_rest"),
            node("Concat", f"{name}_input {name}_output {name}_rest", f"{name}_onnx", axis=0),
            node("Unsqueeze", f"{name}_onnx", f"{name}1", axes=[0]),
        ]
    nodes = (
        node("Conv", "x conv", "a", strides=[2, 2], pads=[1] * 4),
        node("ReduceMean", "a", "s", axes=[2], keepdims=0),
        node("Transpose", "s", "t", perm=[2, 0, 1]),
        *ordered,
        node("Concat", "b1 c1", "bias", axis=1),
        node("LSTM", "t w1 r1 bias - first first", "l", hidden_size=5),
        node("Squeeze", "l", "m", axes=[1]),
        node("MatMul", "m chars", "y"),
    )
    return onnx_model(*nodes, tensors=tensors, opset=11, image=(2, 3, "h", "w"))


def recurrent_from_zeros() -> onnx.ModelProto:
    """The same with biases of zeros, behind another tensor that is the same array."""
    model = recurrent()
    for tensor in model.graph.initializer:
        if tensor.name in "bc":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(20, np.float32), tensor.name))
        elif tensor.name in ("conv", "w"):
            tensor.CopyFrom(
                numpy_helper.from_array(weights(20, *((3, 3, 3) if tensor.name == "conv" else (20,))), tensor.name)
            )
    model.graph.initializer.insert(0, numpy_helper.from_array(np.zeros(20, np.float32), "shift"))
    names = [one.output[0] for one in model.graph.node]
    model.graph.node.insert(names.index("t") + 1, node("Add", "t shift", "shifted"))
    (lstm,) = [one for one in model.graph.node if one.op_type == "LSTM"]
    lstm.input[0] = "shifted"
    return model


MODELS = {
    **{"detector": detector, "recogniser": recogniser, "parts": parts},
    **{"recurrent": recurrent, "recurrent-from-zeros": recurrent_from_zeros},
}


@pytest.fixture(scope="module", params=MODELS)
def case(request, tmp_path_factory):
    """A file that notes the sizes of its values, the network in it and its groups."""
    model = onnx.shape_inference.infer_shapes(MODELS[request.param]())
    model.metadata_props.add(key="character", value="0\n1")
    file = saved(tmp_path_factory.mktemp("onnx") / "model.onnx", model)
    network = ImportedNetwork(read_onnx_file(file, SHAPE))
    network.eval()
    return file, network, graph_of(network, SHAPE)


def written(file, target, network, cuts):
    arrays, groups = cut_arrays(network, cuts)
    write_pruned_onnx(file, target, in_file(network, arrays), in_file(network, groups), SHAPE)
    return target


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_the_pruned_file_computes_what_the_silenced_one_does(case, tmp_path, ratio):
    file, network, graph = case
    cuts = some_cuts(graph, ratio)
    pruned = written(file, tmp_path / "pruned.onnx", network, cuts)
    silenced = in_file(network, silenced_arrays(network, graph, cuts))
    write_pruned_onnx(file, tmp_path / "silenced.onnx", silenced, {}, SHAPE)
    x = photograph(*SHAPE)
    expected = runtime_output(tmp_path / "silenced.onnx", x)
    assert difference(runtime_output(pruned, x), expected) < 1e-4
    assert difference(runtime_output(file, x), expected) > 1e-3  # silencing is seen at all
    onnx.checker.check_model(str(pruned), full_check=True)


def test_the_pruned_file_can_be_read_and_pruned_again(case, tmp_path):
    file, network, graph = case
    pruned = written(file, tmp_path / "pruned.onnx", network, some_cuts(graph, 0.5))
    again = ImportedNetwork(read_onnx_file(pruned, SHAPE))
    assert {name: group.size for name, group in graph_of(again, SHAPE).groups.items()} == {
        name: group.size - int(group.size * 0.5) for name, group in graph.groups.items()
    }


CHANGING = ("group", "hidden_size")


def test_operators_names_attributes_and_metadata_stay(case, tmp_path):
    file, network, graph = case
    old = onnx.load(file)
    new = onnx.load(written(file, tmp_path / "pruned.onnx", network, some_cuts(graph, 0.5)))
    assert [one.op_type for one in old.graph.node] == [one.op_type for one in new.graph.node]
    assert [list(one.output) for one in old.graph.node] == [list(one.output) for one in new.graph.node]
    assert (old.opset_import, old.ir_version, old.metadata_props) == (
        new.opset_import,
        new.ir_version,
        new.metadata_props,
    )
    for one, other in zip(old.graph.node, new.graph.node):
        kept = [attribute for attribute in one.attribute if attribute.name not in CHANGING]
        assert kept == [attribute for attribute in other.attribute if attribute.name not in CHANGING]
    changed = sum(list(one.input) != list(other.input) for one, other in zip(old.graph.node, new.graph.node))
    # tensors and shapes that one operator shares with another that is cut otherwise; bounds of an LSTM's gates
    assert changed <= (20 if "l" in {one.output[0] for one in old.graph.node if one.op_type == "LSTM"} else 7)
    assert [value.name for value in old.graph.value_info] == [value.name for value in new.graph.value_info]


def test_without_new_arrays_the_file_is_the_same(case, tmp_path):
    file, _, _ = case
    write_pruned_onnx(file, tmp_path / "same.onnx", {}, {}, SHAPE)
    assert onnx.load(tmp_path / "same.onnx") == onnx.load(file)


def test_a_tensor_that_two_operators_share_gets_a_copy_only_where_they_differ(tmp_path):
    nodes = (
        node("Conv", "x w", "a"),
        node("Add", "a s", "b"),
        node("Conv", "b v", "c"),
        node("Add", "c s", "y"),
    )
    tensors = {"w": weights(8, 3, 1, 1), "v": weights(8, 8, 1, 1), "s": weights(8, 1, 1)}
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors))
    keep = [0, 3, 4]
    cut = {"w": tensors["w"][keep], "v": tensors["v"][:, keep], "s": tensors["s"][keep], "s@y[1]": tensors["s"]}
    write_pruned_onnx(file, tmp_path / "cut.onnx", cut, {}, SHAPE)
    assert list(onnx.load(tmp_path / "cut.onnx").graph.node[3].input) == ["c", "s@y[1]"]
    both = {"s": 2 * tensors["s"], "s@y[1]": 2 * tensors["s"]}
    write_pruned_onnx(file, tmp_path / "both.onnx", both, {}, SHAPE)
    assert list(onnx.load(tmp_path / "both.onnx").graph.node[3].input) == ["c", "s"]


@pytest.mark.parametrize("opset", [9, 13])
def test_ranges_of_channels_follow_where_their_parts_stay_equal(tmp_path, opset):
    bounds = {"i0": numbers(0), "i4": numbers(4), "i8": numbers(8), "i1": numbers(1)}
    if opset == 9:
        halves = (
            node("Slice", "a", "b", axes=[1], starts=[0], ends=[4]),
            node("Slice", "a", "c", axes=[1], starts=[4], ends=[8]),
        )
    else:
        halves = (node("Slice", "a i0 i4 i1", "b"), node("Slice", "a i4 i8 i1", "c"))
    nodes = (node("Conv", "x w", "a"), *halves, node("Mul", "b c", "d"), node("Conv", "d v", "y"))
    tensors = {"w": weights(8, 3, 1, 1), "v": weights(2, 4, 1, 1)}
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors={**tensors, **bounds}, opset=opset))
    keep = [0, 2, 3]
    cut = {"w": tensors["w"][[*keep, *(4 + one for one in keep)]], "v": tensors["v"][:, keep]}
    write_pruned_onnx(file, tmp_path / "cut.onnx", cut, {}, SHAPE)
    silenced = tensors["v"].copy()
    silenced[:, 1] = 0
    write_pruned_onnx(file, tmp_path / "silenced.onnx", {"v": silenced}, {}, SHAPE)
    x = photograph(*SHAPE)
    expected = runtime_output(tmp_path / "silenced.onnx", x)
    assert difference(runtime_output(tmp_path / "cut.onnx", x), expected) < 1e-5
    uneven = {"w": tensors["w"][:7], "v": tensors["v"]}
    with pytest.raises(PlanError, match="takes 8 channels apart at 4, which has no counterpart among 7"):
        write_pruned_onnx(file, tmp_path / "uneven.onnx", uneven, {}, SHAPE)


def test_arrays_of_a_constant_node_stay_there(tmp_path):
    value = numpy_helper.from_array(weights(8, 3, 1, 1))
    nodes = (helper.make_node("Constant", [], ["w"], value=value), node("Conv", "x w", "y"))
    file = saved(tmp_path / "m.onnx", onnx_model(*nodes))
    write_pruned_onnx(file, tmp_path / "new.onnx", {"w": np.ones((8, 3, 1, 1), np.float32)}, {}, SHAPE)
    made = onnx.load(tmp_path / "new.onnx")
    assert not made.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(made.graph.node[0].attribute[0].t), np.ones((8, 3, 1, 1)))


@pytest.fixture
def plain(tmp_path):
    nodes = (node("Conv", "x w", "a"), node("Conv", "a v", "y"))
    tensors = {"w": weights(8, 3, 1, 1), "v": weights(4, 8, 1, 1)}
    return saved(tmp_path / "m.onnx", onnx_model(*nodes, tensors=tensors))


def test_arrays_that_do_not_fit_are_refused_and_nothing_is_written(plain, tmp_path):
    target = tmp_path / "out.onnx"
    for arrays, message in (
        ({"other": weights(8, 3, 1, 1)}, "has no tensor other"),
        ({"w": weights(5, 3, 1, 1)}, "Conv y reads 8 channels in 1 groups, it is given 5"),
        ({"v": weights(3, 8, 1, 1)}, "its output y becomes \\[2, 3, 32, 48\\], expected \\[2, 4, 32, 48\\]"),
        ({"w": weights(8, 3)}, "w has 4 axes, the new one 2"),
    ):
        with pytest.raises(PlanError, match=message) as refusal:
            write_pruned_onnx(plain, target, arrays, {}, SHAPE)
        assert "\n" not in str(refusal.value)
        assert not target.exists()


def test_the_source_is_not_written_to(plain):
    before = plain.read_bytes()
    with pytest.raises(ArtifactError, match="expected another file"):
        write_pruned_onnx(plain, plain.parent / "." / plain.name, {}, {}, SHAPE)
    assert plain.read_bytes() == before


def test_outputs_get_smaller_only_where_that_is_asked_for(tmp_path):
    source, target = saved(tmp_path / "rec.onnx", recogniser()), tmp_path / "small.onnx"
    keep = [0, 2, 5]
    arrays = {"chars": weights(16, 7)[:, keep]}
    with pytest.raises(PlanError, match=r"its output y becomes \[.*3\], expected \[.*7\]"):
        write_pruned_onnx(source, target, arrays, {}, SHAPE)
    write_cut_classes_onnx(source, target, arrays, {"character": "a\nb"}, SHAPE)
    image = photograph(*SHAPE)
    whole, small = runtime_output(source, image), runtime_output(target, image)
    np.testing.assert_allclose(small, whole[..., keep], rtol=1e-5, atol=1e-5)
    assert onnx_metadata(target) == {"character": "a\nb"}
    again = tmp_path / "again.onnx"
    write_cut_classes_onnx(target, again, {}, {"character": "c", "maker": "me"}, SHAPE)
    assert onnx_metadata(again) == {"character": "c", "maker": "me"}
    with pytest.raises(ArtifactError, match="is the model that is pruned"):
        write_cut_classes_onnx(target, target, {}, {}, SHAPE)
