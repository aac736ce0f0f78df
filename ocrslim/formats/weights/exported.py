"""Exported networks, as they are named: an inference folder, one of its files, or an ONNX file or its folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats.weights.inference_model import PROGRAMS, find_program, programs_in
from ocrslim.formats.weights.paths import existing_file
from ocrslim.utils import listed, printable

ONNX_SUFFIX = ".onnx"


def is_exported(source: str | Path) -> bool:
    """Tell whether `source` names an exported network, which may be missing or damaged, and not a checkpoint."""
    path = Path(source)
    if path.suffix in (ONNX_SUFFIX, *PROGRAMS):
        return True
    with contextlib.suppress(OSError):
        return path.is_dir() and not Path(f"{path}.pdparams").is_file() and bool(programs_in(path))
    return False


def named_network(source: str | Path) -> Path:
    """Return the path of a network by which everything else knows it: the ONNX file of a folder that has only that.

    Raises:
        WeightsError: the folder has several ONNX files.
    """
    path = Path(source)
    with contextlib.suppress(OSError):
        if path.is_dir() and not Path(f"{path}.pdparams").is_file() and not programs_in(path):
            files = sorted(path.glob(f"*{ONNX_SUFFIX}"))
            if len(files) > 1:
                names = listed([printable(file.name) for file in files])
                raise WeightsError(f"{path}: holds {len(files)} networks ({names}), expected one: name the file")
            return files[0] if files else path
    return path


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
