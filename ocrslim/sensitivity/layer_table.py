"""The table of a running analysis: each layer's ratio so far, in as many columns of layers as fit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ocrslim.sensitivity.progress import BEGUN, NOT_BEGUN, SETTLED, LayerProgress

_NUMBERS = {"ratio": 5, "between": 9, "points": 6, "images": 6}  # headings and widths
_BESIDE = 2 + sum(width + 1 for width in _NUMBERS.values())  # characters of a row beside the layer's name
_GAP = 3
_SHORTEST = 12  # characters of a layer's name


def layer_table(
    rows: Sequence[LayerProgress], recent: Sequence[str], width: int, height: int, ascii_only: bool = False
) -> Group:
    """Lay the layers out in `width` characters and `height` lines, in the given order.

    If not all fit, those are shown that were measured last, the last one in any case.

    Args:
        recent: names of those measured in this run, the last one last.
        ascii_only: the terminal has no other characters.
    """
    names = max(len("layer"), *(len(row.layer) for row in rows))
    names = max(_SHORTEST, min(names, width - _BESIDE))
    across = max(1, (width + _GAP) // (names + _BESIDE + _GAP))
    lines = max(1, height - 1)
    hidden: list[LayerProgress] = []
    if len(rows) > across * lines:
        lines = max(1, lines - 1)
        rows, hidden = _choose(rows, recent, across * lines)
    across = min(across, math.ceil(len(rows) / lines))
    down = math.ceil(len(rows) / across)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for start in range(0, len(rows), down):
        table.add_column("", justify="right", width=_GAP if start else 1)
        table.add_column("layer", width=names, no_wrap=True, overflow="crop")
        for name, size in _NUMBERS.items():
            table.add_column(name, justify="right", width=size, no_wrap=True, overflow="crop")
    last = recent[-1] if recent else None
    for line in range(down):
        shown = rows[line::down]
        table.add_row(*(cell for row in shown for cell in _cells(row, names, row.layer == last, ascii_only)))
    return Group(table, Text(_summary(hidden), "dim")) if hidden else Group(table)


def _choose(
    rows: Sequence[LayerProgress], recent: Sequence[str], number: int
) -> tuple[list[LayerProgress], list[LayerProgress]]:
    """Choose the layers to show; those, and the others."""
    rank = {layer: position for position, layer in enumerate(reversed(recent))}
    order = sorted(rows, key=lambda row: (rank.get(row.layer, len(rows)), row.state == NOT_BEGUN))
    shown = {row.layer for row in order[:number]}
    return [row for row in rows if row.layer in shown], [row for row in rows if row.layer not in shown]


def _summary(hidden: Sequence[LayerProgress]) -> str:
    states = Counter(row.state for row in hidden)
    parts = [f"{states[state]} {state}" for state in (SETTLED, BEGUN, NOT_BEGUN) if states[state]]
    return f"  and {len(hidden)} more: {', '.join(parts)}"


def _cells(row: LayerProgress, names: int, last: bool, ascii_only: bool) -> list[Text]:
    ratio, low, high, _ = row.decision
    mark = {SETTLED: "*" if ascii_only else "✓", BEGUN: ">" if ascii_only else "▸"}.get(row.state, " ")
    style = {SETTLED: "green", BEGUN: ""}.get(row.state, "dim")
    between = f"{low:.2f}-{high:.2f}" if high - low >= 0.005 else "known"
    so_far = f"{ratio:.2f}" if row.images else "-"
    cells = mark, _shortened(row.layer, names), so_far, between, str(row.points), str(row.images)
    return [Text(cell, f"{style} bold" if last else style) for cell in cells]


def _shortened(name: str, length: int) -> str:
    """Shorten a long name to its beginning and its end: both tell layers apart."""
    if len(name) <= length:
        return name
    tail = (length - 2) // 2
    return f"{name[: length - 2 - tail]}..{name[-tail:]}"
