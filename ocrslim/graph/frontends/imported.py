"""A network as an exported file has it: its program, and its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocrslim.graph.program import Program


@dataclass(frozen=True)
class Imported:
    """A network that was read from an exported file.

    Attributes:
        program: operators have the names and attributes that Paddle gives them, whatever the file; the `parameter` of
            a value is the tensor's name in the file.
        arrays: every parameter that the program reads, by that name.
        input_names, output_names: as the file has them.
    """

    program: Program
    arrays: Mapping[str, np.ndarray]
    input_names: Sequence[str]
    output_names: Sequence[str]
