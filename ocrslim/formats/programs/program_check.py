"""Checks of an exported program before Paddle loads it: Paddle checks little, and a bad program ends the process."""

from __future__ import annotations

from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.legacy_program import LegacyProgram
from ocrslim.formats.programs.pir_program import PirProgram

Shape = tuple[int, ...]


def read_program(path: Path | str) -> LegacyProgram | PirProgram:
    """Read a `.pdmodel` or a `.json` of Paddle.

    Raises:
        OSError: it cannot be read.
        WeightsError: it is damaged, or no program.
    """
    try:
        return PirProgram.read(path) if Path(path).suffix == ".json" else LegacyProgram.read(path)
    except FormatFault as fault:
        raise WeightsError(f"{path}: not a Paddle program: {fault}: copy or export it again") from None


def check_program(path: Path | str) -> Shape:
    """Check that a program is whole, computes tensors alone, and has one image for input; return its shape.

    Raises:
        OSError, WeightsError: as `read_program`; or it may not be run.
    """
    program = read_program(path)
    try:
        return program.check()
    except FormatFault as fault:
        raise WeightsError(f"{path}: not a program that ocrslim runs: {fault}: copy or export it again") from None
