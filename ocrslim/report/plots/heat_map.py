"""The heat map of a sensitivity analysis: layers by ratios, a tile a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ocrslim.report.plots.page import FAINT, INK, LEGEND, MARGIN, MEANING, MONO, mono_width, new_page, place_axes
from ocrslim.report.plots.scale import WITHIN, Scale, number, percent
from ocrslim.report.plots.sensitivity_data import (
    INFERRED,
    KINDS,
    MEASURED,
    SAMPLED,
    SensitivityPicture,
    SensitivityPoint,
)

_ROW, _CELL = 0.23, 0.46  # inches: the height of a row, the width of a column
_TILES = {MEASURED: (0.49, 0.04, 0.74), SAMPLED: (0.36, 0.13, 0.56), INFERRED: (0.49, 0.36, 0.11)}  # half, top, height
_BAR: dict[str, Any] = {"color": INK, "lw": 1.6, "solid_capstyle": "butt"}


def heat_map(picture: SensitivityPicture) -> Figure:
    """Layers by ratios, with the ratio chosen as a bar under each row and the layer's share of the MACs."""
    order, ratios = picture.order(), picture.ratios()
    names = 0.45 + mono_width(max(14, *map(len, order), 0), 7.5)
    cells = _CELL * (max(2, len(ratios)) + 0.9)
    right = (0.6 if picture.chosen else 0) + (1.7 if picture.macs_share else 0)
    width, body = max(7.7, names + cells + right + 2 * MARGIN), _ROW * max(1, len(order))
    figure, top = new_page(picture, "Loss by layer and ratio of channels removed", width, LEGEND + 0.35 + body + 0.35)
    _heat_legend(place_axes(figure, MARGIN, top, 7.3, LEGEND), picture)
    axes = place_axes(figure, MARGIN + names, top + LEGEND + 0.35, cells, body)
    axes.set(xlim=(-0.4, max(2, len(ratios)) + 0.5), ylim=(max(1, len(order)), 0))
    axes.set_xticks(range(len(ratios) + 1), ["0", *(f"{ratio:g}" for ratio in ratios)])
    axes.tick_params(length=0, labelsize=7.5, labeltop=True, labelbottom=len(order) > 25, pad=2)
    axes.text(-0.6, -0.25, "ratio removed" if order else "", ha="right", size=7.5, color=FAINT)
    for row, name in enumerate(order):
        axes.text(-0.6, row + 0.42, name, ha="right", va="center", size=7.5, color=INK, gid="layer", **MONO)
        axes.text(-0.6 - (names - 0.2) / _CELL, row + 0.42, str(row + 1), ha="right", va="center", size=7, color=FAINT)
        _row(axes, row, name, picture)
    if picture.macs_share:
        _shares(place_axes(figure, width - MARGIN - 1.6, top + LEGEND + 0.35, 1.6, body), order, picture)
    return figure


def _row(axes: Axes, row: int, name: str, picture: SensitivityPicture) -> None:
    """One layer of the heat map: a tile a point, and the bar of the ratio chosen."""
    ratios, scale, points = picture.ratios(), Scale(picture), picture.points(name)
    for point in points:
        _tile(axes, ratios.index(point.ratio) + 1, row, point, scale)
    if not points:
        axes.text(0.1, row + 0.42, "no point yet", va="center", size=7, color=FAINT, style="italic")
    if not picture.chosen or name not in picture.chosen:
        return
    chosen, right = picture.chosen[name], axes.get_xlim()[1] + 0.95
    end = float(np.interp(chosen, [0, *ratios], range(len(ratios) + 1)))
    axes.plot([0, end], [row + 0.85] * 2, gid="chosen", **_BAR)
    axes.plot([end] * 2, [row + 0.75, row + 0.95], **_BAR)
    axes.text(right, row + 0.42, f"{chosen:.2f}", ha="right", va="center", size=7.5, color=INK)
    if row == 0:
        axes.text(right, -0.25, "chosen", ha="right", size=7.5, color=FAINT)


def _tile(axes: Axes, column: float, row: float, point: SensitivityPoint, scale: Scale) -> None:
    half, top, height = _TILES[point.how]
    style: dict[str, Any] = {"color": scale.colour(point.loss), "lw": 0, "gid": point.how}
    if point.how == INFERRED:  # not snapped to whole pixels: so thin, it would come out now two, now three high
        axes.add_patch(Rectangle((column - half, row + top), 2 * half, height, snap=False, **style))
        return
    axes.add_patch(Rectangle((column - half, row + top), 2 * half, height, **style))
    ink = "w" if np.dot(style["color"][:3], (0.299, 0.587, 0.114)) < 0.55 else INK
    text, middle = number(point.loss, scale.tolerance), row + top + height / 2
    axes.text(column, middle, text, ha="center", va="center_baseline", size=6.5, color=ink)


def _shares(axes: Axes, order: Sequence[str], picture: SensitivityPicture) -> None:
    """A bar for each layer's share of the MACs, dark as far as the ratio chosen removes it."""
    share, chosen = picture.macs_share or {}, picture.chosen or {}
    most = max(share.values(), default=0) or 1
    axes.set(xlim=(0, 1.5 * most), ylim=(len(order), 0))
    title = "share of MACs" + (", dark: removed" if picture.chosen else "")
    axes.text(0, -0.25, title, size=7.5, color=FAINT)
    for row, name in enumerate(order):
        if name in share:
            axes.barh(row + 0.42, share[name], 0.5, color="#d9d9d9")
            axes.barh(row + 0.42, share[name] * chosen.get(name, 0), 0.5, color="#4d4d4d")
            text = f"{100 * share[name]:.1f} %"
            axes.text(share[name] + 0.04 * most, row + 0.42, text, va="center", size=6.5, color=INK)


def _heat_legend(axes: Axes, picture: SensitivityPicture) -> None:
    """The colours with the break at the tolerance, and what the tiles and the bar mean."""
    scale = Scale(picture)
    axes.set(xlim=(0, 7.3), ylim=(LEGEND, 0))  # inches
    over = [scale.knee * (scale.ceiling / scale.knee) ** (i / 40) for i in range(1, 41)]
    for i, loss in enumerate([*np.linspace(0, scale.tolerance, 16), *over]):
        axes.add_patch(Rectangle((0.04 * i, 0.02), 0.045, 0.13, color=scale.colour(loss), lw=0))
    axes.plot([0.64] * 2, [0, 0.2], color=INK, lw=1.2, gid="tolerance")
    for loss in sorted({0.0, scale.tolerance, *(tick for tick in scale.ticks() if tick > scale.knee)}):
        place = 0.02 if loss < scale.tolerance else 0.64 + 1.6 * scale.share(loss)
        axes.text(place, 0.22, percent(loss), ha="center", va="top", size=6.5, color=INK)
    axes.text(0, 0.5, f"loss of {picture.metric}; numbers in %", size=7, color=FAINT)
    kinds = [how for how in KINDS if how in picture.kinds()]
    slots = [(2.85 + 2.15 * (i % 2), 0.27 * (i // 2)) for i in range(len(kinds) + 1)]
    for how, (left, up) in zip(kinds, slots):
        half, top, tall = _TILES[how]
        box = (left + _CELL * (0.5 - half), up + _ROW * top)
        axes.add_patch(Rectangle(box, 2 * half * _CELL, tall * _ROW, color=WITHIN(1.0), lw=0))
        text = MEANING[how].format(picture.images)
        axes.text(left + _CELL + 0.06, up + 0.09, text, va="center", size=7, color=INK)
    if picture.chosen:
        left, up = slots[-1]
        axes.plot([left, left + _CELL], [up + 0.1] * 2, **_BAR)
        axes.plot([left + _CELL] * 2, [up + 0.07, up + 0.13], **_BAR)
        axes.text(left + _CELL + 0.06, up + 0.09, "ratio chosen at the tolerance", va="center", size=7, color=INK)
