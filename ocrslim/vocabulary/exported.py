"""Exported recognisers with fewer characters: the same file with smaller tensors, its dictionary and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ocrslim.config import Config
from ocrslim.errors import ConfigError, GraphError
from ocrslim.export import client_settings, guard_pir
from ocrslim.formats import ONNX_SUFFIX, exported_files, write_cut_classes_onnx, write_pruned
from ocrslim.graph import read_network
from ocrslim.inference import LEGACY_MODEL, PARAMS_FILE, PIR_MODEL, Engine, InferenceEngine, OnnxEngine, open_exported
from ocrslim.tasks import CHARACTERS, Wanted, characters_of
from ocrslim.utils import read_file, write_text
from ocrslim.vocabulary.keeping import classes_of, keep
from ocrslim.vocabulary.last_layer import LastLayer, find_last_layer
from ocrslim.vocabulary.proof import drawn_lines, require_same
from ocrslim.vocabulary.result import Cut

_SETTINGS = "inference.yml"
_MOST_BYTES = 1 << 24


def cut_exported(model: Path, wanted: Wanted, config: Config, folder: Path) -> Cut:
    """Write an exported recogniser with the wanted characters alone into an empty folder, and prove it.

    Raises:
        WeightsError: the model cannot be read, or its dictionary is of another one.
        ConfigError: it has no dictionary.
        GraphError: its classes are not those of a linear layer.
        DataError: it knows none of the wanted characters.
        ExportError: the two models' probabilities differ.
    """
    dictionary, origin = _dictionary(model, config)
    shape = config.task.probe_shape
    network = read_network(model, shape)
    last = _last_layer(model, network.program)
    entries = classes_of(dictionary, last.classes, model, origin)
    kept = keep(wanted, entries)
    listed = kept.characters[: len(kept.characters) - (len(entries) - len(dictionary))]  # clients add the space
    written = _write(model, folder, last.kept(network.arrays, kept.classes), listed, shape)
    settings = _settings(model, config)
    if settings is not None:
        settings["PostProcess"]["character_dict"] = list(listed)
        write_text(folder / _SETTINGS, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    images = drawn_lines(kept.characters, shape)
    difference = require_same(open_exported(model, config.task), _own(written), kept.classes, images)
    return Cut(written.name, kept, listed, last.classes, difference, (_bytes(model), _bytes(written)))


def _dictionary(model: Path, config: Config) -> tuple[tuple[str, ...], str]:
    """Return the dictionary without the space that clients add, and where it comes from."""
    settings = {**config.section("Global"), "use_space_char": False}
    origin = settings.get("character_dict_path")
    if origin is None:
        raise ConfigError(f"{model}: brings no dictionary along: name the one it was trained with, --dict FILE")
    return characters_of(settings), str(origin)


def _last_layer(model: Path, program: Any) -> LastLayer:
    try:
        return find_last_layer(program)
    except GraphError as error:
        raise GraphError(f"{model}: {error}") from None


def _write(
    model: Path, folder: Path, arrays: Mapping[str, np.ndarray], dictionary: Sequence[str], shape: Sequence[int]
) -> Path:
    """Write the model, Paddle's under the names that clients expect; return the file, or its program."""
    if model.suffix == ONNX_SUFFIX:
        target = folder / model.name
        write_cut_classes_onnx(model, target, arrays, {CHARACTERS: "\n".join(dictionary)}, shape)
        return target
    written = write_pruned(model, folder, arrays, {})
    written.with_suffix(".pdiparams").rename(folder / PARAMS_FILE)
    if written.suffix == ".json":
        guard_pir(folder)
    return written.rename(folder / (PIR_MODEL if written.suffix == ".json" else LEGACY_MODEL))


def _settings(model: Path, config: Config) -> dict[str, Any] | None:
    """Return the settings for clients: those beside the model, or made for an inference folder without any."""
    path = (model if model.is_dir() else model.parent) / _SETTINGS
    if path.is_file():
        settings: dict[str, Any] = yaml.safe_load(read_file(path, _MOST_BYTES))
        return settings
    return None if model.suffix == ONNX_SUFFIX else client_settings(config)


def _bytes(model: Path) -> int:
    return sum(file.stat().st_size for file in exported_files(model))


def _own(model: Path) -> Engine:
    """Return what runs a model that was just written, in the runtime of its format."""
    return OnnxEngine(model) if model.suffix == ONNX_SUFFIX else InferenceEngine(model, own=True)
