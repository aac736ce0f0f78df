"""A quantised model beside an exported one, and what it scores."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import MIN_RECOVER_IMAGES, Config
from ocrslim.data import EvalSet, LabelledSet, scan, scan_evaluation
from ocrslim.errors import DataError, ExportError
from ocrslim.evaluation import Scorer, with_predicted_labels
from ocrslim.export.formats.child import run_converter
from ocrslim.export.formats.onnx import ONNX, ONNX_MODEL
from ocrslim.export.formats.source_file import SETTINGS
from ocrslim.export.quantising import tools
from ocrslim.export.staging import INT8, PROOF
from ocrslim.formats import onnx_runtime_lacks
from ocrslim.inference import Engine, OnnxEngine, OpenVinoEngine
from ocrslim.pruning import calibration_inputs
from ocrslim.utils import scratch_folder, write_json

logger = logging.getLogger(__name__)

_OFF = "or leave int8 out with Export.int8=false"
_FOLDERS = "-o Train.dataset.data_dir=DIR Eval.dataset.data_dir=DIR"


@dataclass(frozen=True)
class Int8Images:
    """The images that int8 needs: those to calibrate on, and those to score on, which have labels."""

    training: LabelledSet
    evaluation: LabelledSet


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

    def to_json(self) -> dict[str, Any]:
        """Return what `export.json` has of it."""
        return {
            **{"tool": self.tool, "images": self.images, "metric": self.metric},
            **{"before": dict(self.before), "after": dict(self.after)},
            **{"tolerance": self.tolerance, "exported": self.accepted},
        }

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
    if int8_tool(config) == tools.ONNXRUNTIME:
        return onnx_runtime_lacks()
    missing = [package for package in ("nncf", "openvino") if importlib.util.find_spec(package) is None]
    return f"{' and '.join(missing)} not installed: pip install {' '.join(missing)}" if missing else None


def require_int8(config: Config, formats: Sequence[str]) -> None:
    """Demand what `Export.int8` needs where it is asked for, before any work.

    Args:
        formats: what is exported.

    Raises:
        ExportError: a package is missing, or no ONNX file is exported that could be quantised.
        ConfigError: the configuration names no images.
    """
    if not config.export.int8:
        return
    lacks = int8_lacks(config)
    if lacks:
        raise ExportError(f"Export.int8: {lacks}; {_OFF}")
    if ONNX not in formats:
        raise ExportError(
            f"Export.int8: ONNX files are quantised, and none is exported ({', '.join(formats)}): "
            f"name onnx in Export.formats, {_OFF}"
        )
    config.require("Train.dataset", "Eval", "PostProcess")


def int8_images(config: Config) -> Int8Images | None:
    """Return the images that `Export.int8` needs, each of them read once; None where it is not asked for.

    Images to score on that have no labels get those of what the unpruned network finds in them, as everywhere.

    Raises:
        DataError: there are none, too few to calibrate on, or too many that cannot be read.
    """
    if not config.export.int8:
        return None
    try:
        training = scan(config, "Train").announce()
        if len(training) < MIN_RECOVER_IMAGES:
            raise DataError(
                f"Train.dataset has {len(training)} usable image{'s' * (len(training) != 1)} to calibrate on, "
                f"expected at least {MIN_RECOVER_IMAGES}, better 40"
            )
        return Int8Images(training, scan_evaluation(with_predicted_labels(config)))
    except DataError as error:
        raise DataError(f"Export.int8: {error}; name images with {_FOLDERS}, {_OFF}") from None


def write_int8(model: Path, config: Config, export: Path, images: Int8Images) -> Int8:
    """Quantise an ONNX file of an export into its folder `int8`, which goes again where the score loses too much.

    Args:
        model: the ONNX file, with its `inference.yml` beside it.
        export: the export's folder.

    Raises:
        DataError, ExportError: as `quantised_export`.
    """
    folder = export / INT8
    folder.mkdir()
    made = quantised_export(model, config, folder, images)
    if made.accepted:
        logger.info("%s", made)
        if (model.parent / SETTINGS).is_file():
            shutil.copyfile(model.parent / SETTINGS, folder / SETTINGS)
        write_json(folder / PROOF, {"format": INT8, **made.to_json()})
    else:
        logger.warning("%s", made)
        shutil.rmtree(folder)
    return made


def quantised_export(model: Path, config: Config, folder: Path, images: Int8Images) -> Int8:
    """Quantise an exported ONNX file into `folder`, calibrated on training images, and score it on those of `Eval`.

    The caller decides what becomes of one that is not `accepted`.

    Args:
        model: a float32 ONNX file, verified.
        folder: exists; gets `inference.onnx`.

    Raises:
        DataError: an image cannot be read any more.
        ExportError: the tool fails on the network.
    """
    inputs, tool = calibration_inputs(config, images.training), int8_tool(config)
    quantise(model, inputs, folder / ONNX_MODEL, tool)
    scored, scorer = EvalSet(images.evaluation, config), Scorer(config)
    before, after = (
        scorer(_engine(file, tool), scored, desc) for file, desc in ((model, "float32"), (folder / ONNX_MODEL, "int8"))
    )
    return Int8(
        folder / ONNX_MODEL, tool, len(inputs), config.main_indicator, before, after, config.export.int8_tolerance
    )


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
