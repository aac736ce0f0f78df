"""What is exported in the place of a network computes the same for every image, by fewer products."""

from __future__ import annotations

import logging
from math import inf

import cv2
import numpy as np
import paddle
import pytest
from detection import DETECTION
from file_networks import Detector, Recogniser, Recurrent, exported, graph_of, imported, some_cuts
from oracle import randomise
from paddle import nn
from rewritable import Fed, Gated, Parallel, Parts, Pyramid, Scaled, Sum

from ocrslim.config import load_config, load_model_config
from ocrslim.export.formats.onnx import name_as, write_onnx
from ocrslim.export.formats.paddle import MODELS, save_inference, save_pir
from ocrslim.export.rewriting import Rewriter, rewriting_for, rewritten_network
from ocrslim.export.source import Source
from ocrslim.inference import CostModel, DygraphEngine, InferenceEngine, OnnxEngine, Rewriting, difference
from ocrslim.pruning import Plan, apply_plan, load_network

SIZES = ((1, 3, 32, 64), (2, 3, 64, 32), (2, 3, 32, 96))
FREE = (-1, 3, -1, -1)
EVERYTHING = rewriting_for("paddle", "paddle")
NOTHING = Rewriting(sums=False, gates=False, phases=False)  # but folding
ALL = {made.__name__: made for made in (Pyramid, Gated, Scaled, Parallel, Parts, Detector, Recogniser)}


def built(make=Pyramid, *settings):
    paddle.seed(1)
    model = randomise(make(*settings))
    model.eval()
    return model


def image(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def largest(run, model, sizes=SIZES):
    """The largest difference over images of several sizes and batches."""
    return max(difference(run(image(size)), DygraphEngine(model)(image(size))) for size in sizes)


def free_shape(make):
    return (-1, 3, 32, -1) if make is Recogniser else FREE  # its pooling fixes the height


def sizes_of(make):
    return ((1, 3, 32, 64), (2, 3, 32, 96)) if make is Recogniser else SIZES


def products(model, size=(1, 3, 64, 96)):
    """Multiply-accumulates of the convolutions in one pass."""
    counts, hooks = [], []

    def count(layer, inputs, output):
        counted = inputs[0] if isinstance(layer, nn.Conv2DTranspose) else output
        counts.append(int(counted.size) * int(np.prod(layer.weight.shape[1:])))

    for layer in model.sublayers():
        if isinstance(layer, (nn.Conv2D, nn.Conv2DTranspose)):
            hooks.append(layer.register_forward_post_hook(count))
    DygraphEngine(model)(image(size))
    for hook in hooks:
        hook.remove()
    return sum(counts)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_the_export_of_a_rewritten_network_gives_what_the_network_gives(make, tmp_path):
    """At several sizes and batches; and it does not give what a network with other weights gives."""
    model = built(make)
    save_inference(rewritten_network(model, DETECTION, EVERYTHING), tmp_path / "inference", free_shape(make))
    run = InferenceEngine(tmp_path, own=True)
    assert largest(run, model, sizes_of(make)) < 1e-5
    for parameter in model.parameters():
        parameter.set_value(parameter * 1.1)
    assert largest(run, model, sizes_of(make)) > 1e-4, "the control"


@pytest.mark.parametrize(
    "rewriting",
    [
        NOTHING,
        Rewriting(gates=False, phases=False),
        Rewriting(sums=False, phases=False),
        Rewriting(sums=False, gates=False),
        Rewriting(costs=CostModel(transposed=inf)),
    ],
    ids=["folded", "sums", "gates", "phases", "without transposed convolutions"],
)
@pytest.mark.parametrize("make", [Pyramid, Gated])
def test_each_kind_can_be_had_by_itself(make, rewriting):
    model = built(make)
    assert largest(DygraphEngine(rewritten_network(model, DETECTION, rewriting)), model) < 1e-5


def test_the_neck_and_head_of_a_detector_take_fewer_products():
    model = built()
    before, folded, after = (
        products(one) for one in (model, *(rewritten_network(model, DETECTION, how) for how in (NOTHING, EVERYTHING)))
    )
    assert after < 0.75 * before and folded == before


def test_without_transposed_convolutions_none_is_added():
    model = built()
    few, many = (
        rewritten_network(model, DETECTION, Rewriting(phases=False, costs=costs))
        for costs in (CostModel(transposed=inf), CostModel())
    )
    counts = [sum(isinstance(layer, nn.Conv2DTranspose) for layer in one.sublayers()) for one in (model, few, many)]
    assert counts[0] == counts[1] < counts[2]


@pytest.mark.parametrize(
    ("settings", "stays"),
    [((), False), ((True,), True), ((False, True), True)],
    ids=["sum of maps", "biases in front of a border", "sum with a vector"],
)
def test_only_what_is_a_sum_of_convolutions_is_written_as_one(settings, stays):
    """A bias does not map the zeros of a border to zeros, and a vector that is added to a map has no border."""
    model = built(Sum, *settings)
    made = rewritten_network(model, DETECTION, EVERYTHING)
    assert (products(made) == products(model)) is stays
    assert largest(DygraphEngine(made), model) < 1e-5


def test_maps_that_are_upsampled_in_another_way_stay():
    model = built(Pyramid, False, "bilinear")
    made = rewritten_network(model, DETECTION, Rewriting(phases=False))
    assert not any(layer.weight.shape[2] > 2 for layer in made.sublayers() if isinstance(layer, nn.Conv2DTranspose))
    assert largest(DygraphEngine(made), model) < 1e-5


def test_outputs_that_no_client_takes_are_dropped():
    model = built(Pyramid, False, "nearest", True)
    made = rewritten_network(model, DETECTION, EVERYTHING)
    assert len(made.program.outputs) == 1
    assert products(made) == products(rewritten_network(built(), DETECTION, EVERYTHING))


@pytest.mark.parametrize("make", [Detector, Recogniser])
def test_a_network_from_a_file_is_rewritten_as_it_was_cut(make, tmp_path):
    model = imported(exported(make, tmp_path, "legacy"))
    apply_plan(model, Plan({}, some_cuts(graph_of(model), 0.5)))
    made = rewritten_network(model, DETECTION, EVERYTHING)
    assert largest(DygraphEngine(made), model, sizes_of(make)) < 1e-5


def test_a_network_that_cannot_be_rewritten_is_exported_as_it_is(v2_config, caplog):
    model = built(Recurrent)
    rewriter = Rewriter(model, load_config(v2_config))
    with caplog.at_level(logging.INFO):
        assert rewriter.network("paddle") is rewriter.network("onnx") is model
    assert caplog.text.count("not rewritten: recurrent layers") == 1


def test_without_the_option_nothing_is_rewritten(v2_config):
    model = built()
    assert Rewriter(model, load_config(v2_config, ["Export.rewrite=false"])).network("paddle") is model
    assert Rewriter(model, load_config(v2_config)).network("paddle") is not model


def test_what_is_written_as_onnx_holds_for_images_of_any_size(v2_config):
    """Of one pixel the finer maps have no more pixels than the coarser ones, which are stretched."""
    model, sizes = built(), [(1, 3, 1, 1), (2, 3, 1, 64), *SIZES]
    rewriter = Rewriter(model, load_config(v2_config))
    every, usual = rewriter.network("onnx"), rewriter.network("paddle")
    assert largest(DygraphEngine(every), model, sizes) < 1e-5
    assert products(usual) < products(every) < products(model)
    with pytest.raises(ValueError, match="Broadcast|shape"):
        DygraphEngine(usual)(image((1, 3, 1, 1)))


@pytest.mark.parametrize(("kind", "there"), [("paddle", False), ("pir", False), ("onnx", True), ("lite", True)])
def test_programs_of_paddle_have_no_upsampling_which_paddle_3_3_does_not_run_by_onednn(kind, there):
    """In ONNX files and for Paddle Lite it stays: readers of those do not all have what takes its place."""
    model = built()
    made = rewritten_network(model, DETECTION, rewriting_for(kind, "paddle"))
    assert any(op.name == "nearest_interp" for op in made.program.ops) is there
    assert largest(DygraphEngine(made), model) < 1e-5


def test_an_upsampling_of_a_map_whose_channels_no_weight_tells_stays():
    model = built(Fed)
    made = rewritten_network(model, DETECTION, EVERYTHING)
    assert [op.name for op in made.program.ops].count("nearest_interp") == 1
    assert largest(DygraphEngine(made), model) < 1e-5


def test_layers_are_called_after_the_weights_they_are_made_of():
    made = rewritten_network(built(), DETECTION, EVERYTHING)
    names = [name for name, _ in made.named_sublayers()]
    assert {"downs_0", "smooths_2", "head", "head_2"} <= set(names)


def test_pir_has_it_too(tmp_path):
    model = built()
    save_pir(rewritten_network(model, DETECTION, EVERYTHING), tmp_path / "inference", FREE)
    assert largest(InferenceEngine(tmp_path, own=True), model) < 1e-5


def test_an_onnx_file_has_it_too_and_opencv_reads_it(v2_config, tmp_path):
    model = built()
    save_inference(Rewriter(model, load_config(v2_config)).network("onnx"), tmp_path / "inference", FREE)
    program = next(path for name in MODELS.values() if (path := tmp_path / name).is_file())
    write_onnx(program, tmp_path / "inference.onnx", {})
    assert largest(OnnxEngine(tmp_path / "inference.onnx"), model) < 1e-5
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "inference.onnx"))
    net.setInput(image(SIZES[0]))
    assert difference(net.forward(), DygraphEngine(model)(image(SIZES[0]))) < 1e-5


def test_an_onnx_file_that_is_rewritten_keeps_its_name_and_those_of_inputs_and_outputs(tmp_path):
    import onnx

    save_inference(built(), tmp_path / "inference", FREE)
    path = tmp_path / "mine.onnx"
    write_onnx(next(one for name in MODELS.values() if (one := tmp_path / name).is_file()), path, {"of": "the author"})
    file = onnx.load(str(path))
    assert [file.graph.input[0].name, file.graph.output[0].name] != ["image", "map"]
    name_as(file, _named(file))
    onnx.save(file, str(path))
    as_it_came, model = _written_back(path, tmp_path / "as_it_came", "null")
    made, _ = _written_back(path, tmp_path / "out", "true")
    assert [value.name for value in (*made.graph.input, *made.graph.output)] == ["image", "map"]
    assert {entry.key: entry.value for entry in made.metadata_props}["of"] == "the author"
    nodes = [len(each.graph.node) for each in (onnx.load(str(path)), as_it_came, made)]
    assert nodes[0] == nodes[1] != nodes[2], "it is rewritten where that is asked for"
    assert largest(OnnxEngine(tmp_path / "out/mine.onnx"), model) < 1e-5


def _written_back(path, folder, rewrite):
    """The file that a network of an ONNX file becomes, and the network."""
    import onnx

    config = load_model_config(path, None, ["Global.use_gpu=false", f"Export.rewrite={rewrite}"], "det")
    model = load_network(config).model
    scratch = folder.with_name(f"{folder.name}_scratch")
    for each in (folder, scratch):
        each.mkdir()
    Source(model, config, scratch).write("onnx", folder)
    return onnx.load(str(folder / path.name)), model


def _named(file):
    """The same of other names."""
    import onnx

    named = onnx.compose.add_prefix(file, "")
    named.graph.input[0].name, named.graph.output[0].name = "image", "map"
    return named
