"""The weights of an exported folder: arrays by the names of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.program_check import read_program
from ocrslim.formats.weights.paths import existing_file, listing, unreadable
from ocrslim.formats.weights.tensors import OtherProgram, read_tensors
from ocrslim.formats.weights.weight_file import INFERENCE, MOST_BYTES, Arrays, WeightFile
from ocrslim.utils import listed, printable, read_file

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
        return _of_stem(source.parent, existing_file(source).stem) or _missing(source.parent)
    except OSError as error:
        raise unreadable(source, error) from None


def read_inference_model(program: Path) -> WeightFile:
    """Read the weights that belong to the file `program`."""
    weights = existing_file(program.with_suffix(".pdiparams"))
    return WeightFile(weights, INFERENCE, _read_combined(weights, program))


def programs_in(folder: Path) -> list[Path]:
    """Return the programs in a folder, each in one format; where there is an `inference`, that alone."""
    names = {path.stem for kind in ("pdmodel", "pdiparams") for path in folder.glob(f"*.{kind}")}
    for stems in (["inference"], sorted(names)):
        found = [program for stem in stems if (program := _of_stem(folder, stem)) is not None]
        if found:
            return found
    return []


def _of_stem(folder: Path, stem: str) -> Path | None:
    """Return the program of that name; an empty one only where there is no other: it guards a PIR export."""
    paths = [path for suffix in PROGRAMS if (path := folder / f"{stem}{suffix}").is_file()]
    return next((path for path in paths if path.stat().st_size), paths[-1] if paths else None)


def _program_in(folder: Path) -> Path:
    found = programs_in(folder)
    if len(found) > 1:
        names = listed([printable(path.name) for path in found])
        raise WeightsError(f"{folder}: holds {len(found)} networks ({names}), expected one: name the file")
    return found[0] if found else _missing(folder)


def _missing(folder: Path) -> NoReturn:
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
