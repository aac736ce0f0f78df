"""PaddleOCR's detection label files, read strictly.

A label file holds one image per line: `NAME<TAB>[{"transcription": ..., "points": [[x, y], ...]}, ...]`,
coordinates in pixels of the image, names relative to `data_dir`; `###` and `*` mark text that does not
count ("don't care").
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.errors import DataError

MIN_SIDE = 3  # pixels; a thinner box cannot be learned or found, and breaks PaddleOCR's border map
MAX_COORDINATE = 100_000  # pixels; beyond any image, and PaddleOCR's maps would ask for all the memory
DONT_CARE = ("*", "###")

_EXPECTED = 'expected NAME<TAB>[{"transcription": "text", "points": [[x, y], [x, y], [x, y], [x, y]]}, ...]'


@dataclass(frozen=True)
class Sample:
    """One image and its label; `label` is JSON text as PaddleOCR's `DetLabelEncode` takes it.

    boxes and care count all boxes and those that are not "don't care"; digest is the SHA-256 of the
    file, empty until the image has been scanned.
    """

    name: str
    path: Path
    label: str
    boxes: int
    care: int
    tiny: int
    digest: str = ""


def read_labels(dataset: dict[str, Any], mode: str, seed: int) -> list[Sample]:
    """Parse the label files named in a `dataset` section, thinned by `ratio_list`, images not yet looked at.

    Raises:
        DataError: a folder, file or line is missing or broken.
    """
    folder, files = _locate(dataset, mode)
    ratios = dataset.get("ratio_list", 1.0)
    samples = []
    for file, ratio in zip(files, ratios if isinstance(ratios, list) else [ratios] * len(files)):
        lines = _read_lines(file, mode)
        if ratio < 1:
            rows = sorted(random.Random(seed).sample(range(len(lines)), round(len(lines) * ratio)))
            lines = [lines[row] for row in rows]
        samples += _parse_lines(file, lines, folder, dataset.get("delimiter") or "\t")
    if not samples:
        raise DataError(f"{mode}.dataset.ratio_list {dataset.get('ratio_list')}: leaves no image; raise it")
    return samples


def _locate(dataset: dict[str, Any], mode: str) -> tuple[Path, list[Path]]:
    folder, files = dataset["data_dir"], dataset["label_file_list"]
    files = [files] if isinstance(files, str) else files
    if not Path(folder).is_dir():
        raise DataError(
            f"{mode}.dataset.data_dir: folder {folder} not found: put the images that {files[0]} names "
            f"there, or redirect with {_redirect(mode)}"
        )
    for file in files:
        if not Path(file).is_file():
            raise DataError(
                f"{mode}.dataset.label_file_list: file {file} not found: put a label file there (one line an "
                f"image: {_EXPECTED[9:]}, names relative to {folder}), or redirect with {_redirect(mode)}"
            )
    return Path(folder), [Path(file) for file in files]


def _redirect(mode: str) -> str:
    return f"-o {mode}.dataset.data_dir=FOLDER {mode}.dataset.label_file_list=[FILE]"


def _read_lines(file: Path, mode: str) -> list[tuple[int, str]]:
    """Return (line number, text) of the lines that are not blank."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; change its mode or name another") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}, line {number}: byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8 "
            "(iconv -t UTF-8), or check that it is a label file at all"
        ) from None
    lines = [(n, line.rstrip("\r")) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{file}: empty: write one line an image ({_EXPECTED[9:]}), or redirect with {_redirect(mode)}")
    return lines


def _parse_lines(file: Path, lines: list[tuple[int, str]], folder: Path, delimiter: str) -> list[Sample]:
    samples, faults = [], []
    for number, line in lines:
        try:
            samples.append(_parse_line(line, folder, delimiter))
        except ValueError as fault:
            faults.append(f"line {number}: {fault}")
    if faults:
        more = f" ({len(faults) - 1} more lines are broken too)" if faults[1:] else ""
        raise DataError(f"{file}, {faults[0]}; correct or remove the line{more}")
    return samples


def _parse_line(line: str, folder: Path, delimiter: str) -> Sample:
    name, found, rest = line.partition(delimiter)
    if not found:
        raise ValueError(f"no {'tab' if delimiter == chr(9) else repr(delimiter)} in {_short(line)}, {_EXPECTED}")
    text = rest.split(delimiter)[0]
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON after the name: {_short(text)}, {_EXPECTED}") from None
    if not name.strip() or "\0" in name:
        raise ValueError(f"no image name before the label, {_EXPECTED}")
    if not isinstance(boxes, list):
        raise ValueError(f"the label is {_short(text)}, not a list of boxes, {_EXPECTED}")
    plain, tiny = [], 0
    for position, box in enumerate(boxes, 1):
        transcription, points = _check_box(box, position)
        if transcription not in DONT_CARE and is_tiny(points):
            transcription, tiny = "###", tiny + 1
        plain.append({"transcription": transcription, "points": points})
    care = sum(box["transcription"] not in DONT_CARE for box in plain)
    return Sample(name, folder / name, json.dumps(plain, ensure_ascii=False), len(plain), care, tiny)


def _check_box(box: Any, position: int) -> tuple[str, list[list[float]]]:
    for key in ("transcription", "points"):
        if not isinstance(box, dict) or key not in box:
            raise ValueError(f"box {position} has no {key!r}: {_short(json.dumps(box))}, {_EXPECTED}")
    transcription, points = box["transcription"], box["points"]
    if not isinstance(transcription, (str, int, float)):
        raise ValueError(f"box {position}: transcription {_short(json.dumps(transcription))} is not text")
    if not isinstance(points, list) or len(points) < 4 or not all(_is_point(point) for point in points):
        raise ValueError(
            f"box {position}: points {_short(json.dumps(points))}, expected at least 4 points [x, y] "
            f"of finite numbers within {MAX_COORDINATE} pixels"
        )
    return str(transcription), points


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(_is_coordinate(value) for value in point)


def _is_coordinate(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) <= MAX_COORDINATE


def is_tiny(points: list[list[float]]) -> bool:
    """Whether a side of the box, upright or turned, is under `MIN_SIDE` pixels."""
    corners = np.asarray(points, dtype=np.float32)
    side = min(*cv2.minAreaRect(corners)[1], *np.ptp(corners, axis=0))
    return bool(side < MIN_SIDE - 1e-3)


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "..."
