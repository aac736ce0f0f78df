"""A few held-out images with what both models find in them, for the report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.config import Config
from ocrslim.data import NetworkMemory, Preprocessor
from ocrslim.evaluation import post_processor
from ocrslim.inference import Engine
from ocrslim.tasks import Counts
from ocrslim.utils import atomic_file, check_writable

FOLDER = "samples"
_COUNT = 6
_LONGEST = 1000  # pixels of a side
_QUALITY = 80


def choose_samples(names: Sequence[str], counts: Sequence[Counts], most: int = _COUNT) -> list[str]:
    """Choose images to show: half of them those that agree least, the others spread over the rest.

    Args:
        counts: of each image: things to find, found, and in common.
    """
    differing = [max(one[0], one[1]) - one[2] for one in counts]
    order = sorted(range(len(names)), key=lambda place: (-differing[place], place))
    worst, rest = order[: most // 2], sorted(order[most // 2 :])
    spread = [rest[place] for place in np.linspace(0, len(rest) - 1, min(len(rest), most - len(worst))).astype(int)]
    return [names[place] for place in (*worst, *spread)]


def write_samples(
    names: Sequence[str], config: Config, engines: tuple[Engine, Engine], out: Path
) -> list[dict[str, Any]]:
    """Write images, small, into `out/samples`; return what both engines find in them, in pixels of these images.

    Args:
        config: its `Eval.dataset.data_dir` has the images.
        engines: of the unpruned and of the smaller model.
    """
    folder, source = out / FOLDER, Path(str(config.get("Eval.dataset.data_dir")))
    shutil.rmtree(folder, ignore_errors=True)
    check_writable(folder)
    task, decode = config.task, post_processor(config)
    load, samples = Preprocessor(config, NetworkMemory(engines[0], task)), []
    for number, name in enumerate(names, 1):
        prepared = load(source / name)
        file = folder / f"{number}.jpg"
        size, scale = save_sample(file, prepared.pixels)
        before, after = (
            [scaled(item, scale) for item in task.items(decode(engine(prepared.image), prepared.shape))]
            for engine in engines
        )
        samples.append({"image": f"{FOLDER}/{file.name}", "name": name, "size": size, "before": before, "after": after})
    return samples


def save_sample(file: Path, pixels: np.ndarray) -> tuple[list[int], float]:
    """Write an image, small, as a JPEG; return its height and width, and the factor by which it is smaller."""
    shown, scale = small(pixels)
    with atomic_file(file) as stream:
        stream.write(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
    return list(shown.shape[:2]), scale


def small(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return an image of at most `_LONGEST` pixels a side, and the factor."""
    scale = min(1.0, _LONGEST / max(pixels.shape[:2]))
    if scale == 1.0:
        return pixels, scale
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), scale


def scaled(item: dict[str, Any], scale: float) -> dict[str, Any]:
    """Return an item of a prediction on an image that is smaller by a factor."""
    if "points" not in item:
        return item
    return {**item, "points": [[round(x * scale, 1), round(y * scale, 1)] for x, y in item["points"]]}
