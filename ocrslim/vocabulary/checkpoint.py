"""Checkpoints of recognisers with fewer characters, so that fine-tuning starts from all that was learnt.

What depends on the dictionary is found by building the network twice, with the old and with the new one: every
parameter that has another shape then. In PP-OCRv3 to v5 that is, beside the CTC layer, the second head that only
trains: its linear layer, and its embedding of the characters before. Each keeps the entries of the kept characters and
its own special ones, such as the begin and end of a text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paddle import nn

from ocrslim.config import Config, load_config, setting
from ocrslim.errors import ConfigError, GraphError
from ocrslim.formats import PLAN_SUFFIX, resolve_checkpoint
from ocrslim.inference import DygraphEngine
from ocrslim.models import build_model, save_checkpoint, state_arrays
from ocrslim.pruning import Network, apply_plan, load_network
from ocrslim.tasks import Wanted, characters_of, dictionary_name, dictionary_text
from ocrslim.utils import scratch_folder, write_text
from ocrslim.vocabulary.keeping import Kept, keep
from ocrslim.vocabulary.proof import drawn_lines, require_same
from ocrslim.vocabulary.result import Cut

CONFIG = "config.yml"
_DICTIONARY = "Global.character_dict_path"
_LAYERS = (nn.Linear, nn.Embedding)
# Entries of a parameter beyond one for each character -> how many of them come before the characters, in PaddleOCR's
# heads: CTC has the blank; SAR unknown, begin and end, and in its embedding padding, behind the characters; NRTR blank,
# unknown, begin and end, and one behind the characters that nothing uses.
_BEFORE = {1: 1, 2: 0, 3: 0, 5: 4}


def cut_checkpoint(model: Path, wanted: Wanted, config: Config, folder: Path, final: Path) -> Cut:
    """Write a checkpoint with the wanted characters alone, and its configuration, into an empty folder; prove it.

    Args:
        final: the folder's name in the end, for the paths in the configuration.

    Raises:
        ConfigError: the network comes from an exported file.
        WeightsError, PlanError: as `ocrslim.pruning.load_network`.
        GraphError: the classes are not those of linear layers and embeddings.
        DataError: the model knows none of the wanted characters.
        ExportError: the two networks' probabilities differ.
    """
    program = config.get("Architecture.program")
    if program:
        raise ConfigError(
            f"{model}: is a checkpoint of the exported network {program}: export it (ocrslim export), and cut that"
        )
    settings, full = config.section("Global"), load_network(config)
    entries = characters_of(settings)
    kept = keep(wanted, entries)
    space = settings.get("character_dict_path") is not None and bool(settings.get("use_space_char"))
    listed = kept.characters[:-1] if space else kept.characters
    smaller = _configuration(config, listed, space)
    small = _built(full, smaller)
    _take(full.model, small, len(entries), kept)
    images = drawn_lines(kept.characters, config.task.probe_shape)
    difference = require_same(DygraphEngine(full.model), DygraphEngine(small), kept.classes, images)
    source = resolve_checkpoint(model)
    sizes = source.stat().st_size, _save(full, small, smaller, folder / source.name, final).stat().st_size
    return Cut(source.name, kept, listed, len(entries) + 1, difference, sizes)


def _configuration(config: Config, dictionary: Sequence[str], space: bool) -> Config:
    """Return the configuration with another dictionary, and the sizes of layers that follow from it."""
    with scratch_folder() as scratch:
        listing, copy = scratch / dictionary_name(config.get(_DICTIONARY)), scratch / CONFIG
        write_text(listing, dictionary_text(dictionary))
        config.save(copy)
        return load_config(copy, [setting(_DICTIONARY, str(listing)), f"Global.use_space_char={json.dumps(space)}"])


def _built(full: Network, config: Config) -> nn.Layer:
    """Return the smaller network, pruned as the full one is, with fresh weights."""
    made = build_model(config.section("Architecture"))
    if full.plan is not None:
        apply_plan(made, full.plan)
    made.eval()
    return made


def _take(full: nn.Layer, small: nn.Layer, count: int, kept: Kept) -> None:
    """Give the smaller network what the full one has learnt.

    Args:
        count: characters of the full one.
    """
    owners = {f"{name}.{key}": layer for name, layer in full.named_sublayers() for key in layer._parameters}
    arrays = state_arrays(full)
    for key, tensor in small.state_dict().items():
        array = arrays[key]
        for axis, (size, wanted) in enumerate(zip(array.shape, tensor.shape)):
            if size == wanted:
                continue
            before = _BEFORE.get(size - count)
            if before is None or size - count != wanted - len(kept.places) or not isinstance(owners.get(key), _LAYERS):
                raise GraphError(
                    f"{key}: its {size} entries along axis {axis} depend on the {count} characters in a way that is "
                    "not known here: characters can be cut from PaddleOCR's CTC, SAR and NRTR heads"
                )
            places = [*range(before), *(before + place for place in kept.places), *range(before + count, size)]
            array = array.take(places, axis)
        tensor.set_value(array)


def _save(full: Network, small: nn.Layer, config: Config, target: Path, final: Path) -> Path:
    """Write checkpoint, plan and configuration; return the checkpoint."""
    save_checkpoint(small, target)
    stem = target.name.removesuffix(".pdparams")
    if full.plan is not None:
        replace(full.plan, architecture=config.section("Architecture")).save(target.with_name(stem + PLAN_SUFFIX))
    paths = {
        _DICTIONARY: str(final / Path(str(config.get(_DICTIONARY))).name),
        "Global.pretrained_model": str(final / stem),
        "Global.save_model_dir": str(final / "trained"),
        "Global.checkpoints": None,  # states of an optimizer of the full model
    }
    config.changed(paths).save(target.with_name(CONFIG))
    return target
