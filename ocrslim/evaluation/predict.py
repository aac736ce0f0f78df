"""Detections drawn on images, and as JSON."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ocrslim.config import Config
from ocrslim.data import NetworkMemory, Preprocessor
from ocrslim.errors import DataError
from ocrslim.inference import Engine
from ocrslim.report import draw_boxes
from ocrslim.tasks.detection.post_process import post_processor
from ocrslim.utils import atomic_file, check_writable, progress_bar, write_json

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = set(".jpg .jpeg .png .bmp .tif .tiff .webp .gif .avif .jp2 .pbm .pgm .ppm".split())
BOXES = "boxes.json"

Boxes = list[list[list[float]]]  # of an image: the points [x, y] of each text region, in pixels


@dataclass(frozen=True)
class Predictions:
    """Text found in images.

    Attributes:
        boxes: image name -> its text regions.
        unreadable: names of the images that were left out.
        file: holds `boxes` as JSON; the drawn images lie beside it.
    """

    boxes: Mapping[str, Boxes]
    unreadable: tuple[str, ...]
    file: Path


def predict(engine: Engine, config: Config, images: Path, out: Path) -> Predictions:
    """Find text in every image of the folder (or the one file) `images`.

    Writes `out/<image name>.png` with the outlines drawn, and `out/boxes.json`:
    {image name: [[[x, y], ...] per text region, in pixels]}; pixels are those that are drawn, upright where the
    configuration turns images upright. Unreadable images are left out, each with a line that says why.

    Raises:
        DataError: there is no readable image.
        ArtifactError: `out` cannot be written.
    """
    paths = _image_paths(images)
    check_writable(out)
    load, post_process = Preprocessor(config, NetworkMemory(engine)), post_processor(config)
    boxes: dict[str, Boxes] = {}
    unreadable: list[str] = []
    with progress_bar(paths, desc="predict", unit="img") as bar:
        for path in bar:
            try:
                prepared = load(path)
            except DataError as error:
                if len(paths) == 1:
                    raise
                unreadable.append(_as_text(path))
                with bar.external_write_mode():
                    logger.warning("left out: %s", error)
                continue
            found = post_process(engine(prepared.image), prepared.shape)
            boxes[_as_text(path)] = [np.round(box, 2).tolist() for box in found]
            _save_png(out / f"{path.name}.png", draw_boxes(prepared.pixels, found))
    if not boxes:
        raise DataError(f"{images}: none of {len(paths)} images can be read: the lines above say why; replace them")
    write_json(out / BOXES, boxes)
    return Predictions(boxes, tuple(unreadable), out / BOXES)


def _image_paths(images: Path) -> list[Path]:
    if images.exists() and not images.is_dir():
        return [images]
    if not images.exists():
        raise DataError(f"--images {images}: not found; expected a folder of images, or one image")
    paths = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
    if not paths:
        raise DataError(f"--images {images}: no image in it; expected files of {', '.join(sorted(IMAGE_SUFFIXES))}")
    return paths


def _as_text(path: Path) -> str:
    """The name of a file as text that can be written everywhere: bytes that are no UTF-8 become `\\xff`."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def _save_png(path: Path, image: np.ndarray) -> None:
    with atomic_file(path) as stream:
        stream.write(cv2.imencode(".png", image)[1].tobytes())
