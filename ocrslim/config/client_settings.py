"""How an exported model is run, from the `inference.yml` that ocrslim and PaddleOCR write beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ocrslim.errors import ConfigError
from ocrslim.utils import read_file

SETTINGS = "inference.yml"
OWN_SETTINGS = "ocrslim"  # its section with what ocrslim reads where clients need something else
_TRANSFORMS = tuple(f"{mode}.dataset.transforms" for mode in ("Train", "Eval"))
_THEIR_TRANSFORMS = "PreProcess.transform_ops"
_MAX_BYTES = 1 << 20
_INSTEAD = "name the configuration of the model with -c"


def settings_beside(model: Path) -> Path | None:
    """Return the `inference.yml` of an exported folder or of a file; None where there is none."""
    path = (model if model.is_dir() else model.parent) / SETTINGS
    return path if path.is_file() else None


def client_sections(path: Path) -> dict[str, Any]:
    """Return the sections of a configuration of images without labels, from an `inference.yml`.

    Sections that clients alone read, such as `Hpi`, mean nothing here.

    Raises:
        ConfigError: it is wrong; by its own keys, a line for each fault.
    """
    settings = _read(path)
    own = settings.get(OWN_SETTINGS)
    settings |= own if isinstance(own, dict) else {}
    before = settings.get("PreProcess")
    transforms = before.get("transform_ops") if isinstance(before, dict) else None
    needed = {_THEIR_TRANSFORMS: transforms, "PostProcess": settings.get("PostProcess")}
    missing = [key for key, value in needed.items() if not value]
    if missing:
        raise ConfigError([f"{path}: {key}: missing; export the model again, or {_INSTEAD}" for key in missing])
    dataset = {"name": "SimpleDataSet", "data_dir": ".", "transforms": transforms}
    return {"Train": {"dataset": dataset}, "Eval": {"dataset": dataset}, "PostProcess": settings["PostProcess"]}


def in_settings(fault: str, copy: Path, path: Path) -> str:
    """Return a fault of the configuration `copy` as one of the `inference.yml` it was made from, by that one's keys."""
    if not fault.startswith(str(copy)):  # of an override
        return fault
    for key in _TRANSFORMS:
        fault = fault.replace(key, _THEIR_TRANSFORMS)
    return fault.replace(str(copy), str(path))


def _read(path: Path) -> dict[str, Any]:
    """Return the plain values in an `inference.yml`."""
    try:
        settings = yaml.safe_load(read_file(path, _MAX_BYTES))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {_INSTEAD}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())[:200]}; {_INSTEAD}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: holds no sections, expected PreProcess and PostProcess; {_INSTEAD}")
    return settings
