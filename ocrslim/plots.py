"""The picture of a sensitivity analysis: a heat map of layers by ratios, and every layer's curve by itself.

Both show the layers in the same order, those that can lose most first, numbered alike. Colours and axes
change at the tolerance: linear and blue up to it, logarithmic and orange above it, each shade darker than
the one before, so that a grey print reads the same. How well a loss is known shows in its shape: a full tile
or dot was measured on all images, a small tile or a circle on some, a thin line was inferred.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ocrslim.artifacts import atomic_file

DPI = 110
MEASURED, SAMPLED, INFERRED = "measured", "sampled", "inferred"

_INK, _FAINT = "#1a1a1a", "#6a6a6a"
_WITHIN = LinearSegmentedColormap.from_list("within", ["#e8f2fa", "#a6cdea"])
_OVER = LinearSegmentedColormap.from_list("over", ["#e8923a", "#a9490a", "#3d1400"])
_MONO: dict[str, Any] = {"family": "DejaVu Sans Mono", "parse_math": False}  # a name may hold a $
_ROW, _CELL, _PANEL, _MARGIN, _LEGEND = 0.23, 0.46, 1.05, 0.2, 0.62  # inches
_TILES = {MEASURED: (0.49, 0.04, 0.74), SAMPLED: (0.36, 0.13, 0.56), INFERRED: (0.49, 0.36, 0.11)}  # half, top, height
_MEANING = {MEASURED: "measured on all {} images", SAMPLED: "estimated on some images", INFERRED: "inferred"}
_DASHED, _DOTTED = (0, (2.5, 1.5)), (0, (1, 1.2))
_BAR: dict[str, Any] = {"color": _INK, "lw": 1.6, "solid_capstyle": "butt"}


class SensitivityPoint(Protocol):
    """The loss of one layer at one ratio, and how it is known."""

    @property
    def ratio(self) -> float:
        """Fraction of the channels removed, in 0..1."""

    @property
    def loss(self) -> float:
        """Fraction of the baseline lost; negative where the pruned network scores better."""

    @property
    def low(self) -> float:
        """Lower end of the loss's interval; the loss itself where that is exact."""

    @property
    def high(self) -> float:
        """Upper end of the loss's interval."""

    @property
    def how(self) -> str:
        """`measured` on all images, `sampled` on some of them, or `inferred` from other ratios."""


@dataclass(frozen=True)
class SensitivityPicture:
    """What is drawn, by the layers' public names.

    Attributes:
        layers: the points of every layer, in any order; none yet for a layer whose turn has not come.
        tolerance: the loss that the ratios are chosen for.
        metric: what the losses are of: precision, recall or hmean.
        baseline: the unpruned network's metric, 0..1.
        images: how many images the evaluation set has.
        chosen: the ratio that the rule chooses at the tolerance, where known; 0 for none.
        macs_share: share (0..1) of the network's MACs that each layer's channels make, where known.
    """

    layers: Mapping[str, Sequence[SensitivityPoint]]
    tolerance: float
    metric: str
    baseline: float
    images: int
    chosen: Mapping[str, float] | None = None
    macs_share: Mapping[str, float] | None = None

    def ratios(self) -> list[float]:
        """Every ratio that any layer has a point at, ascending."""
        return sorted({point.ratio for point in self.every_point()})

    def points(self, name: str) -> list[SensitivityPoint]:
        """The points of one layer, by ratio; one whose loss is not a finite number says nothing and is left out."""
        return sorted((p for p in self.layers[name] if math.isfinite(p.loss)), key=lambda point: point.ratio)

    def every_point(self) -> list[SensitivityPoint]:
        """The points of all layers."""
        return [point for name in self.layers for point in self.points(name)]

    def kinds(self) -> Counter[str]:
        """How many points are known in which way; none that does not occur."""
        return Counter(point.how for point in self.every_point())

    def order(self) -> list[str]:
        """The layers, those that can lose most first.

        By the ratio chosen, then by the mean of the loss over all ratios (linear between the points, from no
        loss at ratio 0); layers without a choice come after those with one, layers without a point last.
        """
        chosen, grid = self.chosen or {}, np.linspace(0, max(self.ratios(), default=1), 100)

        def rank(name: str) -> tuple[bool, bool, float, float]:
            points = self.points(name)
            losses = np.interp(grid, [0, *(p.ratio for p in points)], [0, *(p.loss for p in points)])
            return not points, name not in chosen, -chosen.get(name, 0), float(losses.mean())

        return sorted(self.layers, key=rank)


def draw_sensitivities(picture: SensitivityPicture, path: Path) -> tuple[Path, Path]:
    """Write the heat map as `path` and the curves beside it as `<stem>_curves.png`, each whole or not at all.

    Safe in any thread and needs no display.

    Returns:
        The two paths.

    Raises:
        ArtifactError: a file cannot be written; what was there before is intact.
    """
    curves = path.with_name(f"{path.stem}_curves.png")
    for figure, file in ((heat_map(picture), path), (small_multiples(picture), curves)):
        with atomic_file(file) as stream:
            figure.savefig(stream, format="png", dpi=DPI)
    return path, curves


class _Scale:
    """Losses on an axis and as colours: linear up to the knee, logarithmic from there to the ceiling.

    The knee is the tolerance, or `FINEST` where that is less; the colours always break at the tolerance.
    """

    FINEST = 0.005

    def __init__(self, picture: SensitivityPicture):
        losses = [point.loss for point in picture.every_point()]
        self.tolerance, self.knee = picture.tolerance, max(self.FINEST, picture.tolerance)
        self.ceiling, self.bottom = max(1.0, 2 * self.knee, *losses), min(0.0, -self.knee, *losses)

    def colour(self, loss: float) -> tuple[float, ...]:
        """RGBA of a loss; the break is exact: the tolerance itself is still within."""
        if loss <= self.tolerance:
            return _WITHIN(max(0.0, loss) / self.knee)
        return _OVER(self.share(loss))

    def share(self, loss: float) -> float:
        """How far `loss` lies between knee and ceiling, 0..1."""
        return math.log(max(1.0, loss / self.knee)) / math.log(self.ceiling / self.knee)

    def ticks(self) -> list[float]:
        """Few losses that stand well apart on the axis, the tolerance among them."""
        far = [loss for loss in (0.1, 0.3, 1.0) if loss >= 2.4 * self.knee and (loss != 0.3 or self.knee > 0.04)]
        below = [-0.1] if self.bottom <= -0.1 and self.knee <= 0.05 else []
        return [*below, 0.0, *([self.tolerance] if self.tolerance == self.knee else []), *far]

    def _height(self, loss: np.ndarray) -> np.ndarray:
        part = np.asarray(loss, float) / self.knee
        above, below = 1 + 0.6 * np.log(np.maximum(part, 1)), -0.35 * np.log1p(np.maximum(-part, 0))
        return np.where(part > 1, above, np.where(part < 0, below, part))

    def _loss(self, height: np.ndarray) -> np.ndarray:
        height = np.asarray(height, float)
        above, below = np.exp((np.maximum(height, 1) - 1) / 0.6), -np.expm1(np.maximum(-height, 0) / 0.35)
        return self.knee * np.where(height > 1, above, np.where(height < 0, below, height))

    def apply(self, axes: Axes) -> None:
        """Make it the vertical axis of `axes`, with the losses within the tolerance shaded."""
        axes.set_yscale("function", functions=(self._height, self._loss))
        axes.set_ylim(self.bottom * 1.25, self.ceiling * 1.3)
        axes.set_yticks(self.ticks(), [_percent(loss) for loss in self.ticks()])
        axes.grid(axis="y", color="#e4e4e4", lw=0.6)
        axes.set_axisbelow(True)
        axes.axhspan(self.bottom * 1.25, self.tolerance, color=_WITHIN(0.2), lw=0, zorder=0)
        axes.axhline(self.tolerance, color=_OVER(0.35), lw=1.1, zorder=1.5, gid="tolerance")


def heat_map(picture: SensitivityPicture) -> Figure:
    """Layers by ratios, with the ratio chosen as a bar under each row and the layer's share of the MACs."""
    order, ratios = picture.order(), picture.ratios()
    names = 0.45 + _mono(max(14, *map(len, order), 0), 7.5)
    cells, right = (
        _CELL * (max(2, len(ratios)) + 0.9),
        (0.6 if picture.chosen else 0) + (1.7 if picture.macs_share else 0),
    )
    width, body = max(7.7, names + cells + right + 2 * _MARGIN), _ROW * max(1, len(order))
    figure, top = _page(picture, "Loss by layer and ratio of channels removed", width, _LEGEND + 0.35 + body + 0.35)
    _heat_legend(_axes(figure, _MARGIN, top, 7.3, _LEGEND), picture)
    axes = _axes(figure, _MARGIN + names, top + _LEGEND + 0.35, cells, body)
    axes.set(xlim=(-0.4, max(2, len(ratios)) + 0.5), ylim=(max(1, len(order)), 0))
    axes.set_xticks(range(len(ratios) + 1), ["0", *(f"{ratio:g}" for ratio in ratios)])
    axes.tick_params(length=0, labelsize=7.5, labeltop=True, labelbottom=len(order) > 25, pad=2)
    axes.text(-0.6, -0.25, "ratio removed" if order else "", ha="right", size=7.5, color=_FAINT)
    for row, name in enumerate(order):
        axes.text(-0.6, row + 0.42, name, ha="right", va="center", size=7.5, color=_INK, gid="layer", **_MONO)
        axes.text(-0.6 - (names - 0.2) / _CELL, row + 0.42, str(row + 1), ha="right", va="center", size=7, color=_FAINT)
        _row(axes, row, name, picture)
    if picture.macs_share:
        _shares(_axes(figure, width - _MARGIN - 1.6, top + _LEGEND + 0.35, 1.6, body), order, picture)
    return figure


def _row(axes: Axes, row: int, name: str, picture: SensitivityPicture) -> None:
    """One layer of the heat map: a tile a point, and the bar of the ratio chosen."""
    ratios, scale, points = picture.ratios(), _Scale(picture), picture.points(name)
    for point in points:
        _tile(axes, ratios.index(point.ratio) + 1, row, point, scale)
    if not points:
        axes.text(0.1, row + 0.42, "no point yet", va="center", size=7, color=_FAINT, style="italic")
    if not picture.chosen or name not in picture.chosen:
        return
    chosen, right = picture.chosen[name], axes.get_xlim()[1] + 0.95
    end = float(np.interp(chosen, [0, *ratios], range(len(ratios) + 1)))
    axes.plot([0, end], [row + 0.85] * 2, gid="chosen", **_BAR)
    axes.plot([end] * 2, [row + 0.75, row + 0.95], **_BAR)
    axes.text(right, row + 0.42, f"{chosen:.2f}", ha="right", va="center", size=7.5, color=_INK)
    if row == 0:
        axes.text(right, -0.25, "chosen", ha="right", size=7.5, color=_FAINT)


def _tile(axes: Axes, column: float, row: float, point: SensitivityPoint, scale: _Scale) -> None:
    half, top, height = _TILES[point.how]
    style: dict[str, Any] = {"color": scale.colour(point.loss), "lw": 0, "gid": point.how}
    if point.how == INFERRED:  # not snapped to whole pixels: so thin, it would come out now two, now three high
        axes.add_patch(Rectangle((column - half, row + top), 2 * half, height, snap=False, **style))
        return
    axes.add_patch(Rectangle((column - half, row + top), 2 * half, height, **style))
    ink = "w" if np.dot(style["color"][:3], (0.299, 0.587, 0.114)) < 0.55 else _INK
    text, middle = _number(point.loss, scale.tolerance), row + top + height / 2
    axes.text(column, middle, text, ha="center", va="center_baseline", size=6.5, color=ink)


def _shares(axes: Axes, order: Sequence[str], picture: SensitivityPicture) -> None:
    """A bar for each layer's share of the MACs, dark as far as the ratio chosen removes it."""
    share, chosen = picture.macs_share or {}, picture.chosen or {}
    most = max(share.values(), default=0) or 1
    axes.set(xlim=(0, 1.5 * most), ylim=(len(order), 0))
    title = "share of MACs" + (", dark: removed" if picture.chosen else "")
    axes.text(0, -0.25, title, size=7.5, color=_FAINT)
    for row, name in enumerate(order):
        if name in share:
            axes.barh(row + 0.42, share[name], 0.5, color="#d9d9d9")
            axes.barh(row + 0.42, share[name] * chosen.get(name, 0), 0.5, color="#4d4d4d")
            text = f"{100 * share[name]:.1f} %"
            axes.text(share[name] + 0.04 * most, row + 0.42, text, va="center", size=6.5, color=_INK)


def _heat_legend(axes: Axes, picture: SensitivityPicture) -> None:
    """The colours with the break at the tolerance, and what the tiles and the bar mean."""
    scale = _Scale(picture)
    axes.set(xlim=(0, 7.3), ylim=(_LEGEND, 0))  # inches
    over = [scale.knee * (scale.ceiling / scale.knee) ** (i / 40) for i in range(1, 41)]
    for i, loss in enumerate([*np.linspace(0, scale.tolerance, 16), *over]):
        axes.add_patch(Rectangle((0.04 * i, 0.02), 0.045, 0.13, color=scale.colour(loss), lw=0))
    axes.plot([0.64] * 2, [0, 0.2], color=_INK, lw=1.2, gid="tolerance")
    for loss in sorted({0.0, scale.tolerance, *(tick for tick in scale.ticks() if tick > scale.knee)}):
        place = 0.02 if loss < scale.tolerance else 0.64 + 1.6 * scale.share(loss)
        axes.text(place, 0.22, _percent(loss), ha="center", va="top", size=6.5, color=_INK)
    axes.text(0, 0.5, f"loss of {picture.metric}; numbers in %", size=7, color=_FAINT)
    kinds = [how for how in _TILES if how in picture.kinds()]
    slots = [(2.85 + 2.15 * (i % 2), 0.27 * (i // 2)) for i in range(len(kinds) + 1)]
    for how, (left, up) in zip(kinds, slots):
        half, top, tall = _TILES[how]
        box = (left + _CELL * (0.5 - half), up + _ROW * top)
        axes.add_patch(Rectangle(box, 2 * half * _CELL, tall * _ROW, color=_WITHIN(1.0), lw=0))
        text = _MEANING[how].format(picture.images)
        axes.text(left + _CELL + 0.06, up + 0.09, text, va="center", size=7, color=_INK)
    if picture.chosen:
        left, up = slots[-1]
        axes.plot([left, left + _CELL], [up + 0.1] * 2, **_BAR)
        axes.plot([left + _CELL] * 2, [up + 0.07, up + 0.13], **_BAR)
        axes.text(left + _CELL + 0.06, up + 0.09, "ratio chosen at the tolerance", va="center", size=7, color=_INK)


def small_multiples(picture: SensitivityPicture) -> Figure:
    """Loss over ratio, a panel a layer, all with the same axes."""
    order = picture.order()
    columns = min(max(1, len(order)), 4 if len(order) <= 12 else 5 if len(order) <= 40 else 6)
    left, panel = 0.65, 1.85 if columns > 3 else 2.35
    titles = [_fold(f"{i} {name}", panel - 0.22, 7) for i, name in enumerate(order, 1)]
    rows = [range(i, min(i + columns, len(order))) for i in range(0, len(order), columns)]
    heads = [0.24 + 0.125 * max(titles[i].count("\n") + 1 for i in row) for row in rows]
    height = _LEGEND + sum(heads) + _PANEL * len(rows) + 0.3
    figure, top = _page(picture, "Loss over ratio, layer by layer", max(7.7, left + columns * panel + 0.1), height)
    _curve_legend(figure, picture, top)
    top += 0.4
    for head, row in zip(heads, rows):
        for column, i in enumerate(row):
            axes = _axes(figure, left + column * panel, top + head, panel - 0.12, _PANEL - 0.12)
            _curve(axes, order[i], titles[i], picture)
            axes.tick_params(labelleft=column == 0, labelbottom=i + columns >= len(order))
            if i == len(order) - 1:
                axes.set_xlabel("ratio removed", size=7, color=_FAINT, loc="right", labelpad=1)
        top += head + _PANEL
    return figure


def _curve(axes: Axes, name: str, title: str, picture: SensitivityPicture) -> None:
    """One layer's panel."""
    points = picture.points(name)
    _Scale(picture).apply(axes)
    axes.set_xlim(0, max(0.9, *picture.ratios(), 0) + 0.04)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8], ["0", ".2", ".4", ".6", ".8"])
    axes.tick_params(length=2, labelsize=6.5, color=_FAINT, pad=2)
    axes.add_collection(_segments(points))
    _dots(axes, points)
    said = [] if points else ["no point yet"]
    if picture.chosen and name in picture.chosen:
        said.append(f"chosen {picture.chosen[name]:.2f}")
        axes.axvline(picture.chosen[name], color=_INK, lw=1, ls=_DOTTED, zorder=2, gid="chosen")
    if picture.macs_share and name in picture.macs_share:
        said.append(f"{100 * picture.macs_share[name]:.1f} % of MACs")
    place: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(", ".join(said), xytext=(0, 3.5), size=6.5, color=_FAINT, **place)
    axes.annotate(title, xytext=(0, 12.5), size=7, color=_INK, gid="layer", linespacing=1.1, **place, **_MONO)


def _dots(axes: Axes, points: Sequence[SensitivityPoint]) -> None:
    """A dot where all images were measured; a circle on its interval where some were."""
    for how, inside in ((MEASURED, _INK), (SAMPLED, "w")):
        dots = [(point.ratio, point.loss) for point in points if point.how == how]
        if dots:
            axes.plot(*zip(*dots), "o", ms=3.6, mfc=inside, mec=_INK, mew=0.8, zorder=4, gid=how, clip_on=False)
    sampled = [point for point in points if point.how == SAMPLED]
    ends = np.clip([(point.low, point.high) for point in sampled], *axes.get_ylim()).reshape(-1, 2)
    axes.vlines([point.ratio for point in sampled], ends[:, 0], ends[:, 1], color=_FAINT, lw=0.8, zorder=3)


def _segments(points: Sequence[SensitivityPoint]) -> LineCollection:
    """The curve from no loss at ratio 0 on, broken where an end is inferred."""
    places = [(0.0, 0.0), *((point.ratio, point.loss) for point in points)]
    known = [True, *(point.how != INFERRED for point in points)]
    styles = ["solid" if a and b else _DASHED for a, b in zip(known, known[1:])]
    return LineCollection(list(zip(places, places[1:])), linestyles=styles, colors=_INK, linewidths=0.9, zorder=3)


def _curve_legend(figure: Figure, picture: SensitivityPicture, top: float) -> None:
    dot: dict[str, Any] = {"color": _INK, "marker": "o", "ms": 3.6, "lw": 0.9}
    known = {
        MEASURED: Line2D([], [], **dot, label=_MEANING[MEASURED].format(picture.images)),
        SAMPLED: Line2D([], [], **dot, mfc="w", label=f"{_MEANING[SAMPLED]}, with interval"),
        INFERRED: Line2D([], [], color=_INK, lw=0.9, ls=_DASHED, label=_MEANING[INFERRED]),
    }
    entries = [line for how, line in known.items() if how in picture.kinds()]
    entries.append(Line2D([], [], color=_OVER(0.35), lw=1.1, label=f"tolerance {picture.tolerance:g}"))
    if picture.chosen:
        entries.append(Line2D([], [], color=_INK, lw=1, ls=_DOTTED, label="ratio chosen"))
    place = (_MARGIN - 0.05) / figure.get_figwidth(), 1 - (top - 0.06) / figure.get_figheight()
    style: dict[str, Any] = {"frameon": False, "fontsize": 7, "columnspacing": 1.5, "borderaxespad": 0}
    figure.legend(handles=entries, loc="upper left", bbox_to_anchor=place, ncols=3, **style)


def _page(picture: SensitivityPicture, title: str, width: float, height: float) -> tuple[Figure, float]:
    """A figure `width` inches wide with its heading, and room for `height` inches from the place returned."""
    lines = textwrap.wrap(_summary(picture), int((width - 2 * _MARGIN) / (7.5 / 72 * 0.51)))
    top = 0.5 + 0.15 * len(lines) + 0.1
    figure = Figure(figsize=(width, top + height), facecolor="w")
    FigureCanvasAgg(figure)
    left, tall = _MARGIN / width, top + height
    figure.text(left, 1 - 0.18 / tall, title, size=11, weight="bold", va="top", color=_INK)
    figure.text(left, 1 - 0.46 / tall, "\n".join(lines), size=7.5, va="top", color=_INK, linespacing=1.35)
    return figure, top


def _summary(picture: SensitivityPicture) -> str:
    kinds = picture.kinds()
    counts = ", ".join(f"{kinds[how]} {how}" for how in _TILES if kinds[how]) or "none yet"
    waiting = sum(not picture.points(name) for name in picture.layers)
    layers = len(picture.layers)
    order = ", those that can lose most first" if layers > 1 and kinds else ""
    return (
        f"Unpruned {picture.metric} {picture.baseline:.4f} on {picture.images} images; loss is the fraction of it "
        f"that is lost; tolerance {picture.tolerance:g}. {layers} layer{'s' * (layers != 1)}{order}; points: {counts}."
        + (f" {waiting} layer{'s have' if waiting > 1 else ' has'} no point yet." if waiting else "")
    )


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without a frame at a place in inches from the figure's upper left corner."""
    wide, tall = figure.get_size_inches()
    axes = figure.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall))
    axes.set_frame_on(False)
    axes.set(xticks=[], yticks=[])
    return axes


def _fold(name: str, width: float, size: float) -> str:
    """`name` in lines of at most `width` inches, broken after a dot or an underscore where possible."""
    room, lines = int(width / _mono(1, size)), [""]
    for part in re.findall(r"[^._ ]*[._ ]?", name):
        for piece in (part[i : i + room] for i in range(0, len(part), room)):
            if len(lines[-1]) + len(piece) > room:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


def _mono(characters: int, size: float) -> float:
    """Width in inches of so many characters of the fixed-width font, `size` in points."""
    return characters * size / 72 * 0.602


def _number(loss: float, tolerance: float) -> str:
    """Per cent for a tile, with as many digits as tell it from the tolerance."""
    value, limit = 100 * loss, 100 * tolerance
    digits = 0 if abs(value) >= 9.95 else 1
    while loss != tolerance and digits < 3 and round(value, digits) == round(limit, digits):
        digits += 1
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")  # + 0.0: no minus zero


def _percent(loss: float) -> str:
    """Per cent for an axis."""
    return f"{100 * loss:g} %".replace("-", "\N{MINUS SIGN}")
