"""What is exported in the place of a network computes the same for every image, by fewer products."""

from __future__ import annotations

import importlib.util
import logging
from math import inf

import numpy as np
import paddle
import pytest
from detection import DETECTION
from file_networks import Detector, Recogniser, Recurrent, exported, graph_of, imported, some_cuts
from oracle import randomise
from paddle import nn
from rewritable import Gated, Parallel, Parts, Pyramid, Scaled, Sum

from ocrslim.config import load_config
from ocrslim.export.formats.onnx import write_onnx
from ocrslim.export.formats.paddle import MODELS, PIR, save_inference, save_pir
from ocrslim.export.rewriting import Rewriter, rewriting_for, rewritten_network
from ocrslim.inference import CostModel, DygraphEngine, InferenceEngine, OnnxEngine, Rewriting, difference
from ocrslim.pruning import Plan, apply_plan

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


def test_layers_are_called_after_the_weights_they_are_made_of():
    made = rewritten_network(built(), DETECTION, EVERYTHING)
    names = [name for name, _ in made.named_sublayers()]
    assert {"downs_0", "smooths_2", "head", "head_2"} <= set(names)


def test_the_other_formats_have_it_too(tmp_path):
    model = built()
    made = rewritten_network(model, DETECTION, EVERYTHING)
    save_pir(made, tmp_path / "inference", FREE)
    assert largest(InferenceEngine(tmp_path, own=True), model) < 1e-5
    if importlib.util.find_spec("paddle2onnx") is None:
        pytest.skip("PIR holds; paddle2onnx is not installed, which writes ONNX")
    write_onnx(tmp_path / MODELS[PIR], tmp_path / "inference.onnx", {})
    assert largest(OnnxEngine(tmp_path / "inference.onnx"), model) < 1e-5
