"""The labels that a user has, divided as the images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocrslim.compression.images import Split
from ocrslim.config import Config
from ocrslim.data import read_labels
from ocrslim.errors import DataError
from ocrslim.utils import read_file, write_text

_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class LabelFiles:
    """Label files for the parts of the images; None for a part of which no image has a label."""

    calibration: Path | None
    choice: Path | None
    held_out: Path | None


def divide_labels(config: Config, labels: Path, parts: Split, folder: Path) -> LabelFiles:
    """Write a label file for each part of the images.

    Args:
        config: of the model, its `Eval.dataset` with the folder of images.
        labels: may name some of the images only, and others.
        folder: to write into.

    Raises:
        DataError: the labels cannot be read, are not of the model's task, or of none of the images.
    """
    dataset = {**config.section("Eval.dataset"), "label_file_list": [str(labels)], "ratio_list": 1.0}
    samples = read_labels(dataset, "Eval", config.seed, config.task)
    if any(sample.outline for sample in samples):
        raise DataError(
            f"--labels {labels}: has boxes in pages, and {config.task.title} takes one line an image: expected "
            f"{config.task.label_format}; cut the boxes out first"
        )
    delimiter = dataset.get("delimiter") or "\t"
    text = read_file(labels, _MOST_BYTES).decode("utf-8-sig")
    lines = {line.partition(delimiter)[0]: line for line in text.splitlines() if line.strip()}
    named = {name for part in (parts.calibration, parts.choice, parts.held_out) for name in part}
    if not named & lines.keys():
        raise DataError(
            f"--labels {labels}: names none of the images in {dataset['data_dir']}; its first is "
            f"{samples[0].name}: expected names relative to that folder"
        )
    files = (
        _written(folder / f"{name}_labels.txt", [lines[image] for image in images if image in lines])
        for name, images in (("calibration", parts.calibration), ("choice", parts.choice), ("held_out", parts.held_out))
    )
    return LabelFiles(*files)


def _written(file: Path, lines: Sequence[str]) -> Path | None:
    if not lines:
        return None
    write_text(file, "".join(f"{line}\n" for line in lines))
    return file
