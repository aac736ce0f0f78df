"""The images of a compression: what the unpruned model finds in them, and which of them serve for what.

Some are to calibrate on: channels are chosen and layers refitted, and a training learns, on them. By some a plan is
chosen among others, and the best weights of a training. The rest is held out from all of that: on it alone is measured
what a smaller model costs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ocrslim.config import MIN_RECOVER_IMAGES, Config
from ocrslim.data import image_paths
from ocrslim.errors import DataError
from ocrslim.evaluation import found_labels
from ocrslim.tasks import DataTask, Task
from ocrslim.utils import atomic_file, hash_bytes, listed, read_file, write_text

_CALIBRATION = 0.4  # of the images; the rest is halved
_MIN_SCORED = 2  # images to choose by, and as many to be held out: one has no spread
FEWEST = MIN_RECOVER_IMAGES + 2 * _MIN_SCORED
_ENOUGH = 100  # things to find in the images to choose by, so that each is at most a point
_PAGE = 200  # pixels: the least height of what may be a page
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Split:
    """Names of images, each in one part."""

    calibration: tuple[str, ...]
    choice: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Lists:
    """Files that name the images of each part: of the first their names, of the others labels as well."""

    calibration: Path
    choice: Path
    held_out: Path


def image_hashes(folder: Path) -> dict[str, str]:
    """Hash the images in a folder, by name.

    Raises:
        DataError: there is no such folder, or it has none.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--images {folder}: is one file, expected a folder of at least {FEWEST} images, better 40")
    paths = image_paths(folder, "--images")
    return {path.name: _hash(path) for path in paths}


def find_labels(config: Config, folder: Path) -> dict[str, str | None]:
    """Run the network of a configuration on the images of a folder; return what it finds in each that can be read.

    Returns:
        by name what a label file would say of an image; None where nothing is found in it.

    Raises:
        DataError: none can be read, nothing is found in any, or in too few to go on.
    """
    paths = image_paths(folder, "--images")
    found = {path.name: label for path, label in found_labels(config, paths, "unpruned model")}
    if not found:
        raise DataError(
            f"--images {folder}: none of {len(paths)} images can be read: the lines above say why: replace them"
        )
    with_labels = [name for name, label in found.items() if label is not None]
    if not with_labels:
        raise DataError(
            f"--images {folder}: the unpruned model finds nothing in {_number(len(found))}, so that nothing could be "
            f"compared: expected images of its kind ({config.task.title}), or other settings (ocrslim predict shows)"
        )
    if len(with_labels) < FEWEST:
        raise DataError(
            f"--images {folder}: {_number(len(with_labels))} in which the unpruned model finds something, expected at "
            f"least {FEWEST}, better 40: some to refit on, some to choose by, and others to measure on"
        )
    return found


def split(names: Sequence[str], seed: int) -> Split:
    """Divide images at random, always alike: four in ten to calibrate on, three to choose by, three held out."""
    shuffled = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    calibration = max(MIN_RECOVER_IMAGES, round(_CALIBRATION * len(names)))
    choice = calibration + (len(names) - calibration) // 2
    parts = (shuffled[:calibration], shuffled[calibration:choice], shuffled[choice:])
    return Split(*(tuple(sorted(part)) for part in parts))


def write_lists(parts: Split, labels: Mapping[str, str | None], folder: Path) -> Lists:
    """Write the files that the data sets of a configuration name."""
    files = Lists(folder / "calibration.txt", folder / "choice.txt", folder / "held_out.txt")
    with atomic_file(files.calibration) as stream:
        stream.write(b"".join(os.fsencode(name) + b"\n" for name in parts.calibration))
    for file, names in ((files.choice, parts.choice), (files.held_out, parts.held_out)):
        write_text(file, "".join(f"{name}\t{labels[name]}\n" for name in names))
    return files


def nothing_found(labels: Mapping[str, str | None]) -> str:
    """Name the images in which nothing was found; "" where there are none."""
    names = [name for name, label in labels.items() if label is None]
    return f"{_number(len(names))} left out, as nothing is found there: {listed(names)}" if names else ""


def too_few(parts: Split, labels: Mapping[str, str | None], task: DataTask) -> str:
    """Say so where one thing more or less, such as a line, is more than a point of agreement; else ""."""
    found = [label for name in parts.choice for label in task.parse_line(labels[name] or "", "\t")]
    things = sum(label.items for label in found)
    if things >= _ENOUGH:
        return ""
    return (
        f"{things} things are found in {_number(len(parts.choice))} to choose by: each is {100 / things:.1f} points "
        f"of agreement; expected {_ENOUGH} or more, which takes about {_ENOUGH // things + 1} times as many images"
    )


def whole_pages(folder: Path, names: Sequence[str], task: Task) -> str:
    """Say so where most images for a network of single lines are no lines: as tall as wide, and large; else ""."""
    if not task.single_lines:
        return ""
    pages = [name for name in names if _is_page(folder / name)]
    if 2 * len(pages) <= len(names):
        return ""
    return (
        f"--images {folder}: {len(pages)} of {_number(len(names))} look like whole pages, and this model reads single "
        f"lines ({task.title}): what it finds in a page says nothing of it; expected images of lines, cut out of pages "
        f"by a detector: {listed(pages)}"
    )


def _is_page(path: Path) -> bool:
    try:
        with Image.open(path) as image:  # its header alone
            width, height = image.size
    except (OSError, Image.DecompressionBombError):  # of a format that only OpenCV reads
        return False
    return height >= _PAGE and 4 * height >= 3 * width


def _number(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _hash(path: Path) -> str:
    try:
        return hash_bytes(read_file(path, _MOST_BYTES))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
