"""The command `export`: stage 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import NetworkMemory, Preprocessor
from ocrslim.errors import ConfigError
from ocrslim.export import export, sample_image
from ocrslim.inference import DygraphEngine
from ocrslim.models import state_arrays
from ocrslim.pruning import load_network
from ocrslim.utils import hash_arrays


def run_export(config: Config) -> dict[str, Any]:
    """Stage 3: checkpoint and plan -> an inference folder, proven against its source."""
    config.require("Architecture", "PostProcess")
    target = config.get("Global.save_inference_dir")
    if not target:
        raise ConfigError(
            f"{config.path}: Global.save_inference_dir is empty; expected a folder: "
            "name it with -o Global.save_inference_dir=inference_model"
        )
    network = load_network(config)
    with sample_image(config) as path:
        image = Preprocessor(config, NetworkMemory(DygraphEngine(network.model), config.task))(path).image
    plan = None if network.plan is None else network.plan.hash()
    origin = {"source": str(network.report.source), "weights": hash_arrays(state_arrays(network.model)), "plan": plan}
    exported = export(network.model, config, Path(target), image, origin)
    worst = max(exported.differences.values())
    print(f"{exported.folder}: {exported.bytes:,} bytes; largest difference to {network.report.source}: {worst:.1e}")
    return {
        "folder": str(exported.folder),
        "format": exported.format,
        "max_difference": dict(exported.differences),
        "bytes": exported.bytes,
        "pruned": network.plan is not None,
    }
