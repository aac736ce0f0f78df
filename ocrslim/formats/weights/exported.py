"""Exported networks, as they are named: an inference folder, one of its files, or an ONNX file."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats.weights.inference_model import PROGRAMS, find_program
from ocrslim.formats.weights.paths import existing_file

ONNX_SUFFIX = ".onnx"


def is_exported(source: str | Path) -> bool:
    """Tell whether `source` names an exported network, which may be missing or damaged, and not a checkpoint."""
    path = Path(source)
    if path.suffix in (ONNX_SUFFIX, *PROGRAMS):
        return True
    with contextlib.suppress(OSError, WeightsError):
        return path.is_dir() and not Path(f"{path}.pdparams").is_file() and bool(find_program(path))
    return False


def exported_files(source: str | Path) -> tuple[Path, ...]:
    """Return the files of an exported network: its program, and its weights where these are apart.

    Raises:
        WeightsError: there are none.
    """
    path = Path(source)
    if path.suffix == ONNX_SUFFIX:
        return (existing_file(path),)
    program = find_program(path)
    return (program, existing_file(program.with_suffix(".pdiparams")))
