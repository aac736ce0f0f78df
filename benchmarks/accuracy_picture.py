"""The curves of the accuracy benchmark: hmean over latency and over MACs, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy_plan import DEFAULT, OURS, PADDLESLIM, REBUILT, UNPRUNED, Results
from accuracy_spots import Spot, unpruned_ms
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ocrslim.utils.files import atomic_file

DPI = 130
_INK, _FAINT = "#1a1a1a", "#6a6a6a"
_SIZE = 6.5
_STAR = "*", 11.0  # marker and size of longer trainings
# way and training -> label, colour, marker; told apart without colours too
_STYLES = {
    (DEFAULT, True): ("this project, trained", "#0b5fa5", "o"),
    (DEFAULT, False): ("this project, not trained", "#5aa9e6", "s"),
    (REBUILT, True): ("earlier, by variance, trained", "#7a8fa5", "v"),
    (OURS, False): ("earlier, by the table, not trained", "#a9c4d6", "P"),
    (PADDLESLIM, True): ("PaddleSlim's way, trained", "#c4572b", "^"),
    (UNPRUNED, True): ("unpruned, trained", _INK, "D"),
    (UNPRUNED, False): ("unpruned, as it comes", _FAINT, "X"),
}
_TITLES = {"sroie": "SROIE receipts", "icdar2015": "ICDAR 2015"}


@dataclass(frozen=True)
class _Style:
    """How the networks of one way and one budget are drawn."""

    way: str
    budget: float
    label: str
    colour: str
    marker: str
    size: float


Place = Callable[[Spot], "float | None"]


def draw(results: Results, spots: Sequence[Spot], path: Path) -> None:
    """Write the picture, whole or not at all; needs no display."""
    data = list(dict.fromkeys(spot.data for spot in spots))
    figure = Figure(figsize=(12.5, 0.9 + 3.9 * len(data)), facecolor="w", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(data), 3, sharey="row", squeeze=False)
    for row, name in zip(axes, data):
        here = [spot for spot in spots if spot.data == name]
        for at, (one, (label, place)) in enumerate(zip(row, _panels(results, name))):
            _panel(one, here, place)
            one.set_xlabel(label, size=9)
            if at == 0:
                one.set_ylabel(f"{_TITLES.get(name, name)}: hmean on the test images", size=9)
    _legend(figure, spots)
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=DPI)


def _panels(results: Results, data: str) -> list[tuple[str, Place]]:
    def milliseconds(threads: str) -> Place:
        full = unpruned_ms(results, data, threads)

        def place(spot: Spot) -> float | None:
            ratio = spot.ratio(threads)
            return None if full is None or ratio is None else full * ratio

        return place

    return [
        ("latency at 736x1280, ms, 1 thread", milliseconds("1")),
        ("latency at 736x1280, ms, 2 threads", milliseconds("2")),
        ("MACs, % of the unpruned network's", lambda spot: 100 * (1 - spot.removed("macs"))),
    ]


def _styles(spots: Sequence[Spot]) -> list[_Style]:
    """One for each way and budget that there is."""
    found = []
    for style, (label, colour, marker) in _STYLES.items():
        for at, budget in enumerate(sorted({spot.budget for spot in spots if (spot.way, spot.trained) == style})):
            named = f"{label} {budget:g} min" if budget else label
            found.append(_Style(style[0], budget, named, colour, *(_STAR if at else (marker, _SIZE))))
    return found


def _panel(axes: Axes, spots: Sequence[Spot], place: Place) -> None:
    """Each way's points, joined from left to right; a point of several seeds has a small dot for each."""
    for style in _styles(spots):
        placed = [(place(spot), spot) for spot in spots if (spot.way, spot.budget) == (style.way, style.budget)]
        known = sorted(((x, spot) for x, spot in placed if x is not None), key=lambda one: one[0])
        if not known:
            continue
        xs, ys = [x for x, _ in known], [spot.hmean for _, spot in known]
        colour = style.colour
        axes.plot(xs, ys, color=colour, lw=1.3, zorder=2)
        low, high = zip(*(_reach(spot) for _, spot in known))
        shape = {"fmt": style.marker, "ms": style.size, "color": colour}
        axes.errorbar(xs, ys, yerr=(low, high), capsize=3, elinewidth=1, zorder=3, **shape)
        for x, spot in known:
            if len(spot.hmeans) > 1:
                axes.plot([x] * len(spot.hmeans), spot.hmeans, ".", color=colour, ms=4, alpha=0.6, zorder=4)
        if style.way == UNPRUNED:
            axes.axhline(ys[0], color=colour, lw=0.8, ls=(0, (4, 3)), zorder=1)
    axes.grid(color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _reach(spot: Spot) -> tuple[float, float]:
    """How far the interval of the difference reaches below and above it; nothing for the reference itself."""
    found = spot.difference
    if found is None or spot.way == UNPRUNED:
        return 0.0, 0.0
    return max(0.0, found.observed - found.low), max(0.0, found.high - found.observed)


def _legend(figure: Figure, spots: Sequence[Spot]) -> None:
    handles = [
        figure.axes[0].plot([], [], color=one.colour, marker=one.marker, ms=one.size, lw=1.3, label=one.label)[0]
        for one in _styles(spots)
    ]
    title = (
        "bars: 95 % interval of the difference to the unpruned network of the same training, "
        "on the same images; small dots: single seeds"
    )
    legend = figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=9, title=title)
    legend.get_title().set(size=8.5, color=_FAINT)
