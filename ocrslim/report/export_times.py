"""Times of exports as a text."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from ocrslim.inference import BenchRow, Spread

_HEADERS = ("runtime", "threads", "size", "export", "ms", "quartiles", "ratio", "CPU ms", "ratio")


def bench_table(rows: Sequence[BenchRow]) -> str:
    """Return the rows as a table: medians of milliseconds with their quartiles, and ratios to the first export."""
    cells, previous = [], None
    for row in rows:
        place = (row.runtime, str(row.threads), "x".join(map(str, row.size)))
        times = (row.export, _number(row.wall_ms.median), _quartiles(row.wall_ms), _ratio(row.ratio))
        cells.append(
            (*(place if place != previous else ("", "", "")), *times, _number(row.cpu_ms.median), _ratio(row.cpu_ratio))
        )
        previous = place
    align = ("left", "right", "right", "left", "right", "right", "right", "right", "right")
    return tabulate(cells, headers=_HEADERS, disable_numparse=True, colalign=align if cells else None)


def _quartiles(spread: Spread) -> str:
    return f"{_number(spread.low)} - {_number(spread.high)}"


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.3g}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
