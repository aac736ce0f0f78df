"""Detections drawn on images, and as JSON."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.artifacts import atomic_file, check_writable, write_json
from ocrslim.config import Config
from ocrslim.data import preprocess
from ocrslim.engines import Engine
from ocrslim.errors import DataError
from ocrslim.evaluate import post_processor
from ocrslim.progress import progress_bar
from ocrslim.report import draw_boxes

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
BOXES = "boxes.json"


def predict(engine: Engine, config: Config, images: Path, out: Path) -> dict[str, Any]:
    """Find text in every image of the folder (or the one file) `images`.

    Writes `out/<image name>.png` with the outlines drawn, and `out/boxes.json`:
    {image name: [[[x, y], ...] per text region, in pixels]}. Unreadable images are left out and counted.

    Raises:
        DataError: there is no readable image.
        ArtifactError: `out` cannot be written.
    """
    paths = _image_paths(images)
    check_writable(out)
    load, post_process = preprocess(config), post_processor(config)
    boxes: dict[str, list[list[list[float]]]] = {}
    unreadable = []
    for path in progress_bar(paths, desc="predict", unit="img"):
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if image is None:
            unreadable.append(path.name)
            continue
        tensor, shape = load(path)
        found = post_process(engine(tensor), shape)
        boxes[path.name] = [np.round(box, 2).tolist() for box in found]
        _save_png(out / f"{path.name}.png", draw_boxes(image, found))
    if not boxes:
        raise DataError(f"{images}: none of {len(paths)} images can be read (first: {unreadable[0]})")
    if unreadable:
        logger.warning("%d unreadable images left out: %s", len(unreadable), ", ".join(unreadable[:5]))
    write_json(out / BOXES, boxes)
    print(f"{sum(map(len, boxes.values()))} boxes on {len(boxes)} images: {out}")
    return {"images": len(boxes), "unreadable": unreadable, "boxes": str(out / BOXES), "out": str(out)}


def _image_paths(images: Path) -> list[Path]:
    if images.is_file():
        return [images]
    if not images.is_dir():
        raise DataError(f"--images {images}: not found; expected a folder of images, or one image")
    paths = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not paths:
        raise DataError(f"--images {images}: no image in it; expected files of {', '.join(sorted(IMAGE_SUFFIXES))}")
    return paths


def _save_png(path: Path, image: np.ndarray) -> None:
    with atomic_file(path) as stream:
        stream.write(cv2.imencode(".png", image)[1].tobytes())
