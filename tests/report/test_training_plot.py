"""The curves of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from ocrslim.errors import ArtifactError
from ocrslim.report.plots.training import TrainingPicture, draw_training, training_figure

CURVE = [[step, 2.0 / step, 0.1 / step] for step in range(1, 41)]
PICTURE = TrainingPicture(CURVE, [(0, 0.5), (20, 0.75), (40, 0.7)], "hmean", (20, 0.75), 50, 2)


def line(figure: Figure, name: str) -> Any:
    (found,) = [drawn for axes in figure.axes for drawn in axes.lines if drawn.get_gid() == name]
    return found


def test_shows_every_point() -> None:
    figure = training_figure(PICTURE)
    assert list(line(figure, "loss").get_ydata()) == [point[1] for point in CURVE]
    assert list(line(figure, "rate").get_ydata()) == [point[2] for point in CURVE]
    assert list(line(figure, "score").get_xdata()) == [0, 20, 40]
    assert (list(line(figure, "best").get_xdata()), list(line(figure, "best").get_ydata())) == ([20], [0.75])
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "learning rate", "hmean"]
    assert figure.axes[0].get_xlim() == (0, 50)  # the steps to come have room
    titles = [axes.get_title(loc="right") for axes in figure.axes]
    assert titles == ["diverged 2 times: gone back, learning rate halved", "", "best 0.7500 at step 20"]


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(TrainingPicture([], [], "hmean", None, 0), id="nothing yet"),
        pytest.param(TrainingPicture([], [(0, 0.1)], "recall", (0, 0.1), 10), id="before the first step"),
    ],
)
def test_draws_the_beginning_too(picture: TrainingPicture, tmp_path: Path) -> None:
    draw_training(picture, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError):
        draw_training(PICTURE, tmp_path / "file" / "training.png")
