"""Predictions for images, drawn on them and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.config import Config
from ocrslim.data import image_paths
from ocrslim.errors import DataError
from ocrslim.evaluation.image_runs import run_images
from ocrslim.inference import Engine
from ocrslim.utils import atomic_file, check_writable, write_json


@dataclass(frozen=True)
class Predictions:
    """Predictions for images, and the file that they are written to.

    Attributes:
        found: name of the image -> its prediction, in the task's form.
        unreadable: names of the images that could not be read.
        file: the predictions as JSON; the drawn images lie beside it.
    """

    found: Mapping[str, Any]
    unreadable: tuple[str, ...]
    file: Path


def predict_images(engine: Engine, config: Config, images: Path, out: Path) -> Predictions:
    """Run a network on every image of the folder (or the one file) `images`.

    Writes `out/<image name>.png` with the prediction drawn, and `out/<Task.predictions_file>`: predictions by image
    name. A detector's are [[[x, y], ...] per text region, in pixels]; pixels are those of the drawing, which is upright
    where the configuration turns images upright. Unreadable images are left out, with a warning for each.

    Raises:
        DataError: there is no readable image.
        ArtifactError: `out` cannot be written.
    """
    paths = image_paths(images, "--images")
    check_writable(out)
    task = config.task
    predictions: dict[str, Any] = {}
    for path, prepared, found in run_images(engine, config, paths, "predict", strict=len(paths) == 1):
        predictions[_as_text(path)] = found
        _save_png(out / f"{path.name}.png", task.draw(prepared.pixels, found))
    unreadable = tuple(name for name in map(_as_text, paths) if name not in predictions)
    if not predictions:
        raise DataError(
            f"{images}: none of {len(paths)} images can be read: the lines above have the reasons; replace them"
        )
    file = out / task.predictions_file
    write_json(file, {name: task.to_json(one) for name, one in predictions.items()})
    return Predictions(predictions, unreadable, file)


def _as_text(path: Path) -> str:
    """Return a file's name as valid text; bytes that are not UTF-8 become `\\xff`."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def _save_png(path: Path, image: np.ndarray) -> None:
    with atomic_file(path) as stream:
        stream.write(cv2.imencode(".png", image)[1].tobytes())
