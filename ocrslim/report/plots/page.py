"""The page that every drawing is on: its heading, its style, and places on it in inches."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ocrslim.report.plots.sensitivity_data import INFERRED, KINDS, MEASURED, SAMPLED, SensitivityPicture

INK, FAINT = "#1a1a1a", "#6a6a6a"
MONO: dict[str, Any] = {"family": "DejaVu Sans Mono", "parse_math": False}  # a name may hold a $
MARGIN, LEGEND = 0.2, 0.62  # inches: around the page, and the height of a legend
MEANING = {MEASURED: "measured on all {} images", SAMPLED: "estimated on some images", INFERRED: "inferred"}


def new_page(picture: SensitivityPicture, title: str, width: float, height: float) -> tuple[Figure, float]:
    """Make a figure `width` inches wide with its heading, and room for `height` inches from the place returned."""
    lines = textwrap.wrap(_summary(picture), int((width - 2 * MARGIN) / (7.5 / 72 * 0.51)))
    top = 0.5 + 0.15 * len(lines) + 0.1
    figure = Figure(figsize=(width, top + height), facecolor="w")
    FigureCanvasAgg(figure)
    left, tall = MARGIN / width, top + height
    figure.text(left, 1 - 0.18 / tall, title, size=11, weight="bold", va="top", color=INK)
    figure.text(left, 1 - 0.46 / tall, "\n".join(lines), size=7.5, va="top", color=INK, linespacing=1.35)
    return figure, top


def _summary(picture: SensitivityPicture) -> str:
    kinds = picture.kinds()
    counts = ", ".join(f"{kinds[how]} {how}" for how in KINDS if kinds[how]) or "none yet"
    waiting = sum(not picture.points(name) for name in picture.layers)
    layers = len(picture.layers)
    order = ", those that can lose most first" if layers > 1 and kinds else ""
    return (
        f"Unpruned {picture.metric} {picture.baseline:.4f} on {picture.images} images; loss is the fraction of it "
        f"that is lost; tolerance {picture.tolerance:g}. {layers} layer{'s' * (layers != 1)}{order}; points: {counts}."
        + (f" {waiting} layer{'s have' if waiting > 1 else ' has'} no point yet." if waiting else "")
    )


def place_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes without a frame at a place in inches from the figure's upper left corner."""
    wide, tall = figure.get_size_inches()
    axes = figure.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall))
    axes.set_frame_on(False)
    axes.set(xticks=[], yticks=[])
    return axes


def mono_width(characters: int, size: float) -> float:
    """Width in inches of so many characters of the fixed-width font, `size` in points."""
    return characters * size / 72 * 0.602
