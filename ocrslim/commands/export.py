"""The command `export`: stage 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import ConfigError
from ocrslim.export import export_network
from ocrslim.pruning import load_network


def run_export(config: Config) -> dict[str, Any]:
    """Stage 3: export a checkpoint and its plan to an inference folder, proven against its source."""
    config.require("Architecture", "PostProcess")
    target = config.get("Global.save_inference_dir")
    if not target:
        raise ConfigError(
            f"{config.path}: Global.save_inference_dir is empty; expected a folder: "
            "name it with -o Global.save_inference_dir=inference_model"
        )
    network = load_network(config)
    exported = export_network(network, config, Path(target))
    worst = max(exported.differences.values())
    print(f"{exported.folder}: {exported.bytes:,} bytes; largest difference to {network.source}: {worst:.1e}")
    return {
        "folder": str(exported.folder),
        "format": exported.format,
        "max_difference": dict(exported.differences),
        "bytes": exported.bytes,
        "pruned": network.plan is not None,
    }
