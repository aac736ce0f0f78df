"""A quantised model beside an exported one, and what it scores."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocrslim.config import MIN_RECOVER_IMAGES, Config
from ocrslim.data import EvalSet, LabelledSet, scan_both
from ocrslim.errors import DataError, ExportError
from ocrslim.evaluation import Scorer, with_predicted_labels
from ocrslim.export.formats.child import run_converter
from ocrslim.export.quantising import tools
from ocrslim.inference import Engine, OnnxEngine, OpenVinoEngine
from ocrslim.pruning import calibration_inputs
from ocrslim.utils import scratch_folder

_MODEL = "inference.onnx"
_OFF = "or leave int8 out with Export.int8=false"


@dataclass(frozen=True)
class Int8:
    """A quantised model.

    Attributes:
        file: the ONNX file; it runs in every runtime that reads ONNX, and fast in the one of `tool`.
        tool: what quantised it, a key of `tools.TOOLS`.
        images: how many it was calibrated on.
        metric: name of the score that decides (`Metric.main_indicator`).
        before, after: scores of the float32 model and of the quantised one, in the same runtime.
        tolerance: what the score may lose.
    """

    file: Path
    tool: str
    images: int
    metric: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    tolerance: float

    @property
    def lost(self) -> float:
        """What the score loses."""
        return self.before[self.metric] - self.after[self.metric]

    @property
    def accepted(self) -> bool:
        """Whether it loses no more than it may."""
        return self.lost <= self.tolerance + 1e-12

    def __str__(self) -> str:
        before, after = self.before[self.metric], self.after[self.metric]
        verdict = (
            "" if self.accepted else f": more than Export.int8_tolerance {self.tolerance:g}, so it is not exported"
        )
        return f"int8 by {self.tool}: {self.metric} {before:.4f} -> {after:.4f} ({-self.lost:+.4f}){verdict}"


def int8_tool(config: Config) -> str:
    """Return the tool that quantises for `Export.runtime`: OpenVINO's own, else ONNX Runtime's."""
    return tools.NNCF if config.export.runtime == "openvino" else tools.ONNXRUNTIME


def int8_lacks(config: Config) -> str | None:
    """Return what keeps int8 from being written here, and the command that helps; None if nothing does."""
    needed = ("onnxruntime",) if int8_tool(config) == tools.ONNXRUNTIME else ("nncf", "openvino")
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    return f"{' and '.join(missing)} not installed: pip install {' '.join(missing)}" if missing else None


def quantised_export(model: Path, config: Config, folder: Path) -> Int8:
    """Quantise an exported ONNX file into `folder`, calibrated on training images, and score it on those of `Eval`.

    The caller decides what becomes of one that is not `accepted`. Images without labels are scored by what the
    unpruned network finds in them, as everywhere.

    Args:
        model: a float32 ONNX file, verified.
        folder: exists; gets `inference.onnx`.

    Raises:
        ConfigError: the configuration names no images.
        DataError: the images to calibrate on are too few, or one cannot be read.
        ExportError: the tool is missing, or fails on the network.
    """
    lacks = int8_lacks(config)
    if lacks:
        raise ExportError(f"Export.int8: {lacks}; {_OFF}")
    config.require("Train.dataset", "Eval", "PostProcess")
    training, evaluation = scan_both(with_predicted_labels(config))
    inputs, tool = _inputs(config, training), int8_tool(config)
    quantise(model, inputs, folder / _MODEL, tool)
    images, scorer = EvalSet(evaluation, config), Scorer(config)
    before, after = (
        scorer(_engine(file, tool), images, desc) for file, desc in ((model, "float32"), (folder / _MODEL, "int8"))
    )
    return Int8(folder / _MODEL, tool, len(inputs), config.main_indicator, before, after, config.export.int8_tolerance)


def quantise(model: Path, inputs: Sequence[np.ndarray], target: Path, tool: str) -> None:
    """Quantise an ONNX file, calibrated on `inputs`, float32 [1, C, H, W] each.

    Args:
        target: the file to write.
        tool: a key of `tools.TOOLS`.

    Raises:
        ExportError: the tool fails on it.
    """
    with scratch_folder() as scratch:
        arrays = scratch / "inputs.npz"
        np.savez(arrays, *inputs)
        words = [tools.__file__, tool, str(model), str(arrays), str(target)]
        run_converter(tool, [sys.executable, "-W", "ignore", *words], target, "leave it out with Export.int8=false")


def _engine(file: Path, tool: str) -> Engine:
    return OpenVinoEngine(file) if tool == tools.NNCF else OnnxEngine(file)


def _inputs(config: Config, training: LabelledSet) -> list[np.ndarray]:
    if len(training) < MIN_RECOVER_IMAGES:
        raise DataError(
            f"Export.int8: Train.dataset has {len(training)} usable image{'s' * (len(training) != 1)} to calibrate on, "
            f"expected at least {MIN_RECOVER_IMAGES}, better 40: name more images, {_OFF}"
        )
    return calibration_inputs(config, training)
