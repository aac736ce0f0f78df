"""The configuration of an exported folder, from the `inference.yml` that ocrslim and PaddleOCR write into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ocrslim.config import Config, load_config
from ocrslim.errors import ConfigError, OcrSlimError
from ocrslim.utils import read_file, scratch_folder, write_text

SETTINGS = "inference.yml"
_TRANSFORMS, _THEIR_TRANSFORMS = "Eval.dataset.transforms", "PreProcess.transform_ops"
_WEIGHTS = "Global.pretrained_model"
_MAX_BYTES = 1 << 20
_INSTEAD = "name the configuration of the model with -c"


def predict_configuration(model: Path | None, path: Path | None, overrides: Sequence[str]) -> Config:
    """Read how to run `model`: from the configuration at `path`, or from the model's own folder.

    Raises:
        OcrSlimError: neither is named, the model is named twice, or what is named is wrong.
    """
    if path is None and model is None:
        raise OcrSlimError(
            "no model is named: expected an exported folder (ocrslim predict FOLDER ...), or -c CONFIG with "
            "-o Global.pretrain_weights=PATH"
        )
    if path is None:
        assert model is not None
        return _with_weights(load_exported(model, overrides), model)
    config = load_config(path, overrides)
    return config if model is None else _with_weights(config, model)


def load_exported(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """Read pre- and post-processing from `folder/inference.yml`, checked as those of any configuration.

    Raises:
        ConfigError: the folder or the file is missing or wrong; by the file's own keys, a line for each fault.
    """
    path = folder / SETTINGS
    settings = _read(folder)
    with scratch_folder() as scratch:
        copy = scratch / "config.yml"
        write_text(copy, yaml.safe_dump(_as_configuration(settings, path), sort_keys=False))
        try:
            config = load_config(copy, overrides)
            config.require_transforms("Eval")
            config.require("PostProcess")
        except ConfigError as error:
            raise ConfigError([of_file(line, copy, path) for line in error.problems]) from None
    return dataclasses.replace(config, path=path)


def settings_beside(model: Path) -> Path | None:
    """Return the `inference.yml` of an exported folder or of a file; None where there is none."""
    path = (model if model.is_dir() else model.parent) / SETTINGS
    return path if path.is_file() else None


def exported_sections(path: Path) -> dict[str, Any]:
    """Return the sections of a configuration of unlabelled images, from an `inference.yml`.

    Raises:
        ConfigError: it is wrong; by its own keys.
    """
    found = _as_configuration(_read(path.parent), path)
    dataset = found["Eval"]["dataset"]
    del dataset["label_file_list"]
    return {**found, "Train": {"dataset": dataset}}


def _read(folder: Path) -> dict[str, Any]:
    """The plain values in `folder/inference.yml`."""
    path = folder / SETTINGS
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "not found"
        raise ConfigError(f"{folder}: {found}, expected an exported folder with {SETTINGS} in it, or else {_INSTEAD}")
    try:
        settings = yaml.safe_load(read_file(path, _MAX_BYTES))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found, expected pre- and post-processing of the model; {_INSTEAD}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {_INSTEAD}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())[:200]}; {_INSTEAD}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: holds no sections, expected PreProcess and PostProcess; {_INSTEAD}")
    return settings


def _as_configuration(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """The sections of a configuration that say the same; clients' other sections, such as Hpi, mean nothing here."""
    before = settings.get("PreProcess")
    transforms = before.get("transform_ops") if isinstance(before, dict) else None
    missing = [key for key, value in ((_THEIR_TRANSFORMS, transforms), ("PostProcess", settings.get("PostProcess")))
               if not value]  # fmt: skip
    if missing:
        raise ConfigError([f"{path}: {key}: missing; export the model again, or {_INSTEAD}" for key in missing])
    data = {"data_dir": ".", "label_file_list": [SETTINGS], "transforms": transforms}  # labels are not read
    return {"Eval": {"dataset": {"name": "SimpleDataSet", **data}}, "PostProcess": settings["PostProcess"]}


def of_file(line: str, copy: Path, path: Path) -> str:
    """A fault of the copy as one of the file that it was made from, by that one's keys."""
    return line.replace(f"{copy}: {_TRANSFORMS}", f"{path}: {_THEIR_TRANSFORMS}").replace(str(copy), str(path))


def _with_weights(config: Config, model: Path) -> Config:
    """Let `model` be the network that the configuration names.

    Raises:
        ConfigError: `-o` names one as well.
    """
    if _WEIGHTS in config.given:
        raise ConfigError(
            f"-o {_WEIGHTS}={config.weights}: {model} is named as well, and both are the model to run: keep one"
        )
    changed = config.changed({_WEIGHTS: str(model)})
    return dataclasses.replace(changed, given=changed.given | {_WEIGHTS})
