"""Networks from files, written back as they came: the same file with other weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ocrslim.export.formats.paddle import LEGACY, PIR
from ocrslim.formats import ONNX_SUFFIX, find_program, write_pruned, write_pruned_onnx
from ocrslim.inference import LEGACY_MODEL, PARAMS_FILE, PIR_MODEL
from ocrslim.models import ImportedNetwork

ONNX = "onnx"
SETTINGS = "inference.yml"


def write_back(model: ImportedNetwork, program: Path, folder: Path, input_shape: Sequence[int]) -> str:
    """Write `model` into `folder` in the format of the file that it was read from, with its operators and names.

    Args:
        program: the file, or its folder; an `inference.yml` beside it comes along.
        input_shape: [N, C, H, W] of an image that the network takes.

    Returns:
        the format: `LEGACY`, `PIR` or `ONNX`.

    Raises:
        WeightsError: the file is missing or damaged.
        PlanError: it is of another network.
    """
    arrays, groups = model.file_state()
    if program.suffix == ONNX_SUFFIX:
        write_pruned_onnx(program, folder / program.name, arrays, groups, input_shape)
        kind, home = ONNX, program.parent
    else:
        written = write_pruned(program, folder, arrays, groups)
        kind, home = (PIR if written.suffix == ".json" else LEGACY), find_program(program).parent
        written.with_suffix(".pdiparams").rename(folder / PARAMS_FILE)
        written.rename(folder / (PIR_MODEL if kind == PIR else LEGACY_MODEL))
    if (home / SETTINGS).is_file():
        shutil.copyfile(home / SETTINGS, folder / SETTINGS)
    return kind
