"""The samples that take part in training or evaluation, every image proved before the long work."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data.image_files import ImageError, decode_image, read_image
from ocrslim.data.label_files import read_labels, shares
from ocrslim.data.samples import ignores_orientation, part_size
from ocrslim.data.unlabelled import MODES, names_labels, unlabelled_samples
from ocrslim.errors import DataError
from ocrslim.tasks import DataTask, Sample, Task
from ocrslim.utils import hash_bytes, hash_value, listed, progress_bar, shortened

logger = logging.getLogger(__name__)

MAX_PIXELS_OF_PART = 16_000_000  # where the image is not larger itself: corners may lie anywhere
MAX_UNREADABLE = 0.01  # the share of images that may be left out without stopping: more would change the score


@dataclass(frozen=True)
class LabelledSet:
    """The samples that take part, and what was left out and why.

    Attributes:
        mode: "Train" or "Eval".
        left_out: names of unreadable images, each with the reason.
        empty: names of training images without anything to learn.
        tiny: items too small to count, those of empty images among them.
        labelled: whether the samples have labels; without, they are for learning from another network, and for refits.
        shares: of each label file, the fraction that an epoch of training reads.
        remarks: probable faults in the labels, a line each.
    """

    mode: str
    task: Task
    samples: tuple[Sample, ...]
    transforms: tuple[Any, ...] = ()
    left_out: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    tiny: int = 0
    labelled: bool = True
    shares: tuple[float, ...] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def of_epoch(self, seed: int, epoch: int) -> list[int]:
        """Return indices of the samples that an epoch of training reads: by `ratio_list`, drawn anew for each epoch."""
        chosen: list[int] = []
        for source in range(1 + max((sample.source for sample in self.samples), default=-1)):
            indices = [index for index, sample in enumerate(self.samples) if sample.source == source]
            share = self.shares[source] if self.shares else 1.0
            if share < 1:
                drawn = np.random.default_rng([seed, epoch, source]).permutation(len(indices))
                indices = [indices[place] for place in sorted(drawn[: round(len(indices) * share)])]
            chosen += indices
        return chosen

    def fingerprint(self) -> str:
        """Return the SHA-256 over labels, image files and transforms, wherever the files lie."""
        parts = [_identity(sample).encode() for sample in self.samples]
        thinned = [hash_value(list(self.shares)).encode()] if any(share < 1 for share in self.shares) else []
        return hash_bytes(hash_value(list(self.transforms)).encode(), *thinned, *parts)

    def summary(self) -> str:
        """Return one line for the user: what is there, what was left out."""
        labels = f", {self.task.describe(self.samples)}" if self.labelled else " without labels"
        text = f"{self.mode}: {_number_of_images(self.samples)}{labels}"
        if any(share < 1 for share in self.shares):
            text += f"; each epoch draws {len(self.of_epoch(0, 0))} of the images anew (ratio_list)"
        if self.tiny:
            text += f"; {self.task.describe_tiny(self.tiny)}"
        if self.left_out:
            text += f"; left out as unreadable: {_counted(self.left_out)}"
        if self.empty:
            text += f"; left out, as they have nothing to learn: {_counted(self.empty)}"
        return text

    def announce(self) -> LabelledSet:
        """Log the summary, and a warning for each remark; returns the set itself."""
        logger.info(self.summary())
        for remark in self.remarks:
            logger.warning(remark)
        return self


def scan(config: Config, mode: str) -> LabelledSet:
    """Read the label files of `mode` ('Train' or 'Eval') and decode every image once.

    Of a training that names no labels, these are the images in its folder (`unlabelled_images`).

    Raises:
        ConfigError: the section `<mode>.dataset` is missing.
        DataError: a folder, file or line is missing or broken, more than 1 % of the images are, or most of the boxes
            cannot be right.
    """
    config.require(f"{mode}.dataset")
    if mode == "Train" and not names_labels(config, mode):
        return _scan_unlabelled(config, mode)
    config.require(f"{mode}.dataset.label_file_list")
    dataset = config.section(f"{mode}.dataset")
    task = config.task
    samples = read_labels(dataset, mode, config.seed, task)
    ignore_orientation = ignores_orientation(dataset["transforms"])
    scanned, checks = [], []
    for found in _in_threads(lambda group: _scan_image(group, ignore_orientation, task), _by_image(samples), mode):
        for sample, check in found:
            scanned.append(sample)
            checks += [] if check is None else [check]
    readable = tuple(sample for sample in scanned if sample.digest)
    left_out = tuple(f"{shortened(sample.name, 100)}: {sample.fault}" for sample in scanned if not sample.digest)
    _require_most(mode, dataset, len(samples), left_out)
    remarks = task.remarks(mode, samples, readable, checks)
    tiny = sum(sample.tiny for sample in readable)
    empty: tuple[str, ...] = ()
    if mode == "Train" or not task.scores_empty:
        wanted = task.learnable if mode == "Train" else _counts
        empty = tuple(sample.name for sample in readable if not wanted(sample))
        readable = tuple(sample for sample in readable if wanted(sample))
    if not readable:
        raise DataError(
            f"{mode}.dataset.label_file_list {dataset['label_file_list']}: none of its {len(samples)} images "
            f"has {task.nothing_to_learn}"
        )
    portions = tuple(shares(dataset)) if mode == "Train" else ()
    transforms = tuple(dataset["transforms"])
    labelled = LabelledSet(
        *(mode, task, readable, transforms, left_out, empty, tiny), shares=portions, remarks=tuple(remarks)
    )
    if not labelled.of_epoch(config.seed, 0):
        raise DataError(f"{mode}.dataset.ratio_list {dataset['ratio_list']}: leaves no image; raise it")
    return labelled


def _scan_unlabelled(config: Config, mode: str) -> LabelledSet:
    """Decode every image of a data set without labels; those that cannot be read are left out, however many."""
    ignore_orientation = ignores_orientation(config.get("Eval.dataset.transforms") or [])
    samples = [[sample] for sample in unlabelled_samples(config, mode)]
    scanned = [
        sample
        for found in _in_threads(lambda group: _scan_image(group, ignore_orientation), samples, mode)
        for sample, _ in found
    ]
    readable = tuple(sample for sample in scanned if sample.digest)
    left_out = tuple(f"{shortened(sample.name, 100)}: {sample.fault}" for sample in scanned if not sample.digest)
    if not readable:
        raise DataError(
            f"{mode}.dataset.data_dir {config.get(f'{mode}.dataset.data_dir')}: none of its images can be read: "
            f"{_counted(left_out)}; put others there"
        )
    transforms = tuple(one for each in MODES for one in config.get(f"{each}.dataset.transforms") or ())
    return LabelledSet(mode, config.task, readable, transforms, left_out, labelled=False)


def _require_most(mode: str, dataset: Mapping[str, Any], count: int, left_out: Sequence[str]) -> None:
    if len(left_out) > MAX_UNREADABLE * count:
        raise DataError(
            f"{mode}.dataset.data_dir {dataset['data_dir']}: {len(left_out)} of {count} images "
            f"are missing or unreadable, expected at most {MAX_UNREADABLE:.0%}: {_counted(left_out)}; "
            "put them there or take their lines out of the label file"
        )


def _number_of_images(samples: Sequence[Sample]) -> str:
    parts = [sample.path for sample in samples if sample.outline]
    whole = len(samples) - len(parts)
    counted = [f"{len(parts)} parts of {len(set(parts))} images"] if parts else []
    return " and ".join([*counted, *([f"{whole} images"] if whole or not parts else [])])


def _counts(sample: Sample) -> bool:
    return sample.care > 0


def _identity(sample: Sample) -> str:
    """Return what a sample is, wherever its file lies."""
    outline = [f"{x:g} {y:g}" for x, y in sample.outline]
    return "\n".join([sample.name, sample.label, *outline, sample.digest])


def _by_image(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Return the samples in groups: those that follow each other and are cut out of one image are together."""
    groups = itertools.groupby(enumerate(samples), lambda item: item[1].path if item[1].outline else item[0])
    return [[sample for _, sample in group] for _, group in groups]


def _scan_image(
    group: Sequence[Sample], ignore_orientation: bool, task: DataTask | None = None
) -> list[tuple[Sample, Any]]:
    """Return the samples of an image with size and digest, or why they have none; and the check of each label.

    Args:
        task: checks labels; None where there are none.
    """
    try:
        contents = [read_image(path) for path in (group[0].path, *group[0].others)]
        decoded, *_ = [decode_image(content, ignore_orientation) for content in contents]
    except ImageError as error:
        return [(replace(sample, fault=str(error)), None) for sample in group]
    digest = hash_bytes(*contents)
    found = []
    for sample in group:
        whole = (decoded.pixels.shape[0], decoded.pixels.shape[1])
        check = None if task is None else task.check_label(sample, whole, decoded.turned)
        size = part_size(sample.outline) if sample.outline else whole
        if math.prod(size) > max(MAX_PIXELS_OF_PART, math.prod(whole)):
            fault = f"a part of {size[1]}x{size[0]} pixels of an image of {whole[1]}x{whole[0]}"
            found.append((replace(sample, fault=fault), None))
        else:
            found.append((replace(sample, size=size, digest=digest), check))
    return found


def _in_threads(
    work: Callable[[list[Sample]], list[tuple[Sample, Any]]], items: list[list[Sample]], mode: str
) -> Iterable[list[tuple[Sample, Any]]]:
    found = _threads().map(work, items)  # what is left is cancelled when this generator is closed, by Ctrl-C as well
    yield from progress_bar(found, total=len(items), desc=f"{mode}: checking images", unit="img")


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Make the threads that decode; they stay for the next scan.

    A thread that ends holds a lock of OpenCV for a moment, even after it was joined. A process forked in that moment,
    as the training's data workers are, would wait for that lock for ever.
    """
    return ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1)))


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} ({listed(shortened(name, 200) for name in names)})"
