"""PaddleOCR's detection label files, and the scan that proves every image before the long work.

A label file holds one image per line: `NAME<TAB>[{"transcription": ..., "points": [[x, y], ...]}, ...]`,
coordinates in pixels of the image, names relative to `data_dir`; `###` and `*` mark text that does not
count ("don't care").
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ocrslim.artifacts import hash_bytes, hash_value
from ocrslim.config import Config
from ocrslim.errors import ConfigError, DataError

MIN_SIDE = 3  # pixels; a thinner box cannot be learned or found, and breaks PaddleOCR's border map
MAX_COORDINATE = 100_000  # pixels; beyond any image, and PaddleOCR's maps would ask for all the memory
MAX_UNREADABLE = 0.01  # the share of images that may be left out without stopping
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


@dataclass(frozen=True)
class LabelledSet:
    """The samples that take part, and what was left out and why.

    left_out: names of unreadable images; textless: names of training images without text to learn;
    tiny: boxes under `MIN_SIDE` pixels, treated as "don't care".
    """

    mode: str
    samples: tuple[Sample, ...]
    transforms: tuple[Any, ...] = ()
    left_out: tuple[str, ...] = ()
    textless: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def tiny(self) -> int:
        return sum(sample.tiny for sample in self.samples)

    def fingerprint(self) -> str:
        """SHA-256 over labels, image files and transforms, wherever the files lie."""
        parts = [f"{s.name}\n{s.label}\n{s.digest}".encode() for s in self.samples]
        return hash_bytes(hash_value(list(self.transforms)).encode(), *parts)

    def summary(self) -> str:
        """One line for the user: what is there, what was left out."""
        care = sum(sample.care for sample in self.samples)
        ignored = sum(sample.boxes for sample in self.samples) - care
        text = f"{self.mode}: {len(self.samples)} images, {care} text boxes and {ignored} don't care"
        if self.tiny:
            text += f" ({self.tiny} of them because a side is under {MIN_SIDE} pixels)"
        if self.left_out:
            text += f"; left out as unreadable: {_names(self.left_out)}"
        if self.textless:
            text += f"; left out for want of text to learn: {_names(self.textless)}"
        return text


def scan(config: Config, mode: str) -> LabelledSet:
    """Read the label files of `mode` ('Train' or 'Eval') and decode every image once.

    Raises:
        ConfigError: the dataset section is incomplete.
        DataError: a folder, file or line is missing or broken, or more than 1 % of the images are.
    """
    dataset = config.section(mode).get("dataset") or {}
    samples = read_labels(dataset, mode, config.seed)
    scanned = list(_in_threads(_scan_image, samples, f"{mode}: checking images"))
    readable = tuple(sample for sample in scanned if sample.digest)
    left_out = tuple(sample.name for sample in scanned if not sample.digest)
    if len(left_out) > MAX_UNREADABLE * len(samples):
        raise DataError(
            f"{mode}.dataset.data_dir {dataset['data_dir']}: {len(left_out)} of {len(samples)} images are missing "
            f"or unreadable, expected at most {MAX_UNREADABLE:.0%}: {_names(left_out)}; "
            "put them there or take their lines out of the label file"
        )
    textless: tuple[str, ...] = ()
    if mode == "Train":
        textless = tuple(sample.name for sample in readable if not sample.care)
        readable = tuple(sample for sample in readable if sample.care)
    if not readable:
        raise DataError(
            f"{mode}.dataset.label_file_list {dataset['label_file_list']}: none of its {len(samples)} images has "
            "text to learn (all boxes are '###' or too small); label the text or name another file"
        )
    transforms = tuple(dataset.get("transforms") or ())
    return LabelledSet(mode, readable, transforms, left_out, textless)


def read_labels(dataset: dict[str, Any], mode: str, seed: int) -> list[Sample]:
    """Parse the label files named in a `dataset` section, thinned by `ratio_list`, images not yet looked at.

    Raises:
        ConfigError, DataError: as `scan`.
    """
    folder, files = _locate(dataset, mode)
    samples = []
    for file, ratio in zip(files, _ratios(dataset, mode, len(files))):
        lines = _read_lines(file, mode)
        if ratio < 1:
            rows = sorted(random.Random(seed).sample(range(len(lines)), round(len(lines) * ratio)))
            lines = [lines[row] for row in rows]
        samples += _parse_lines(file, lines, folder, dataset.get("delimiter") or "\t")
    if not samples:
        raise DataError(f"{mode}.dataset.ratio_list {dataset.get('ratio_list')}: leaves no image; raise it")
    return samples


def is_intact(data: bytes) -> bool:
    """Whether image bytes decode as a whole; OpenCV alone fills the rest of a truncated JPEG with grey."""
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return False
    if data[:4] == b"\x89PNG" and b"IEND" not in data[-64:]:
        return False
    try:
        return bool(data) and cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    except cv2.error:
        return False


def _scan_image(sample: Sample) -> Sample:
    try:
        data = sample.path.read_bytes()
    except OSError:
        return sample
    return replace(sample, digest=hash_bytes(data)) if is_intact(data) else sample


def _in_threads(work: Callable[[Sample], Sample], items: list[Sample], desc: str) -> Iterable[Sample]:
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        try:
            yield from tqdm(
                pool.map(work, items), total=len(items), desc=desc, dynamic_ncols=True, unit="img"
            )
        except BaseException:  # Ctrl-C as well: do not go on decoding what nobody waits for
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _locate(dataset: dict[str, Any], mode: str) -> tuple[Path, list[Path]]:
    folder = dataset.get("data_dir")
    files = dataset.get("label_file_list")
    files = [files] if isinstance(files, str) else files
    if not isinstance(folder, str) or not folder or not isinstance(files, list) or not files:
        raise ConfigError(
            f"{mode}.dataset: data_dir is {folder!r} and label_file_list {files!r}, expected a folder and a list of "
            f"files: set them with {_redirect(mode)}"
        )
    if not Path(folder).is_dir():
        raise DataError(
            f"{mode}.dataset.data_dir: folder {folder} not found: put the images that {files[0]} names there, "
            f"or redirect with {_redirect(mode)}"
        )
    for file in files:
        if not Path(file).is_file():
            raise DataError(
                f"{mode}.dataset.label_file_list: file {file} not found: put a label file there (one line an image: "
                f"{_EXPECTED[9:]}, names relative to {folder}), or redirect with {_redirect(mode)}"
            )
    return Path(folder), [Path(file) for file in files]


def _redirect(mode: str) -> str:
    return f"-o {mode}.dataset.data_dir=FOLDER {mode}.dataset.label_file_list=[FILE]"


def _ratios(dataset: dict[str, Any], mode: str, count: int) -> list[float]:
    value = dataset.get("ratio_list", 1.0)
    ratios = value if isinstance(value, list) else [value] * count
    fits = all(isinstance(r, (int, float)) and not isinstance(r, bool) and 0 <= r <= 1 for r in ratios)
    if len(ratios) != count or not fits:
        raise ConfigError(
            f"{mode}.dataset.ratio_list: {value!r}, expected {count} numbers from 0 to 1, one for each file of "
            "label_file_list"
        )
    return [float(ratio) for ratio in ratios]


def _read_lines(file: Path, mode: str) -> list[tuple[int, str]]:
    """Return (line number, text) of the lines that are not blank."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read: {error.strerror}; change its mode or name another"
        ) from None
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
        raise DataError(
            f"{file}: empty: write one line an image ({_EXPECTED[9:]}), or redirect with {_redirect(mode)}"
        )
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
        raise ValueError(
            f"no {'tab' if delimiter == chr(9) else repr(delimiter)} in {_short(line)}, {_EXPECTED}"
        )
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
        if transcription not in DONT_CARE and _is_tiny(points):
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


def _is_tiny(points: list[list[float]]) -> bool:
    corners = np.asarray(points, dtype=np.float32)
    side = min(*cv2.minAreaRect(corners)[1], *np.ptp(corners, axis=0))
    return bool(side < MIN_SIDE - 1e-3)


def _names(names: tuple[str, ...], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})"


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "..."
