"""The samples that take part in training or evaluation, every image proved before the long work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocrslim.artifacts import hash_bytes, hash_value
from ocrslim.config import Config
from ocrslim.errors import DataError
from ocrslim.labels import MIN_SIDE, Sample, read_labels
from ocrslim.progress import progress_bar

MAX_UNREADABLE = 0.01  # the share of images that may be left out without stopping


@dataclass(frozen=True)
class LabelledSet:
    """The samples that take part, and what was left out and why.

    left_out: names of unreadable images; textless: names of training images without text to learn;
    tiny: boxes under `MIN_SIDE` pixels, treated as "don't care", those of textless images among them.
    """

    mode: str
    samples: tuple[Sample, ...]
    transforms: tuple[Any, ...] = ()
    left_out: tuple[str, ...] = ()
    textless: tuple[str, ...] = ()
    tiny: int = 0

    def __len__(self) -> int:
        return len(self.samples)

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
            boxes, count = ("box", "counts") if self.tiny == 1 else ("boxes", "count")
            text += f"; {self.tiny} {boxes} with a side under {MIN_SIDE} pixels {count} as don't care"
        if self.left_out:
            text += f"; left out as unreadable: {_names(self.left_out)}"
        if self.textless:
            text += f"; left out for want of text to learn: {_names(self.textless)}"
        return text


def scan(config: Config, mode: str) -> LabelledSet:
    """Read the label files of `mode` ('Train' or 'Eval') and decode every image once.

    Raises:
        ConfigError: the section `<mode>.dataset` is missing.
        DataError: a folder, file or line is missing or broken, or more than 1 % of the images are.
    """
    config.require(f"{mode}.dataset")
    dataset = config.section(f"{mode}.dataset")
    samples = read_labels(dataset, mode, config.seed)
    scanned = list(_in_threads(_scan_image, samples, f"{mode}: checking images"))
    readable = tuple(sample for sample in scanned if sample.digest)
    left_out = tuple(sample.name for sample in scanned if not sample.digest)
    if len(left_out) > MAX_UNREADABLE * len(samples):
        raise DataError(
            f"{mode}.dataset.data_dir {dataset['data_dir']}: {len(left_out)} of {len(samples)} images "
            f"are missing or unreadable, expected at most {MAX_UNREADABLE:.0%}: {_names(left_out)}; "
            "put them there or take their lines out of the label file"
        )
    tiny = sum(sample.tiny for sample in readable)
    textless: tuple[str, ...] = ()
    if mode == "Train":
        textless = tuple(sample.name for sample in readable if not sample.care)
        readable = tuple(sample for sample in readable if sample.care)
    if not readable:
        raise DataError(
            f"{mode}.dataset.label_file_list {dataset['label_file_list']}: none of its {len(samples)} images "
            "has text to learn (all boxes are '###' or too small); label the text or name another file"
        )
    transforms = tuple(dataset["transforms"])
    return LabelledSet(mode, readable, transforms, left_out, textless, tiny)


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


def read_image(path: Path) -> bytes:
    """The bytes of an image file; raises `DataError` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; put the image there") from None


def _scan_image(sample: Sample) -> Sample:
    try:
        data = sample.path.read_bytes()
    except OSError:
        return sample
    return replace(sample, digest=hash_bytes(data)) if is_intact(data) else sample


def _in_threads(work: Callable[[Sample], Sample], items: list[Sample], desc: str) -> Iterable[Sample]:
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        try:
            yield from progress_bar(pool.map(work, items), total=len(items), desc=desc, unit="img")
        except BaseException:  # Ctrl-C as well: do not go on decoding what nobody waits for
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _names(names: tuple[str, ...], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})"
