"""What the record of a compression has of its request, its images and where it ran."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrslim import __version__
from ocrslim.compression.images import Split
from ocrslim.compression.request import Request, file_hash
from ocrslim.config import Config
from ocrslim.export import format_of
from ocrslim.formats import is_exported, named_network
from ocrslim.inference import RUNTIMES
from ocrslim.utils import processor

_SCHEMA = 1
_CHECKPOINT = "checkpoint"


def origin(request: Request, config: Config) -> dict[str, Any]:
    """Return what a result comes from: the command, programs, the machine, the model."""
    return {**environment(request.command, config.seed), "model": model_record(request.model, config)}


def environment(command: str, seed: int) -> dict[str, Any]:
    """Return how a result came about: the command, programs, the machine."""
    versions = {runtime.package: runtime.version for runtime in RUNTIMES.values() if runtime.installed}
    return {
        "schema": _SCHEMA,
        "command": command,
        "seed": seed,
        "versions": {"ocrslim": __version__, "python": platform.python_version(), **versions},
        "machine": {"processor": processor(), "processors": os.cpu_count(), "system": platform.system()},
    }


def model_record(model: Path, config: Config) -> dict[str, str]:
    """Describe a model as it came."""
    source = named_network(model)
    return {
        "path": str(model),
        "task": config.task.model_type,
        "name": source.stem,
        "format": format_of(source) if is_exported(source) else _CHECKPOINT,
        "sha256": file_hash(model),
    }


def images_record(request: Request, parts: Split, labels: Mapping[str, str | None]) -> dict[str, Any]:
    """Return which images served for what."""
    return {
        "folder": str(request.images),
        "calibration": list(parts.calibration),
        "choice": list(parts.choice),
        "held_out": list(parts.held_out),
        "nothing_found": [name for name, label in labels.items() if label is None],
        "labels": None if request.labels is None else str(request.labels),
    }
