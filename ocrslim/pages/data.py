"""What serves to prune the two networks, made of what the pair as it came reads on the pages.

The detector gets the pages themselves, with the boxes found; the recogniser the lines that are cut out of them, as it
will see them: by the detector's boxes and not by a person's.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.compression import FEWEST, Split, split
from ocrslim.config import DETECTOR, MIN_RECOVER_IMAGES, RECOGNISER, Config
from ocrslim.data import Preprocessor, cut_out
from ocrslim.errors import DataError
from ocrslim.pages.measuring import PageRow
from ocrslim.pages.reader import outline_of
from ocrslim.pruning import RECONSTRUCTION
from ocrslim.tasks import Line
from ocrslim.utils import atomic_file, check_writable, listed, progress_bar, write_text

logger = logging.getLogger(__name__)

_JUDGED_BY = 200  # lines, by which a refit of the recogniser is judged
_FEW = 40  # images to refit on, where there are fewer: a detector's are cut several times
Rows = Mapping[str, PageRow]


@dataclass(frozen=True)
class Files:
    """What the configurations of the two networks name.

    Attributes:
        pages: file with the names of the pages to calibrate on.
        boxes: label file of the pages to choose by, with the boxes found.
        lines: folder of the lines to calibrate on.
        texts: label file of the pages to choose by, with lines that were read.
    """

    pages: Path
    boxes: Path
    lines: Path
    texts: Path


def split_pages(rows: Sequence[PageRow], there: int, images: Path, seed: int) -> Split:
    """Divide the pages on which the pair as it came reads something; the others are named.

    Args:
        rows: of the pages that could be read.
        there: number of all pages.
        images: their folder, for messages.

    Raises:
        DataError: there are too few.
    """
    read = sorted(row.page for row in rows if row.lines)
    empty = sorted(row.page for row in rows if not row.lines)
    if not rows:
        raise DataError(f"--images {images}: none of {there} images can be read: the lines above have the reasons")
    if not read:
        raise DataError(
            f"--images {images}: the two models as they came read nothing on {len(rows)} pages, so that nothing could "
            "be compared: expected pages with text of their kind"
        )
    if len(read) < FEWEST:
        raise DataError(
            f"--images {images}: text is read on {len(read)} of {len(rows)} pages, expected at least {FEWEST}, better "
            "40: some to refit on, some to choose by, and others to measure on"
        )
    if empty:
        logger.info("%d pages are left out, as nothing is read on them: %s", len(empty), listed(empty))
    return split(read, seed)


def files_in(run: Path) -> Files:
    """Return the files in the folder of a run."""
    detection, recognition = run / DETECTOR, run / RECOGNISER
    return Files(
        *(detection / "calibration.txt", detection / "choice.txt", recognition / "lines", recognition / "choice.txt")
    )


def write_files(files: Files, parts: Split, rows: Rows, images: Path, config: Config) -> int:
    """Write them; return the number of lines to calibrate on.

    Args:
        rows: what the pair as it came read on each page.
        images: folder of the pages.
        config: of the detector.

    Raises:
        DataError: there are too few lines.
    """
    for folder in (files.pages.parent, files.texts.parent):
        check_writable(folder)
    with atomic_file(files.pages) as stream:
        stream.write(b"".join(os.fsencode(name) + b"\n" for name in parts.calibration))
    boxes = {name: config.task.label_of(rows[name].boxes) for name in parts.choice}
    write_text(files.boxes, "".join(f"{name}\t{label}\n" for name, label in boxes.items()))
    chosen = _thinned({name: rows[name].lines for name in parts.choice}, _JUDGED_BY)
    write_text(files.texts, "".join(f"{name}\t{label_of(lines)}\n" for name, lines in chosen.items()))
    count = _cut_lines(files.lines, {name: rows[name].lines for name in parts.calibration}, images, config)
    if count < MIN_RECOVER_IMAGES:
        raise DataError(
            f"--images {images}: {count} lines are read on the {len(parts.calibration)} pages to calibrate on, "
            f"expected at least {MIN_RECOVER_IMAGES}, better 200: pages with more text, or more of them"
        )
    return count


def label_of(lines: Sequence[Line]) -> str:
    """Return what a detection label file says of a page with these lines."""
    boxes = [{"transcription": line.text, "points": np.round(line.points, 1).tolist()} for line in lines]
    return json.dumps(boxes, ensure_ascii=False)


def configured(config: Config, task: str, run: Path, images: Path, lines: int) -> Config:
    """Return the configuration by which one of the networks is pruned.

    Args:
        config: of the model as it came.
        lines: to calibrate on.
    """
    files, given = files_in(run), config.given
    detects = task == DETECTOR
    refit = config.task.refit_images if detects else min(lines, config.task.refit_images)
    changes: dict[str, Any] = {
        "Global.save_model_dir": str(run / task),
        "Global.epoch_num": 0,
        "Global.checkpoints": None,
        "Metric": {**config.section("Metric"), **config.task.agreement_metric},
        "Train.dataset.data_dir": str(images if detects else files.lines),
        "Train.dataset.label_file_list": None,
        "Train.dataset.image_list": str(files.pages) if detects else None,
        "Eval.dataset.data_dir": str(images),
        "Eval.dataset.label_file_list": [str(files.boxes if detects else files.texts)],
        "Prune.rounds": 1,
        "Prune.target": None,
    }
    defaults: dict[str, Any] = {
        "Prune.criterion": RECONSTRUCTION,
        "Prune.recover_images": max(refit, _FEW),
        "Export.rewrite": True,
    }
    changes |= {key: value for key, value in defaults.items() if key not in given}
    return config.changed(changes)


def _thinned(lines: Mapping[str, Sequence[Line]], most: int) -> dict[str, list[Line]]:
    """Return at most so many of the lines, evenly from all pages."""
    places = [(name, line) for name, found in lines.items() for line in found]
    step = max(1, -(-len(places) // most))
    kept: dict[str, list[Line]] = {}
    for name, line in places[::step]:
        kept.setdefault(name, []).append(line)
    return kept


def _cut_lines(folder: Path, lines: Mapping[str, Sequence[Line]], images: Path, config: Config) -> int:
    """Cut lines out of their pages, a PNG each; return their number."""
    shutil.rmtree(folder, ignore_errors=True)
    check_writable(folder)
    load, count = Preprocessor(config), 0
    for page, (name, found) in enumerate(progress_bar(lines.items(), inner=True, desc="lines", unit="page")):
        pixels = load.pixels(images / name)
        for number, line in enumerate(found):
            cut = cut_out(pixels, outline_of(line.points))
            with atomic_file(folder / f"{page:05d}_{number:04d}.png") as stream:
                stream.write(cv2.imencode(".png", cut)[1].tobytes())
            count += 1
    return count
