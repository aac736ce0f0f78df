"""Export of a network to an inference folder, proven against the network.

The folder appears complete or not at all: files are written to a staging folder beside it, checked by running
them, and then renamed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import NetworkMemory, Preprocessor
from ocrslim.errors import ExportError
from ocrslim.export.formats.paddle import PIR, save_inference, warn_of_pir
from ocrslim.export.formats.source_file import SETTINGS, write_back
from ocrslim.export.sample_image import sample_image
from ocrslim.export.staging import check_target, model_files, onnx_file, put_in_place, resolve_target, staging_folder
from ocrslim.graph import deployed
from ocrslim.inference import DygraphEngine, InferenceEngine, OnnxEngine, Output, difference
from ocrslim.models import ImportedNetwork, state_arrays
from ocrslim.pruning import Network
from ocrslim.utils import hash_arrays, write_json, write_text

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
LIMIT = 1e-3  # for networks that enlarge rounding
_ENLARGED = 10.0  # rounding happens at every layer, a change of the input's last bits at the input alone


@dataclass(frozen=True)
class Exported:
    """A proven export.

    Attributes:
        folder: the exported folder, which clients load.
        format: `LEGACY` (`inference.pdmodel`) or `PIR` (`inference.json`); of a network from a file, that file's, which
            may be `ONNX`.
        differences: kernels that ran -> largest difference of the output to the source's, of outputs beyond -1..1
            relative to their largest value.
        bytes: size of the model and its parameters.
    """

    folder: Path
    format: str
    differences: Mapping[str, float]
    bytes: int


def export(model: nn.Layer, config: Config, folder: Path, image: np.ndarray, origin: Mapping[str, Any]) -> Exported:
    """Write `model` as an inference model with dynamic batch and size, and prove it on `image`.

    What is written is the network that is deployed: re-parameterised, where its layers train as parallel branches.
    The format is the legacy one, which most clients read, or PIR where paddlepaddle cannot write that (3.2 and
    later).

    Args:
        model: the source, weights loaded; unchanged.
        image: a preprocessed photograph, float32 [1, 3, H, W].
        origin: further content for `export.json`, such as source and plan.

    Raises:
        ExportError: the exported model differs from `model`, as `verify` says.
        GraphError: a layer cannot be re-parameterised.
        ArtifactError: `folder` cannot be written, or holds files that are not of an export.
    """
    folder = resolve_target(folder)
    check_target(folder)
    with staging_folder(folder) as staged:
        kind = _write(model, config, staged)
        if not (staged / SETTINGS).is_file():
            write_text(staged / SETTINGS, yaml.safe_dump(client_settings(config), sort_keys=False))
        differences = verify(model, staged, image)
        size = sum(path.stat().st_size for path in model_files(staged))
        proof = {"format": kind, "paddlepaddle": paddle.__version__, "max_difference": differences}
        tolerance = TOLERANCE if next(iter(differences.values())) <= TOLERANCE else LIMIT
        write_json(staged / "export.json", {**origin, **proof, "tolerance": tolerance, "config": config.tree})
        put_in_place(staged, folder)
    return Exported(folder, kind, differences, size)


def _write(model: nn.Layer, config: Config, staged: Path) -> str:
    """Write the model's files; return their format."""
    if isinstance(model, ImportedNetwork):
        program = Path(str(config.get("Architecture.program")))
        return write_back(model, program, staged, config.task.probe_shape)
    kind = save_inference(deployed(model), staged / "inference", config.task.free_shape)
    if kind == PIR:
        warn_of_pir()
    return kind


def export_network(network: Network, config: Config, folder: Path) -> Exported:
    """Export a network with its plan, proven on the sample image; arguments and errors as in `export`."""
    model = network.model
    with sample_image(config) as path:
        image = Preprocessor(config, NetworkMemory(DygraphEngine(model), config.task))(path).image
    plan = None if network.plan is None else network.plan.hash()
    origin = {"source": network.source, "weights": hash_arrays(state_arrays(model)), "plan": plan}
    return export(model, config, folder, image, origin)


def verify(model: nn.Layer, folder: Path, image: np.ndarray) -> dict[str, float]:
    """Run the export in `folder` on `image` and compare the outputs with `model`'s; return the differences.

    An ONNX file runs on ONNX Runtime, anything else on Paddle Inference, without and with oneDNN.
    Only the difference without oneDNN can fail the proof. With oneDNN, rounding alone comes near the tolerance where
    features are large (PP-OCRv2's reach 1900: 9e-5 on a page), so that difference is only reported.

    Returns:
        kernels (`InferenceEngine.kernels`) -> largest difference (`ocrslim.inference.difference`).

    Raises:
        ExportError: without oneDNN the difference exceeds `TOLERANCE`, and ten times what the source moves by when the
            last bits of the image change, of which no more than `LIMIT` counts.
    """
    expected = DygraphEngine(model)(image)
    differences = {}
    for engine in _engines(folder):
        largest = difference(engine(image), expected)
        if engine.kernels not in differences:
            differences[engine.kernels] = largest
            logger.info("%s: largest difference to the source %.2e", engine.kernels, largest)
    reference, fast = next(iter(differences.values())), max(differences.values())
    if not reference <= TOLERANCE:
        _require_rounding(model, folder, image, expected, reference)
    if not fast <= TOLERANCE:
        logger.warning("with oneDNN the export differs by %.2e, more than %g: run it without oneDNN", fast, TOLERANCE)
    return differences


def _engines(folder: Path) -> Iterator[InferenceEngine | OnnxEngine]:
    """Yield what runs an export, the reference first."""
    if onnx_file(folder) is not None:
        yield OnnxEngine(model_files(folder)[0])
        return
    for onednn in (False, True):
        yield InferenceEngine(folder, onednn=onednn, own=True)


def _require_rounding(model: nn.Layer, folder: Path, image: np.ndarray, expected: Output, off: float) -> None:
    """Accept a difference beyond `TOLERANCE` where the source itself moves as far by rounding; refuse it elsewhere."""
    rounded = np.nextafter(image, np.random.default_rng(0).choice([-np.inf, np.inf], image.shape).astype(image.dtype))
    enlarged = _ENLARGED * difference(DygraphEngine(model)(rounded), expected)
    allowed = max(TOLERANCE, min(enlarged, LIMIT))
    moves = f"the source itself moves by {enlarged / _ENLARGED:.2e} when its input moves by a rounding error"
    if off <= allowed:
        logger.warning("%s: differs from the source by %.2e, which is rounding: %s", folder.name, off, moves)
        return
    remedy = "check the version of paddlepaddle (requirements.txt) and that nothing else writes to the checkpoint"
    if off <= enlarged:
        remedy = f"{moves}, as a network does that has been trained for a few steps only: train it for longer"
    raise ExportError(
        f"{folder.name}: the exported model differs from the source by {off:.2e}, expected at most {allowed:g}: it "
        f"cannot be used and was removed; {remedy}"
    )


def client_settings(config: Config) -> dict[str, Any]:
    """Pre- and post-processing for clients, in the form of PaddleOCR 3's `inference.yml`."""
    transforms = config.section("Eval").get("dataset", {}).get("transforms", [])
    return {
        "Global": {"model_name": config.get("Global.model_name") or config.task.export_name},
        "PreProcess": {"transform_ops": config.task.client_transforms(transforms)},
        "PostProcess": config.task.client_post_process(config.section("PostProcess"), config.section("Global")),
    }
