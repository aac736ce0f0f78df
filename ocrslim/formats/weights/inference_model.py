"""The weights of an exported folder: arrays by the names of their parameters."""

from __future__ import annotations

from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.program_check import read_program
from ocrslim.formats.weights.paths import existing_file, listing, unreadable
from ocrslim.formats.weights.tensors import OtherProgram, read_tensors
from ocrslim.formats.weights.weight_file import INFERENCE, MOST_BYTES, Arrays, WeightFile
from ocrslim.utils import read_file

PROGRAMS = (".pdmodel", ".json")  # the older format first: a folder may hold both


def find_program(source: str | Path) -> Path:
    """Return the program file of an inference model, given its folder or one of its files.

    Raises:
        WeightsError: there is none.
    """
    source = Path(source)
    try:
        if source.suffix in PROGRAMS and source.is_file():
            return source
        if source.is_dir():
            return _program_in(source)
        return _program_in(source.parent, existing_file(source).stem)
    except OSError as error:
        raise unreadable(source, error) from None


def read_inference_model(program: Path) -> WeightFile:
    """Read the weights that belong to the file `program`."""
    weights = existing_file(program.with_suffix(".pdiparams"))
    return WeightFile(weights, INFERENCE, _read_combined(weights, program))


def _program_in(folder: Path, stem: str | None = None) -> Path:
    stems = (
        [stem]
        if stem
        else ["inference", *sorted(p.stem for kind in ("pdmodel", "pdiparams") for p in folder.glob(f"*.{kind}"))]
    )
    for suffix in PROGRAMS:
        for name in stems:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    raise WeightsError(
        f"{folder}: no inference model (inference.pdmodel or inference.json, with inference.pdiparams): "
        f"it holds {listing(folder, 'inference.pdmodel')}: name a checkpoint, or an exported model's folder"
    )


def _read_combined(path: Path, program: Path) -> Arrays:
    """Read the `.pdiparams` of `program`."""
    shapes = _parameters(program)
    try:
        return read_tensors(read_file(path, MOST_BYTES), shapes)
    except OtherProgram as fault:
        raise WeightsError(
            f"{path}: not the weights of {program.name}: {fault}: keep the two files of one export together"
        ) from None
    except FormatFault as fault:
        raise WeightsError(f"{path}: truncated or {fault}: copy or export it again") from None


def _parameters(program: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a program's parameters, by name."""
    try:
        return read_program(program).parameters()
    except FormatFault as fault:
        raise WeightsError(f"{program}: truncated or damaged: {fault}: copy or export it again") from None
