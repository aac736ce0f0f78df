"""Export of a network to an inference folder, proven against the network.

The folder appears complete or not at all: files are written to a staging folder beside it, checked by running
them, and then renamed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
from ocrslim.export.formats.paddle import MODELS, PIR, save_inference, warn_of_pir
from ocrslim.export.sample_image import sample_image
from ocrslim.export.staging import check_target, put_in_place, resolve_target, staging
from ocrslim.graph import deployed
from ocrslim.inference import PARAMS_FILE, PLAIN, DygraphEngine, InferenceEngine, difference
from ocrslim.models import state_arrays
from ocrslim.pruning import Network
from ocrslim.utils import hash_arrays, write_json, write_text

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
_BY_ROUNDING = 0.1  # of a difference: where rounding alone makes so much of it, it may make the rest


@dataclass(frozen=True)
class Exported:
    """A proven export.

    Attributes:
        folder: the exported folder, which clients load.
        format: `LEGACY` (`inference.pdmodel`) or `PIR` (`inference.json`).
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
        ExportError: the exported model differs from `model` by more than `TOLERANCE`.
        GraphError: a layer cannot be re-parameterised.
        ArtifactError: `folder` cannot be written, or holds files that are not of an export.
    """
    folder = resolve_target(folder)
    check_target(folder)
    with staging(folder) as staged:
        kind = save_inference(deployed(model), staged / "inference", config.task.free_shape)
        if kind == PIR:
            warn_of_pir()
        write_text(staged / "inference.yml", yaml.safe_dump(client_settings(config), sort_keys=False))
        differences = verify(model, staged, image)
        size = sum((staged / name).stat().st_size for name in (MODELS[kind], PARAMS_FILE))
        proof = {"format": kind, "paddlepaddle": paddle.__version__, "max_difference": differences}
        write_json(staged / "export.json", {**origin, **proof, "tolerance": TOLERANCE, "config": config.tree})
        put_in_place(staged, folder)
    return Exported(folder, kind, differences, size)


def export_network(network: Network, config: Config, folder: Path) -> Exported:
    """Export a network with its plan, proven on the sample image; arguments and errors as in `export`."""
    model = network.model
    with sample_image(config) as path:
        image = Preprocessor(config, NetworkMemory(DygraphEngine(model), config.task))(path).image
    plan = None if network.plan is None else network.plan.hash()
    origin = {"source": network.source, "weights": hash_arrays(state_arrays(model)), "plan": plan}
    return export(model, config, folder, image, origin)


def verify(model: nn.Layer, folder: Path, image: np.ndarray) -> dict[str, float]:
    """Run the export in `folder` on `image`, without and with oneDNN, and compare the outputs with `model`'s.

    Only the difference without oneDNN can fail the proof. With oneDNN, rounding alone comes near the tolerance where
    features are large (PP-OCRv2's reach 1900: 9e-5 on a page), so that difference is only reported.

    Returns:
        kernels (`InferenceEngine.kernels`) -> largest difference (`ocrslim.inference.difference`).

    Raises:
        ExportError: without oneDNN the difference exceeds `TOLERANCE`.
    """
    expected = DygraphEngine(model)(image)
    differences = {}
    for onednn in (False, True):
        engine = InferenceEngine(folder, onednn=onednn, own=True)
        largest = difference(engine(image), expected)
        if engine.kernels not in differences:
            differences[engine.kernels] = largest
            logger.info("%s: largest difference to the source %.2e", engine.kernels, largest)
    reference, fast = differences[PLAIN], max(differences.values())
    if not reference <= TOLERANCE:
        raise ExportError(
            f"{folder.name}: the exported model differs from the source by {reference:.2e}, expected at most "
            f"{TOLERANCE:g}: it cannot be used and was removed; {_remedy(model, image, reference)}"
        )
    if not fast <= TOLERANCE:
        logger.warning("with oneDNN the export differs by %.2e, more than %g: run it without oneDNN", fast, TOLERANCE)
    return differences


def _remedy(model: nn.Layer, image: np.ndarray, off: float) -> str:
    """Suggest what to do about an export that is `off` by that much."""
    rounded = np.nextafter(image, np.random.default_rng(0).choice([-np.inf, np.inf], image.shape).astype(image.dtype))
    engine = DygraphEngine(model)
    moved = difference(engine(rounded), engine(image))
    if moved > max(TOLERANCE, _BY_ROUNDING * off):
        return (
            f"the source itself moves by {moved:.2e} when its input moves by a rounding error, as a network does that "
            "has been trained for a few steps only: train it for longer"
        )
    return "check the version of paddlepaddle (requirements.txt) and that nothing else writes to the checkpoint"


def client_settings(config: Config) -> dict[str, Any]:
    """Pre- and post-processing for clients, in the form of PaddleOCR 3's `inference.yml`."""
    transforms = config.section("Eval").get("dataset", {}).get("transforms", [])
    return {
        "Global": {"model_name": config.get("Global.model_name") or config.task.export_name},
        "PreProcess": {"transform_ops": transforms},
        "PostProcess": config.task.client_post_process(config.section("PostProcess"), config.section("Global")),
    }
