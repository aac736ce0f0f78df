"""The picture of a training run: its loss, its learning rate and its score over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ocrslim.report.plots.page import FAINT, INK
from ocrslim.utils import atomic_file

DPI = 110  # dots per inch
_BLUE, _ORANGE = "#2166ac", "#b35806"
_SMOOTHED = 20  # the thick line is a mean over so many points, or over a twentieth of them


@dataclass(frozen=True)
class TrainingPicture:
    """The data of a plot of a training.

    Attributes:
        curve: points in the order of their steps: step, mean loss, learning rate.
        scores: step and score of every evaluation, step 0 being the network as it came.
        metric: name of the score.
        best: step and score of the best weights, where there are any.
        steps: of the whole run, done or not.
        rollbacks: how often training diverged and went back.
    """

    curve: Sequence[Sequence[float]]
    scores: Sequence[tuple[int, float]]
    metric: str
    best: tuple[int, float] | None
    steps: int
    rollbacks: int = 0


def draw_training(picture: TrainingPicture, path: Path) -> None:
    """Write the picture as a PNG, whole or not at all; needs no display.

    Raises:
        ArtifactError: the file cannot be written; what was there before is intact.
    """
    figure = training_figure(picture)
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=DPI)


def training_figure(picture: TrainingPicture) -> Figure:
    """Three panels above one another, with the steps in common."""
    figure = Figure(figsize=(7.7, 6.4), facecolor="w", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.4, 2.4))
    _loss(panels[0], picture)
    _rate(panels[1], picture)
    _score(panels[2], picture)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, color=FAINT)
    panels[-1].set_xlabel("step", size=9)
    panels[-1].set_xlim(0, max(picture.steps, 1))
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _loss(axes: Axes, picture: TrainingPicture) -> None:
    steps = [point[0] for point in picture.curve]
    losses = [point[1] for point in picture.curve]
    axes.plot(steps, losses, color=FAINT, lw=0.6, alpha=0.6, gid="loss")
    axes.plot(steps, _smooth(losses), color=INK, lw=1.4)
    axes.set_ylabel("training loss", size=9)
    if picture.rollbacks:
        times = "once" if picture.rollbacks == 1 else f"{picture.rollbacks} times"
        axes.set_title(f"diverged {times}: gone back, learning rate halved", size=8, color=_ORANGE, loc="right")


def _rate(axes: Axes, picture: TrainingPicture) -> None:
    axes.plot([point[0] for point in picture.curve], [point[2] for point in picture.curve], color=INK, lw=1, gid="rate")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", scilimits=(-2, 2))
    axes.yaxis.get_offset_text().set_fontsize(8)
    axes.set_ylabel("learning rate", size=9)


def _score(axes: Axes, picture: TrainingPicture) -> None:
    if picture.scores:
        axes.plot(*zip(*picture.scores), "o-", color=_BLUE, lw=1.2, ms=3.5, gid="score")
    if picture.best is not None:
        axes.plot(*picture.best, "o", mfc="none", mec=_ORANGE, mew=1.5, ms=9, gid="best")
        label = f"best {picture.best[1]:.4f} at step {picture.best[0]}"
        axes.set_title(label, size=8, color=_ORANGE, loc="right")
    axes.set_ylabel(picture.metric, size=9)


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and some before it."""
    room = max(1, min(_SMOOTHED, len(values) // 20))
    return [sum(part) / len(part) for part in (values[max(0, i + 1 - room) : i + 1] for i in range(len(values)))]
