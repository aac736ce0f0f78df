"""An inference model written back with fewer channels, in the format that it came in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ocrslim.errors import ArtifactError, PlanError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.legacy_program import LegacyProgram
from ocrslim.formats.programs.pir_program import PirProgram
from ocrslim.formats.programs.program_check import check_program, read_program
from ocrslim.formats.pruned.legacy_patch import patched_legacy
from ocrslim.formats.pruned.pir_patch import patched_pir
from ocrslim.formats.weights.inference_model import PROGRAMS, find_program, read_inference_model
from ocrslim.formats.weights.tensors import write_tensors
from ocrslim.utils import atomic_file, read_file, same_place

_BESIDE = (".pdiparams.info",)  # names and flags of the parameters, of which no cut changes any
_MOST_BYTES = 1 << 24


def write_pruned(
    source: Path | str, target: Path | str, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]
) -> Path:
    """Write the inference model `source` with other arrays into the folder `target`; return its program's path.

    Operators, names, attributes and the format are those of `source`. Each file appears complete or not at all, the
    program last; for both at once, write into a new folder and rename that.

    Args:
        source: a folder, or one of its files.
        arrays: new values by the names in the file, such as `conv2d_3.w_0`; what is not among them stays.
        groups: number of groups of the grouped convolutions that lose some, by the name of their weight.

    Raises:
        WeightsError: `source` cannot be read.
        PlanError: an array does not belong to it, or has another number of axes.
        ArtifactError: `target` is the folder of `source` or cannot be written, or the program does not take the shapes.
    """
    path, target = find_program(source), Path(target)
    if same_place(path.parent, target):
        raise ArtifactError(f"{target}: holds the model that is pruned, expected another folder for the result")
    others = [suffix for suffix in PROGRAMS if suffix != path.suffix and (target / f"{path.stem}{suffix}").exists()]
    if others:
        raise ArtifactError(
            f"{target}: holds {path.stem}{others[0]}, a program of the other format, which would no longer have its "
            "weights: choose an empty or a new folder"
        )
    check_program(path)
    before = read_inference_model(path).arrays
    after = {**before, **{name: _fitting(path, before, name, array) for name, array in arrays.items()}}
    content = _patched(path, after, groups)
    for suffix in _BESIDE:
        beside = path.with_suffix(suffix)
        if beside.is_file():
            _write(target / beside.name, read_file(beside, _MOST_BYTES))
    _write(target / f"{path.stem}.pdiparams", write_tensors(after))
    _write(target / path.name, content)
    return target / path.name


def _fitting(path: Path, before: Mapping[str, np.ndarray], name: str, array: np.ndarray) -> np.ndarray:
    if name not in before:
        raise PlanError(f"{path}: has no tensor {name}: the arrays are of another model")
    if array.ndim != before[name].ndim:
        raise PlanError(f"{path}: {name} has {before[name].ndim} axes, not {array.ndim}: it is of another model")
    return np.ascontiguousarray(array, dtype=before[name].dtype)


def _patched(path: Path, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]) -> bytes:
    program = read_program(path)
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        if isinstance(program, PirProgram):
            return patched_pir(program, shapes, groups)
        assert isinstance(program, LegacyProgram)
        return patched_legacy(program, shapes, groups)
    except FormatFault as fault:
        raise ArtifactError(
            f"{path}: cannot be written back with these channels: {fault}: export the pruned network instead"
        ) from None


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as stream:
        stream.write(content)
