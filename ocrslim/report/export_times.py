"""Times of exports as a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from ocrslim.inference import BenchRow, Spread

_HEADERS = ("runtime", "threads", "size", "export", "ms", "quartiles", "ratio", "CPU ms", "ratio")
_ALIGN = ("left", "right", "right", "left", *["right"] * 6)


def bench_table(rows: Sequence[BenchRow], scores: Mapping[tuple[str, Path], float] | None = None) -> str:
    """Return the rows as a table: medians of milliseconds with their quartiles, and ratios to the first export.

    Args:
        rows: at least one.
        scores: by runtime and file; a column more.
    """
    cells, previous = [], None
    for row in rows:
        place = (row.runtime, str(row.threads), "x".join(map(str, row.size)))
        times = (row.export, _number(row.wall_ms.median), _quartiles(row.wall_ms), _ratio(row.ratio))
        cpu = (_number(row.cpu_ms.median), _ratio(row.cpu_ratio))
        score = (f"{scores[row.runtime, row.file]:.4f}",) if scores else ()
        cells.append((*(place if place != previous else ("", "", "")), *times, *cpu, *score))
        previous = place
    headers = (*_HEADERS, *(("score",) if scores else ()))
    return tabulate(cells, headers=headers, disable_numparse=True, colalign=_ALIGN[: len(headers)])


def _quartiles(spread: Spread) -> str:
    return f"{_number(spread.low)} - {_number(spread.high)}"


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.3g}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
