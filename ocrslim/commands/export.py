"""The command `export`: stage 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import ConfigError
from ocrslim.export import ExportedFormat, export_network
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
    for each in exported.formats:
        print(f"{each.folder}: {each.format}, {each.bytes:,} bytes; {_verdict(each, network.source)}")
    for client, call in exported.clients.items():
        print(f"{client}: {call}")
    return {
        "folder": str(exported.folder),
        "format": exported.format,
        "max_difference": dict(exported.differences),
        "bytes": exported.bytes,
        "pruned": network.plan is not None,
        "formats": {each.format: {**each.to_json(), "folder": str(each.folder)} for each in exported.formats},
        "clients": dict(exported.clients),
        "unverified": exported.unverified,
    }


def _verdict(made: ExportedFormat, source: str) -> str:
    """Say in words what a proof has shown."""
    proof = made.proof
    if not proof.differences:
        return f"not verified: {proof.unverified}"
    found = f"{proof.same} of {proof.items} found alike"
    shown = f"largest difference to {source}: {max(proof.differences.values()):.1e}, {found}"
    return shown if proof.unverified is None else f"{shown}; not verified: {proof.unverified}"
