"""Every layer's curve by itself: loss over ratio in small panels, all with the same axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ocrslim.report.plots.page import FAINT, INK, LEGEND, MARGIN, MEANING, MONO, mono_width, new_page, place_axes
from ocrslim.report.plots.scale import OVER, Scale
from ocrslim.report.plots.sensitivity_data import INFERRED, MEASURED, SAMPLED, SensitivityPicture, SensitivityPoint

_PANEL = 1.05  # inches: the height of a panel
_DASHED, _DOTTED = (0, (2.5, 1.5)), (0, (1, 1.2))


def small_multiples(picture: SensitivityPicture) -> Figure:
    """Return the loss over ratio, a panel a layer, all with the same axes."""
    order = picture.order()
    columns = min(max(1, len(order)), 4 if len(order) <= 12 else 5 if len(order) <= 40 else 6)
    left, panel = 0.65, 1.85 if columns > 3 else 2.35
    titles = [_fold(f"{i} {name}", panel - 0.22, 7) for i, name in enumerate(order, 1)]
    rows = [range(i, min(i + columns, len(order))) for i in range(0, len(order), columns)]
    heads = [0.24 + 0.125 * max(titles[i].count("\n") + 1 for i in row) for row in rows]
    height = LEGEND + sum(heads) + _PANEL * len(rows) + 0.3
    figure, top = new_page(picture, "Loss over ratio, layer by layer", max(7.7, left + columns * panel + 0.1), height)
    _curve_legend(figure, picture, top)
    top += 0.4
    for head, row in zip(heads, rows):
        for column, i in enumerate(row):
            axes = place_axes(figure, left + column * panel, top + head, panel - 0.12, _PANEL - 0.12)
            _curve(axes, order[i], titles[i], picture)
            axes.tick_params(labelleft=column == 0, labelbottom=i + columns >= len(order))
            if i == len(order) - 1:
                axes.set_xlabel("ratio removed", size=7, color=FAINT, loc="right", labelpad=1)
        top += head + _PANEL
    return figure


def _curve(axes: Axes, name: str, title: str, picture: SensitivityPicture) -> None:
    """One layer's panel."""
    points = picture.points(name)
    Scale(picture).apply(axes)
    axes.set_xlim(0, max(0.9, *picture.ratios(), 0) + 0.04)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8], ["0", ".2", ".4", ".6", ".8"])
    axes.tick_params(length=2, labelsize=6.5, color=FAINT, pad=2)
    axes.add_collection(_segments(points))
    _dots(axes, points)
    said = [] if points else ["no point yet"]
    if picture.chosen and name in picture.chosen:
        said.append(f"chosen {picture.chosen[name]:.2f}")
        axes.axvline(picture.chosen[name], color=INK, lw=1, ls=_DOTTED, zorder=2, gid="chosen")
    if picture.macs_share and name in picture.macs_share:
        said.append(f"{100 * picture.macs_share[name]:.1f} % of MACs")
    place: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(", ".join(said), xytext=(0, 3.5), size=6.5, color=FAINT, **place)
    axes.annotate(title, xytext=(0, 12.5), size=7, color=INK, gid="layer", linespacing=1.1, **place, **MONO)


def _dots(axes: Axes, points: Sequence[SensitivityPoint]) -> None:
    """A dot where all images were measured; a circle on its interval where some were."""
    for how, inside in ((MEASURED, INK), (SAMPLED, "w")):
        dots = [(point.ratio, point.loss) for point in points if point.how == how]
        if dots:
            axes.plot(*zip(*dots), "o", ms=3.6, mfc=inside, mec=INK, mew=0.8, zorder=4, gid=how, clip_on=False)
    sampled = [point for point in points if point.how == SAMPLED]
    ends = np.clip([(point.low, point.high) for point in sampled], *axes.get_ylim()).reshape(-1, 2)
    axes.vlines([point.ratio for point in sampled], ends[:, 0], ends[:, 1], color=FAINT, lw=0.8, zorder=3)


def _segments(points: Sequence[SensitivityPoint]) -> LineCollection:
    """Return the curve from no loss at ratio 0 on, broken where an end is inferred."""
    places = [(0.0, 0.0), *((point.ratio, point.loss) for point in points)]
    known = [True, *(point.how != INFERRED for point in points)]
    styles = ["solid" if a and b else _DASHED for a, b in zip(known, known[1:])]
    return LineCollection(list(zip(places, places[1:])), linestyles=styles, colors=INK, linewidths=0.9, zorder=3)


def _curve_legend(figure: Figure, picture: SensitivityPicture, top: float) -> None:
    dot: dict[str, Any] = {"color": INK, "marker": "o", "ms": 3.6, "lw": 0.9}
    known = {
        MEASURED: Line2D([], [], **dot, label=MEANING[MEASURED].format(picture.images)),
        SAMPLED: Line2D([], [], **dot, mfc="w", label=f"{MEANING[SAMPLED]}, with interval"),
        INFERRED: Line2D([], [], color=INK, lw=0.9, ls=_DASHED, label=MEANING[INFERRED]),
    }
    entries = [line for how, line in known.items() if how in picture.kinds()]
    entries.append(Line2D([], [], color=OVER(0.35), lw=1.1, label=f"tolerance {picture.tolerance:g}"))
    if picture.chosen:
        entries.append(Line2D([], [], color=INK, lw=1, ls=_DOTTED, label="ratio chosen"))
    place = (MARGIN - 0.05) / figure.get_figwidth(), 1 - (top - 0.06) / figure.get_figheight()
    style: dict[str, Any] = {"frameon": False, "fontsize": 7, "columnspacing": 1.5, "borderaxespad": 0}
    figure.legend(handles=entries, loc="upper left", bbox_to_anchor=place, ncols=3, **style)


def _fold(name: str, width: float, size: float) -> str:
    """`name` in lines of at most `width` inches, broken after a dot or an underscore where possible."""
    room, lines = int(width / mono_width(1, size)), [""]
    for part in re.findall(r"[^._ ]*[._ ]?", name):
        for piece in (part[i : i + room] for i in range(0, len(part), room)):
            if len(lines[-1]) + len(piece) > room:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)
