"""Data sets whose configuration names no labels: which images they have, and how a training prepares these.

A training without labels learns what the unpruned network makes of its images, so that any image will do. They are
prepared as for an evaluation, in the size in which that network knows them, and cut to one size as for a refit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data.label_files import read_labels
from ocrslim.data.preprocess import needs_label
from ocrslim.data.stand_in_operators import DecodeImage
from ocrslim.data.transforms import build_operators
from ocrslim.errors import DataError
from ocrslim.tasks import Operator, Sample, Task
from ocrslim.utils import MIB, read_file

IMAGE_SUFFIXES = set(".jpg .jpeg .png .bmp .tif .tiff .webp .gif .avif .jp2 .pbm .pgm .ppm".split())
MODES = ("Train", "Eval")
_MOST_BYTES = 64 * MIB  # of a list of names
_EVALUATED, _FEWEST = 3, 3  # one image in three; of fewer images both data sets have all


def names_labels(config: Config, mode: str) -> bool:
    """Tell whether the data set `mode`, "Train" or "Eval", names label files."""
    return bool(config.get(f"{mode}.dataset.label_file_list"))


def image_paths(images: Path, named_by: str) -> list[Path]:
    """Return the images in a folder, or the one that is named.

    Args:
        named_by: option or key that names it, for messages.

    Raises:
        DataError: there are none.
    """
    if images.exists() and not images.is_dir():
        return [images]
    if not images.exists():
        raise DataError(f"{named_by} {images}: not found; expected a folder of images, or one image")
    paths = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
    if not paths:
        raise DataError(
            f"{named_by} {images}: has no images; expected files with the endings {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return paths


def unlabelled_images(config: Config, mode: str) -> list[Path]:
    """Return the images of a data set that names no labels: those that `image_list` names, else those in its folder.

    Where the other data set has the same folder, it keeps the images that its labels name; where it has no labels
    either, one image in three is for evaluation.

    Raises:
        DataError: there are none, or the other's labels cannot be read.
    """
    (other,) = (each for each in MODES if each != mode)
    listed = config.get(f"{mode}.dataset.image_list")
    if listed:
        return _listed(Path(listed), Path(str(config.get(f"{mode}.dataset.data_dir"))), mode)
    folders = {each: config.get(f"{each}.dataset.data_dir") for each in MODES}
    paths = image_paths(Path(str(folders[mode])), f"{mode}.dataset.data_dir")
    if folders[mode] != folders[other] or len(paths) < _FEWEST:
        return paths
    if names_labels(config, other):
        samples = read_labels(config.section(f"{other}.dataset"), other, config.seed, config.task)
        taken = {sample.path for sample in samples}
        return [path for path in paths if path not in taken] or paths
    return [path for place, path in enumerate(paths) if (place % _EVALUATED == 0) == (mode == "Eval")]


def _listed(file: Path, folder: Path, mode: str) -> list[Path]:
    """Return the images that a file names, a line each."""
    try:
        names = read_file(file, _MOST_BYTES).splitlines()
    except OSError as error:
        raise DataError(
            f"{mode}.dataset.image_list {file}: cannot be read: {error.strerror}; expected names of images, one a line"
        ) from None
    found = [folder / os.fsdecode(name) for name in names if name.strip()]
    if not found:
        raise DataError(f"{mode}.dataset.image_list {file}: empty, expected the names of images, one a line")
    return found


def unlabelled_samples(config: Config, mode: str) -> list[Sample]:
    """Return the images as samples; raises as `unlabelled_images`."""
    return [Sample(path.name, path, "", items=0, care=0, tiny=0) for path in unlabelled_images(config, mode)]


def unlabelled_operators(config: Config, sized: bool) -> list[Operator]:
    """Return the operators of a training without labels; the last one keeps the image alone.

    They are those of `Eval.dataset.transforms`, and behind the decoding those of `Train.dataset.transforms` that change
    an image by chance and need no label to do so.

    Args:
        sized: whether a sampler gives images their size.

    Raises:
        ConfigError: PaddleOCR does not know or refuses a transform.
    """
    task = config.task
    operators = [operator for name, operator in build_operators(config, "Eval") if not needs_label(name)]
    chance = [operator for name, operator in build_operators(config, "Train") if task.augments_images(name)]
    decoding = [place for place, operator in enumerate(operators) if isinstance(operator, DecodeImage)]
    place = decoding[0] + 1 if decoding else 0
    return [*operators[:place], *chance, *operators[place:], *([] if sized else [OneSize(task)]), image_alone]


class OneSize:
    """Gives images the one size that refits have (`Task.calibration_input`)."""

    def __init__(self, task: Task):
        self._cut: Callable[[np.ndarray, np.random.Generator], np.ndarray] = task.calibration_input

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        rng = np.random.default_rng(np.random.randint(1 << 31))  # which `seeded` makes repeatable
        image = np.asarray(data["image"], dtype=np.float32)[None]
        return {**data, "image": np.ascontiguousarray(self._cut(image, rng)[0])}


def image_alone(data: dict[str, Any]) -> list[Any]:
    """Return what a batch has of a sample without a label."""
    return [np.asarray(data["image"], dtype=np.float32)]
