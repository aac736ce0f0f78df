"""A recogniser with fewer characters, in a folder that appears complete and proven or not at all."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ocrslim.config import Config
from ocrslim.errors import ArtifactError, ConfigError
from ocrslim.export import check_target, put_in_place, resolve_target, staging_folder
from ocrslim.formats import is_exported
from ocrslim.tasks import Wanted, dictionary_name, dictionary_text
from ocrslim.utils import read_json, same_place, write_json, write_text
from ocrslim.vocabulary.checkpoint import cut_checkpoint
from ocrslim.vocabulary.exported import cut_exported
from ocrslim.vocabulary.proof import TOLERANCE
from ocrslim.vocabulary.result import Cut

RECORD = "charset.json"
_COMMAND = "ocrslim charset"
_CHOOSE = "choose an empty or a new folder with --out"


@dataclass(frozen=True)
class CutCharacters:
    """A recogniser with fewer characters.

    Attributes:
        folder: it is in.
        model: its file, or its program, in there.
        classes: of its last layer before and after, the blank among them.
        unknown: wanted characters that the model does not know.
        difference: the largest one of probabilities to the whole model's, divided by their sum over the kept classes.
        bytes: of the model before and after.
    """

    folder: Path
    model: Path
    classes: tuple[int, int]
    unknown: tuple[str, ...]
    difference: float
    bytes: tuple[int, int]


def cut_characters(config: Config, wanted: Wanted, folder: Path) -> CutCharacters:
    """Write the recogniser that `config` names without all but the wanted characters, the blank and the space.

    The format stays: an inference folder, an ONNX file or a checkpoint with its configuration. The dictionary lies
    beside it, and is in the settings or the metadata that clients read. Nothing is trained: each kept class has the
    parameters that it had.

    Args:
        folder: new, empty, or of an earlier cut, which is replaced.

    Raises:
        ConfigError: no model or no dictionary is named, or the model is no recogniser with a CTC decoder.
        WeightsError, PlanError: the model cannot be read, or is not of its dictionary or configuration.
        GraphError: its classes are not those of a linear layer.
        DataError: it knows none of the characters.
        ExportError: its probabilities differ from those of the whole model by more than 1e-5.
        ArtifactError: the folder cannot be written, or holds other files.
    """
    model = _model(config)
    folder = resolve_target(folder)
    if same_place(folder, model) or same_place(folder, model.parent):
        raise ArtifactError(f"{folder}: holds the model that is cut, expected another folder: {_CHOOSE}")
    ours = _files_of(folder)

    def is_ours(path: Path) -> bool:
        return path.name in ours

    check_target(folder, is_ours, _CHOOSE, RECORD)
    with staging_folder(folder) as staged:
        if is_exported(model):
            made = cut_exported(model, wanted, config, staged)
        else:
            made = cut_checkpoint(model, wanted, config, staged, folder)
        listing = dictionary_name(config.get("Global.character_dict_path"))
        write_text(staged / listing, dictionary_text(made.dictionary))
        files = sorted([*(path.name for path in staged.iterdir()), RECORD])
        write_json(staged / RECORD, {"files": files, **_record(made, model)})
        put_in_place(staged, folder, is_ours)
    classes = (made.classes, len(made.kept.classes))
    return CutCharacters(folder, folder / made.file, classes, made.kept.unknown, made.difference, made.bytes)


def _model(config: Config) -> Path:
    """Return the model, which has to be a recogniser whose steps are classes of characters."""
    if not config.weights:
        raise ConfigError(f"{config.path}: Global.pretrained_model is empty, expected a recogniser: name it first")
    if config.task.model_type != "rec":
        raise ConfigError(f"{config.weights}: is for {config.task.title}, expected a recogniser, which has characters")
    decoder = config.get("PostProcess.name")
    if decoder != "CTCLabelDecode":
        raise ConfigError(
            f"{config.path}: PostProcess.name: found {decoder}, expected CTCLabelDecode: characters are cut from "
            "recognisers with a CTC head"
        )
    return Path(config.weights)


def _files_of(folder: Path) -> frozenset[str]:
    """Return the names of the files that an earlier cut wrote into a folder."""
    with contextlib.suppress(ArtifactError):
        files = read_json(folder / RECORD, _COMMAND).get("files")
        return (
            frozenset(files) if isinstance(files, list) and all(isinstance(one, str) for one in files) else frozenset()
        )
    return frozenset()


def _record(cut: Cut, model: Path) -> dict[str, object]:
    return {
        "source": str(model),
        "classes": [cut.classes, len(cut.kept.classes)],
        "kept": [int(one) for one in cut.kept.classes],
        "unknown": list(cut.kept.unknown),
        "max_difference": cut.difference,
        "tolerance": TOLERANCE,
        "bytes": list(cut.bytes),
    }
