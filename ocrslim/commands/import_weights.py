"""The command `import-weights`."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import paddle

from ocrslim.config import Config
from ocrslim.errors import ArtifactError, WeightsError
from ocrslim.models import build_model, load_weights, read_weights, save_checkpoint, state_arrays
from ocrslim.pruning import refuse_pruned
from ocrslim.utils import check_writable, hash_arrays, scratch_folder


def run_import(config: Config, source: Path, destination: Path) -> dict[str, Any]:
    """Convert an ONNX file, an inference folder or a checkpoint to a `.pdparams` of this architecture.

    The configuration is written beside it, under the same name with `.yml`. Other files of these names are replaced
    only with `Global.overwrite`, and the files that the command reads never.

    Raises:
        ArtifactError: a file would be replaced.
        PlanError: `source` is a pruned checkpoint.
        WeightsError: its weights are missing, damaged, or of another architecture.
    """
    config.require("Architecture")
    if destination.suffix != ".pdparams":
        destination = destination.with_name(destination.name + ".pdparams")
    settings = destination.with_suffix(".yml")
    refuse_pruned(source)
    paddle.seed(config.seed)
    model = build_model(config.section("Architecture"))
    loaded = load_weights(model, source)
    _require_other_files((destination, settings), (loaded.source, config.path))
    check_writable(destination.parent)
    if not config.overwrite:
        _require_same(destination, settings, model, config)
    save_checkpoint(model, destination)
    config.save(settings)
    print(f"{loaded.source} ({loaded.kind}) -> {destination}")
    return {"checkpoint": str(destination), "kind": loaded.kind, "initialised": list(loaded.initialised)}


def _require_other_files(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to overwrite a source of the import, even under another name, or anything but a regular file."""
    for target in filter(Path.exists, targets):
        if not target.is_file():
            raise ArtifactError(f"{target}: exists and is not a file, expected a file to write: choose another")
        for source in sources:
            if source.exists() and target.samefile(source):
                raise ArtifactError(
                    f"{target}: the import reads this file ({source}), expected another one to write to"
                )


def _require_same(weights: Path, settings: Path, model: paddle.nn.Layer, config: Config) -> None:
    """Refuse to replace files that the same import has not written before."""
    if not weights.exists() and not settings.exists():
        return
    with scratch_folder() as folder:
        made = folder / settings.name
        config.save(made)
        same = settings.exists() and filecmp.cmp(settings, made, shallow=False)
    if not (same and weights.exists() and _holds(weights, model)):
        there = weights if weights.exists() else settings
        raise ArtifactError(
            f"{there}: exists and was not written by this import, which would replace it: choose another name, "
            "or replace it with -o Global.overwrite=true"
        )


def _holds(path: Path, model: paddle.nn.Layer) -> bool:
    try:
        return hash_arrays(read_weights(path)) == hash_arrays(state_arrays(model))
    except WeightsError:
        return False
