"""The network in an exported folder of Paddle: `.pdmodel` (legacy) or `.json` (PIR), with its `.pdiparams`.

Nothing in the files is run: the program is checked (`ocrslim.formats`), then Paddle translates it to PIR and infers the
shapes that do not depend on the size of the image. The weights are read without Paddle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.base import core

from ocrslim.errors import WeightsError
from ocrslim.formats import check_program, find_program, read_weight_file, require_finite
from ocrslim.graph.frontends.imported import Imported
from ocrslim.graph.frontends.pir_reader import PirReader
from ocrslim.graph.program import Op, Program
from ocrslim.utils import cause_of, postponed

_INPUTS, _OUTPUTS = ("feed", "data"), "fetch"
_STATE = "dropout_state_in"  # of a recurrent layer


def read_inference_folder(source: str | Path) -> Imported:
    """Read the network in an exported folder, or in one of its files.

    Sizes that the file leaves open are -1 in the program, as are those that only a run shows.

    Raises:
        WeightsError: files are missing, damaged or do not belong together; the program holds what is not run here, has
            several inputs, or an input that is no image; weights are not finite.
    """
    path = find_program(source)
    _checked(path)
    weights = read_weight_file(path)
    require_finite(weights)
    program = _pir_program(path)  # its block does not keep it alive
    try:
        ops = list(PirReader({name: name for name in weights.arrays}).ops(program.global_block()))
        return _imported(_complete(path, ops), weights.arrays)
    except (KeyError, IndexError, StopIteration, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: an operator is not as Paddle makes it ({type(error).__name__}: {cause_of(error)}): export it "
            "again"
        ) from None


def _checked(path: Path) -> None:
    try:
        check_program(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}: check the file") from None


def _pir_program(path: Path) -> Any:
    """Return the program in Paddle's present representation."""
    with postponed(), paddle.pir_utils.DygraphPirGuard():
        try:
            if path.suffix == ".json":
                program = paddle.static.Program()
                core.deserialize_pir_program(str(path), program)
                return program
            return paddle.pir.translate_to_pir(core.ProgramDesc(path.read_bytes()))
        except MemoryError:
            raise
        except Exception as error:  # Paddle raises many types for what its operators do not take
            raise WeightsError(
                f"{path}: Paddle cannot translate it ({cause_of(error)}): export it again; what a newer paddlepaddle "
                f"wrote may need that version (this is {paddle.__version__})"
            ) from None


def _complete(path: Path, ops: Sequence[Op]) -> list[Op]:
    """Return the operators without the states of dropout, parameters that no file holds.

    Raises:
        WeightsError: another parameter is missing.
    """
    made = {value.id for op in ops for value in op.outputs}
    found = []
    for op in ops:
        lacks = [name for name, one in op.inputs.items() if one and one.parameter is None and one.id not in made]
        if lacks not in ([], [_STATE]):
            raise WeightsError(
                f"{path}: its {op} reads a parameter ({lacks[0]}) that {path.stem}.pdiparams lacks: export it again"
            )
        found.append(replace(op, inputs={**op.inputs, **dict.fromkeys(lacks)}))
    return found


def _imported(ops: Sequence[Op], arrays: Mapping[str, np.ndarray]) -> Imported:
    """Return the network; what feeds and fetches becomes the program's inputs and outputs."""
    feeds = sorted((op for op in ops if op.name in _INPUTS), key=_column)
    fetches = sorted((op for op in ops if op.name == _OUTPUTS), key=_column)
    inner = [op for op in ops if op.name not in (*_INPUTS, _OUTPUTS)]
    used = {value.parameter for op in inner for value in op.values() if value.parameter is not None}
    return Imported(
        Program(inner, [op.outputs[0] for op in feeds], [next(op.values()) for op in fetches]),
        {name: array for name, array in arrays.items() if name in used},
        [str(op.attributes["name"]) for op in feeds],
        [str(op.attributes["name"]) for op in fetches],
    )


def _column(op: Op) -> int:
    return int(op.attributes.get("col", 0))
