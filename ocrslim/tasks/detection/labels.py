"""PaddleOCR's detection label files, read strictly.

A label file holds one image per line: `NAME<TAB>[{"transcription": ..., "points": [[x, y], ...]}, ...]`,
coordinates in pixels of the image, names relative to `data_dir`; `###` and `*` mark text that does not
count ("don't care").
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.errors import DataError
from ocrslim.utils import GIB, MIB, open_regular, parse_json, shortened

MIN_SIDE = 3  # pixels; a thinner box cannot be learned or found, and breaks PaddleOCR's border map
MAX_COORDINATE = 100_000  # pixels; beyond any image, and PaddleOCR's maps would ask for all the memory
MAX_POINTS = 1000  # of one box; curved text has a dozen, and comparing outlines takes time by their product
MAX_LINE = 16 * MIB
MAX_BYTES = 4 * GIB
DONT_CARE = ("*", "###")

_EXPECTED = 'expected NAME<TAB>[{"transcription": "text", "points": [[x, y], [x, y], [x, y], [x, y]]}, ...]'


@dataclass(frozen=True)
class Sample:
    """One image and its label.

    Attributes:
        name: as the label file has it.
        path: of the image.
        label: JSON text as PaddleOCR's `DetLabelEncode` takes it.
        boxes: all boxes.
        care: boxes that are not "don't care".
        tiny: boxes with a side under `MIN_SIDE` pixels, which do not count.
        place: label file and line, for messages.
        source: index of the label file.
        size: height and width as decoded, in pixels; (0, 0) until the image has been scanned.
        digest: SHA-256 of the image file; empty until it has been scanned, or where it cannot be read.
        fault: why the image cannot be read; empty where it can.
    """

    name: str
    path: Path
    label: str
    boxes: int
    care: int
    tiny: int
    place: str = ""
    source: int = 0
    size: tuple[int, int] = (0, 0)
    digest: str = ""
    fault: str = ""


def read_labels(dataset: dict[str, Any], mode: str, seed: int) -> list[Sample]:
    """Parse the label files named in a `dataset` section, images not yet looked at.

    For evaluation the lines are thinned by `ratio_list`, always to the same ones; a training draws anew in every
    epoch (`LabelledSet.of_epoch`).

    Raises:
        DataError: a folder, file or line is missing or broken.
    """
    folder, files = _locate(dataset, mode)
    ratios = [1.0] * len(files) if mode == "Train" else shares(dataset)
    samples = []
    for source, (file, ratio) in enumerate(zip(files, ratios)):
        lines = list(_read_lines(file, mode))
        if ratio < 1:
            rows = sorted(random.Random(seed).sample(range(len(lines)), round(len(lines) * ratio)))
            lines = [lines[row] for row in rows]
        samples += _parse_lines(file, source, lines, folder, dataset.get("delimiter") or "\t")
    if not samples:
        raise DataError(f"{mode}.dataset.ratio_list {dataset.get('ratio_list')}: leaves no image; raise it")
    return samples


def shares(dataset: dict[str, Any]) -> list[float]:
    """The fraction of each label file that `ratio_list` asks for."""
    files, ratios = dataset["label_file_list"], dataset.get("ratio_list", 1.0)
    count = 1 if isinstance(files, str) else len(files)
    return [float(ratio) for ratio in ratios] if isinstance(ratios, list) else [float(ratios)] * count


def _locate(dataset: dict[str, Any], mode: str) -> tuple[Path, list[Path]]:
    folder, files = dataset["data_dir"], dataset["label_file_list"]
    files = [files] if isinstance(files, str) else files
    if not Path(folder).is_dir():
        raise DataError(
            f"{mode}.dataset.data_dir: folder {folder} not found: put the images that {files[0]} names "
            f"there, or redirect with {_redirect(mode)}"
        )
    for file in files:
        if not Path(file).exists():
            raise DataError(
                f"{mode}.dataset.label_file_list: file {file} not found: put a label file there (one line an "
                f"image: {_EXPECTED[9:]}, names relative to {folder}), or redirect with {_redirect(mode)}"
            )
    return Path(folder), [Path(file) for file in files]


def _redirect(mode: str) -> str:
    return f"-o {mode}.dataset.data_dir=FOLDER {mode}.dataset.label_file_list=[FILE]"


def _read_lines(file: Path, mode: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the lines that are not blank."""
    empty = True
    try:
        with open_regular(file) as stream:
            number, read = 0, 0
            while data := stream.readline(MAX_LINE + 1):
                number, read = number + 1, read + len(data)
                if len(data) > MAX_LINE or read > MAX_BYTES:
                    most = f"{MAX_LINE >> 20} MiB a line and {MAX_BYTES >> 30} GiB a file"
                    raise DataError(f"{file}, line {number}: too long, expected at most {most}: is it a label file?")
                line = _decoded(file, number, data)
                if line.strip():
                    empty = False
                    yield number, line
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read: {error.strerror}; name a label file, or change the mode of this one"
        ) from None
    if empty:
        raise DataError(f"{file}: empty: write one line an image ({_EXPECTED[9:]}), or redirect with {_redirect(mode)}")


def _decoded(file: Path, number: int, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}, line {number}: byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8 "
            "(iconv -t UTF-8), or check that it is a label file at all"
        ) from None


def _parse_lines(file: Path, source: int, lines: list[tuple[int, str]], folder: Path, delimiter: str) -> list[Sample]:
    samples, faults = [], []
    for number, line in lines:
        try:
            name, label, boxes, care, tiny = _parse_line(line, delimiter)
            place = f"{file}, line {number}"
            samples.append(Sample(name, folder / name, label, boxes, care, tiny, place, source))
        except ValueError as fault:
            faults.append(f"line {number}: {fault}")
    if faults:
        more = f" ({len(faults) - 1} more lines are broken too)" if faults[1:] else ""
        raise DataError(f"{file}, {faults[0]}; correct or remove the line{more}")
    return samples


def _parse_line(line: str, delimiter: str) -> tuple[str, str, int, int, int]:
    """Name of the image, its label as JSON, and the numbers of boxes, of those that count and of tiny ones."""
    name, found, rest = line.partition(delimiter)
    if not found:
        raise ValueError(f"no {'tab' if delimiter == chr(9) else repr(delimiter)} in {shortened(line)}, {_EXPECTED}")
    text = rest.split(delimiter)[0]
    try:
        boxes = parse_json(text)
    except ValueError as error:
        reason = "" if isinstance(error, json.JSONDecodeError) else f" ({shortened(str(error))})"
        raise ValueError(f"not JSON after the name{reason}: {shortened(text)}, {_EXPECTED}") from None
    if not name.strip() or "\0" in name:
        raise ValueError(f"no image name before the label, {_EXPECTED}")
    if not isinstance(boxes, list):
        raise ValueError(f"the label is {shortened(text)}, not a list of boxes, {_EXPECTED}")
    plain, tiny = [], 0
    for position, box in enumerate(boxes, 1):
        transcription, points = _check_box(box, position)
        if transcription not in DONT_CARE and is_tiny(points):
            transcription, tiny = "###", tiny + 1
        plain.append({"transcription": transcription, "points": points})
    care = sum(box["transcription"] not in DONT_CARE for box in plain)
    return name, json.dumps(plain, ensure_ascii=False), len(plain), care, tiny


def _check_box(box: Any, position: int) -> tuple[str, list[list[float]]]:
    for key in ("transcription", "points"):
        if not isinstance(box, dict) or key not in box:
            raise ValueError(f"box {position} has no {key!r}: {shortened(json.dumps(box))}, {_EXPECTED}")
    transcription, points = box["transcription"], box["points"]
    if not isinstance(transcription, (str, int, float)):
        raise ValueError(f"box {position}: transcription {shortened(json.dumps(transcription))} is not text")
    if isinstance(points, list) and len(points) > MAX_POINTS:
        raise ValueError(f"box {position}: {len(points)} points, expected at most {MAX_POINTS}")
    if not isinstance(points, list) or len(points) < 4 or not all(_is_point(point) for point in points):
        raise ValueError(
            f"box {position}: points {shortened(json.dumps(points))}, expected at least 4 points [x, y] "
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
