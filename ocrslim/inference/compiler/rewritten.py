"""A program rewritten by exact algebra, as a program of ordinary operators."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ocrslim.graph import Program
from ocrslim.inference.compiler.conversion.from_program import to_named_steps
from ocrslim.inference.compiler.conversion.to_program import to_program
from ocrslim.inference.compiler.rewrite import rewrite, shapes_of
from ocrslim.inference.compiler.rewriting import Rewriting
from ocrslim.inference.compiler.upsampling import without_upsampling


def rewritten_program(
    program: Program, arrays: Mapping[str, np.ndarray], rewriting: Rewriting
) -> tuple[Program, dict[str, np.ndarray]]:
    """Return a program with the same outputs but for rounding that costs less, and its arrays.

    Args:
        program: as it infers; sizes that are not fixed are -1.
        arrays: its parameters and buffers by state-dict key.
        rewriting: what is rewritten.

    Raises:
        LoweringError: an operator is not known.
    """
    steps, names = to_named_steps(program.ops, program.outputs, arrays, {})
    steps = rewrite(steps, [value.id for value in program.outputs], shapes_of(program.ops), rewriting)
    if rewriting.upsampling is not None:
        steps = without_upsampling(steps, rewriting.upsampling)
    return to_program(steps, program, arrays, names)
