"""The weights of an exported folder: arrays by the names of their parameters."""

from __future__ import annotations

from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.program_check import read_program
from ocrslim.formats.weights.paths import existing_file, listing
from ocrslim.formats.weights.tensors import OtherProgram, read_tensors
from ocrslim.formats.weights.weight_file import INFERENCE, MOST_BYTES, Arrays, WeightFile
from ocrslim.utils import read_file


def read_inference_model(folder: Path, stem: str | None = None) -> WeightFile:
    """Read the weights of the inference model in `folder`, called `stem` if that is given."""
    stems = [stem] if stem else ["inference", *sorted(p.stem for p in folder.glob("*.pdmodel"))]
    for suffix in (".pdmodel", ".json"):
        for name in stems:
            program = folder / f"{name}{suffix}"
            if program.is_file():
                weights = existing_file(folder / f"{name}.pdiparams")
                return WeightFile(weights, INFERENCE, _read_combined(weights, program))
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
