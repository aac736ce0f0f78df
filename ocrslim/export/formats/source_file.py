"""Networks from files, written back as they came: the same file with other weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocrslim.export.formats.onnx import ONNX
from ocrslim.export.formats.paddle import LEGACY, MODELS, PIR
from ocrslim.formats import ONNX_SUFFIX, find_program, write_pruned, write_pruned_onnx
from ocrslim.inference import PARAMS_FILE
from ocrslim.models import ImportedNetwork

SETTINGS = "inference.yml"


def format_of(program: Path) -> str:
    """Return the format of a file that networks are read from, or of a folder with it."""
    if program.suffix == ONNX_SUFFIX:
        return ONNX
    return PIR if find_program(program).suffix == ".json" else LEGACY


def find_settings(program: Path) -> Path | None:
    """Return the `inference.yml` beside a file that networks are read from; None where there is none."""
    path = (program if program.suffix == ONNX_SUFFIX else find_program(program)).parent / SETTINGS
    return path if path.is_file() else None


def write_back(model: ImportedNetwork, program: Path, folder: Path, input_shape: Sequence[int]) -> None:
    """Write `model` into `folder` in the format of the file that it was read from, with its operators and names.

    Args:
        program: the file, or its folder.
        input_shape: [N, C, H, W] of an image that the network takes.

    Raises:
        WeightsError: the file is missing or damaged.
        PlanError: it is of another network.
    """
    arrays, groups = model.file_state()
    kind = format_of(program)
    if kind == ONNX:
        write_pruned_onnx(program, folder / program.name, arrays, groups, input_shape)
    else:
        written = write_pruned(program, folder, arrays, groups)
        written.with_suffix(".pdiparams").rename(folder / PARAMS_FILE)
        written.rename(folder / MODELS[kind])
