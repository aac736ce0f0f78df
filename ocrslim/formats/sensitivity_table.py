"""`sen.pickle`, the table of sensitivities: PaddleSlim's format, read without executing anything in it."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

from ocrslim.errors import ArtifactError
from ocrslim.formats.pickles.safe_pickle import read_pickle
from ocrslim.utils import MIB, atomic_file, named, shortened

Sensitivities = dict[str, dict[float, float]]
_MOST_BYTES = 64 * MIB  # the tables of the largest networks have less than one MiB


def write_sensitivities(path: Path | str, table: Sensitivities) -> None:
    """Write `{name: {ratio: loss}}` as PaddleSlim reads it, with plain `str` and `float` only."""
    plain = {str(k): {float(r): float(v) for r, v in losses.items()} for k, losses in table.items()}
    with atomic_file(path) as stream:
        pickle.dump(plain, stream, protocol=2)


def read_sensitivities(path: Path | str) -> Sensitivities:
    """Read a `sen.pickle` without executing anything in it.

    Raises:
        ArtifactError: missing, truncated, or holding anything but strings and finite numbers.
    """
    path = Path(path)
    remedy = "delete it and run sensitivity_anal.py again"
    try:
        table = read_pickle(path, most=_MOST_BYTES, arrays=False)
    except FileNotFoundError:
        raise ArtifactError(
            f"{named(path)}: not found: run sensitivity_anal.py with the same configuration first, "
            "or name the file with -o Prune.sen_file=PATH"
        ) from None
    except OSError as problem:
        raise ArtifactError(
            f"{named(path)}: cannot be read ({problem.strerror}), expected a file: name it with -o Prune.sen_file=PATH"
        ) from None
    except pickle.UnpicklingError as problem:
        raise ArtifactError(
            f"{named(path)}: not a sensitivity table: {problem}; expected {{name: {{ratio: loss}}}} "
            f"of strings and numbers: {remedy}"
        ) from None
    fault = _table_fault(table)
    if fault:
        raise ArtifactError(f"{named(path)}: not a sensitivity table: {fault}: {remedy}")
    return {name: {float(r): float(v) for r, v in losses.items()} for name, losses in table.items()}


def _table_fault(table: Any) -> str | None:
    if not isinstance(table, dict):
        return f"it holds a {type(table).__name__}, expected a dictionary"
    for name, losses in table.items():
        if not isinstance(name, str) or not isinstance(losses, dict):
            return f"entry {shortened(repr(name))} is not a layer with its losses"
        name = shortened(name)
        for ratio, loss in losses.items():
            if not _is_number(ratio) or not 0 < ratio < 1:
                return f"{name}: ratio {str(ratio)[:40]!r} is not a number between 0 and 1"
            if not _is_number(loss):
                return f"{name}: loss {str(loss)[:40]!r} at ratio {ratio} is not a finite number"
    return None


def _is_number(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False
