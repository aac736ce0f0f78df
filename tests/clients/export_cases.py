"""Exports of real networks as they come, and of the same with other weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from programs import BY_DEFAULT, PIR, Program

from ocrslim.config import Config
from ocrslim.data import Prepared, Preprocessor
from ocrslim.evaluation import post_processor
from ocrslim.export import Exported, export_network
from ocrslim.inference import DygraphEngine
from ocrslim.pruning import Network, load_network


@dataclass(frozen=True)
class Case:
    """A network in the formats that are exported by default, and in PIR, and what it makes of an image.

    Attributes:
        exports: `BY_DEFAULT`, and where it was asked for `PIR`.
        sample: the image, preprocessed.
        output: of the network.
        found: what that is decoded to: boxes or texts.
    """

    exports: Mapping[str, Exported]
    image: Path
    sample: Prepared
    output: np.ndarray
    found: Any

    def call(self, program: Program) -> str:
        """Return the call that the export names for a program."""
        return self.exports[program.export].clients[program.client]

    def folder(self, kind: str) -> Path:
        """Return the folder of one format."""
        return next(each.folder for each in self.exports[BY_DEFAULT].formats if each.format == kind)


# client -> where the arguments stand in the calls of single parts, and the call of all parts
_PIPELINES = {
    "paddleocr 2.10": (r"PaddleOCR\((.*)\)\.ocr\(", 'PaddleOCR({}, show_log=False).ocr("image.jpg")'),
    "paddleocr 3, pipeline": (
        r"PaddleOCR\((.*)\)\.predict\(",
        'PaddleOCR({}, use_doc_orientation_classify=False, use_doc_unwarping=False).predict("image.jpg")',
    ),
    "rapidocr 3": (r"RapidOCR\(params={(.*)}\)\(", 'RapidOCR(params={{{}}})("image.jpg")'),
    "rapidocr-paddle 1.4": (r"RapidOCR\((.*)\)\(", 'RapidOCR({})("image.jpg")'),
}


def pipeline_call(program: Program, cases: Sequence[Case]) -> str:
    """Return the call of a pipeline: those that exports of its parts name, put together."""
    pattern, whole = _PIPELINES[program.client]
    return whole.format(", ".join(re.findall(pattern, case.call(program))[0] for case in cases))


def case_of(network: Network, options: Callable[..., Config], image: Path, folder: Path) -> Case:
    """Export a network by default and as PIR.

    Args:
        options: makes the configuration with further options.
    """
    config = options()
    exports = {
        BY_DEFAULT: export_network(network, config, folder / "m"),
        PIR: export_network(network, options("Export.formats=[pir]"), folder / "pir"),
    }
    assert sorted(each.format for each in exports[BY_DEFAULT].formats) == ["onnx", "paddle"]
    assert not any(exported.unverified for exported in exports.values())
    sample = Preprocessor(config)(image)
    output = DygraphEngine(network.model)(sample.image)
    return Case(exports, image, sample, output, post_processor(config)(output, sample.shape))


def with_other_weights(config: Config, seed: int = 0) -> Network:
    """Return the control: the same network, with weights that give other boxes, maps and texts."""
    network = load_network(config)
    rng = np.random.default_rng(seed)
    for tensor in network.model.parameters():
        values = tensor.numpy()
        tensor.set_value(values * rng.normal(1, 0.05, values.shape).astype(values.dtype))
    return network
