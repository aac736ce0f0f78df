"""The configurations of a detector and a recogniser that read the same pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocrslim.config.config import Config
from ocrslim.config.of_model import load_model_config, setting
from ocrslim.errors import ConfigError, OcrSlimError

DETECTOR, RECOGNISER = "det", "rec"
_TITLES = {DETECTOR: "detector", RECOGNISER: "recogniser"}


def load_pair(
    detector: Path, recogniser: Path, images: Path, overrides: Sequence[str] = (), dictionary: Path | None = None
) -> dict[str, Config]:
    """Read the configuration of each of two models, by task.

    Args:
        images: folder of pages, without labels.
        overrides: of both, as for `load_config`.
        dictionary: of a recogniser that does not bring one along.

    Raises:
        OcrSlimError: there is no such model, nothing says how one is run, or it is of the other kind; with the option
            that names it.
    """
    data = [setting(f"{mode}.dataset.data_dir", str(images)) for mode in ("Train", "Eval")]
    both = [*data, *(f"{mode}.dataset.label_file_list=" for mode in ("Train", "Eval")), *overrides]
    own = [] if dictionary is None else [setting("Global.character_dict_path", str(dictionary))]
    return {
        DETECTOR: _load(DETECTOR, detector, both),
        RECOGNISER: _load(RECOGNISER, recogniser, [*both, *own]),
    }


def _load(task: str, model: Path, overrides: Sequence[str]) -> Config:
    try:
        found = load_model_config(model, None, overrides)
    except ConfigError:  # where nothing says its task, which the option does
        found = _load_as(task, model, overrides)
    kind = found.task.model_type
    if kind != task:
        remedy = f": name it with --{kind}" if kind in _TITLES else ""
        raise ConfigError(f"--{task} {model}: is a model for {found.task.title}, expected a {_TITLES[task]}{remedy}")
    return found


def _load_as(task: str, model: Path, overrides: Sequence[str]) -> Config:
    try:
        return load_model_config(model, None, overrides, task)
    except OcrSlimError as error:
        raise OcrSlimError("\n".join(f"--{task}: {line}" for line in str(error).splitlines())) from None
