"""The files that are compared: the model as it came, rewritten without a loss, and smaller; and what they cost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ocrslim.compression.request import file_hash, model_files
from ocrslim.config import Config
from ocrslim.errors import ArtifactError
from ocrslim.export import Exported, export_network, format_of, network_for
from ocrslim.formats import is_exported, named_network
from ocrslim.inference import RUNTIMES
from ocrslim.pruning import Network, load_base_network, measure_cost, model_graph
from ocrslim.utils import check_writable

_ONNX = "onnx"


@dataclass(frozen=True)
class Costs:
    """What a model costs: bytes of its file or files, parameters, and MACs of the network before it is rewritten."""

    bytes: int
    params: int
    macs: int

    def to_json(self) -> dict[str, int]:
        """Return it as JSON."""
        return asdict(self)


def costs_of_original(model: Path, config: Config) -> Costs:
    """Return what a model costs as it came.

    Args:
        config: of the model.
    """
    graph = model_graph(load_base_network(config).model, config.task, config.tree)
    cost = measure_cost(graph)
    return Costs(sum(path.stat().st_size for path in model_files(model)), cost.params, cost.macs)


def original_for(model: Path, config: Config, folder: Path) -> Path:
    """Return the file of a model as it came that `Export.runtime` runs; where there is none, it is written.

    Args:
        model: as the user has it.
        config: of the model.
        folder: for a file that has to be written; emptied.

    Raises:
        ExportError, WeightsError: it cannot be written for that runtime.
    """
    source, runtime = named_network(model), RUNTIMES[config.export.runtime]
    if is_exported(source) and _own_suffix(source) in runtime.suffixes:
        return runtime.file_of(source)
    return unpruned_for(config.changed({"Export.rewrite": False}), folder)


def unpruned_for(config: Config, folder: Path) -> Path:
    """Write the unpruned network of a configuration for `Export.runtime`, rewritten if it says so; return the file.

    Args:
        folder: emptied first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    check_writable(folder)
    return network_for(config.export.runtime, load_base_network(config).model, config, folder)


def formats_for(model: Path, config: Config) -> Config:
    """Return the configuration with the formats to write: those asked for, else that of the model.

    What `Export.runtime` reads is always among them.
    """
    source, runtime = named_network(model), RUNTIMES[config.export.runtime]
    asked = config.export.formats
    if asked is None and not is_exported(source):
        return config  # what this Paddle writes, and ONNX
    formats = list(asked or (format_of(source),))
    if not any(_SUFFIXES.get(kind) in runtime.suffixes for kind in formats):
        formats.append(_ONNX)
    return config.changed({"Export.formats": formats})


def export_to(out: Path, network: Network, config: Config, scratch: Path) -> dict[str, Any]:
    """Export a network into `out`, proven; what else is there stays.

    Args:
        scratch: a folder in `out` for the export until it is complete.

    Returns:
        what the record has of it, the names of its `files` in `out`, and their `sha256`.

    Raises:
        ExportError: it computes something else than the network.
        ArtifactError: it cannot be written.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    found = _described(export_network(network, config, scratch, out))
    names = sorted(str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file())
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).replace(out / name)
    shutil.rmtree(scratch)
    return {**found, "files": names, "sha256": file_hash(out / found["folder"])}


def is_whole(exported: Mapping[str, Any], out: Path) -> bool:
    """Tell whether a folder still has what `export_to` wrote there."""
    whole = all((out / name).is_file() for name in exported["files"])
    return whole and file_hash(out / exported["folder"]) == exported["sha256"]


def _described(exported: Exported) -> dict[str, Any]:
    return {
        "format": exported.format,
        "folder": str(exported.formats[0].folder.relative_to(exported.folder)),
        "formats": [each.format for each in exported.formats],
        "bytes": exported.bytes,
        "max_difference": max(exported.differences.values(), default=None),
        "unverified": exported.unverified,
        "clients": dict(exported.clients),
    }


def require_place(out: Path, run: Path, journal: str, model: Path) -> None:
    """Require that a folder is free for the result, or holds an earlier one.

    Raises:
        ArtifactError: it holds other files, or the model itself.
    """
    if out.exists() and not out.is_dir():
        raise ArtifactError(f"--out {out}: is not a folder: choose an empty or a new folder")
    if out.resolve() in (model.resolve(), *model.resolve().parents):
        raise ArtifactError(f"--out {out}: holds the model itself: choose an empty or a new folder")
    if out.is_dir() and any(out.iterdir()) and not (run / journal).is_file():
        raise ArtifactError(f"--out {out}: holds other files, expected an empty or a new folder: choose one")


_SUFFIXES: dict[str, str] = {"paddle": ".pdmodel", "pir": ".json", "onnx": ".onnx"}


def _own_suffix(source: Path) -> str:
    return _SUFFIXES[format_of(source)]
