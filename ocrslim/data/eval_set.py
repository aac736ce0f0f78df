"""Images ready for the network: the evaluation set, single images for prediction, training batches."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data.batching import TrainLoader, train_loader
from ocrslim.data.dataset import LabelledSet, scan
from ocrslim.data.image_files import ImageError
from ocrslim.data.input_memory import Size
from ocrslim.data.preprocess import Preprocessor, incomplete, network_input, refusal, size_for_network
from ocrslim.data.samples import Content, SampleImages, ignores_orientation
from ocrslim.data.transforms import TransformError, build_operators, run
from ocrslim.errors import DataError
from ocrslim.tasks import Sample
from ocrslim.utils import GIB, ArrayStore, hash_bytes

__all__ = [
    "EvalItem",
    "EvalSet",
    "LabelledSet",
    "Preprocessor",
    "Sample",
    "TrainLoader",
    "scan",
    "scan_evaluation",
    "train_loader",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalItem:
    """One image's label, and what its predictions need to be compared with it.

    Attributes:
        shape: what the transforms did to the image, as the post-processing takes it; for detection float32 [1, 4]:
            source height, source width, scale y, scale x.
        target: what predictions are compared with, as the task has it.
    """

    name: str
    path: Path
    shape: np.ndarray
    target: Any


class EvalSet:
    """The evaluation images in the order of their label file, decoded and preprocessed once, by any thread.

    Images stay in memory up to an allowance; those beyond go to a file, or are decoded again at each pass.
    """

    def __init__(self, labelled: LabelledSet, config: Config, memory: int = 2 * GIB, folder: Path | None = None):
        """Build the transforms of `Eval.dataset`.

        Args:
            memory: bytes to keep in memory.
            folder: gets a file for images beyond that; None for no file.

        Raises:
            ConfigError: PaddleOCR does not know or refuses a transform.
        """
        self._samples, self._task = labelled.samples, labelled.task
        self._operators = self._task.evaluation_operators(build_operators(config, "Eval"))
        transforms = config.get("Eval.dataset.transforms")
        self._read = SampleImages(self._samples, ignores_orientation(transforms))
        self._together: dict[Path, list[int]] = {}
        for number, sample in enumerate(self._samples):
            if sample.outline:
                self._together.setdefault(sample.path, []).append(number)
        self._items: dict[int, EvalItem] = {}
        self._sizes: dict[int, int] = {}
        self._lock = threading.RLock()
        self.store = ArrayStore(memory, folder)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[EvalItem]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> EvalItem:
        """The label at `index`; raises `DataError` when its file has changed or a transform fails."""
        if index not in self._items:
            self.image(index)
        return self._items[index]

    def image(self, index: int) -> np.ndarray:
        """Return the image at `index` as the network takes it, float32 [1, 3, H, W]; raises as `[index]` does."""
        with self._lock:  # decoded once, even where two threads want it
            kept = self.store.get(index)
            if kept is not None:
                return kept[0]
            return self._load_all(index)

    @property
    def largest(self) -> tuple[str, Size, Size]:
        """Name, size and size for the network of the image that becomes largest; nothing is decoded for it."""
        sizes = ((s.name, s.size, size_for_network(self._operators, s.size)) for s in self._samples)
        return max(sizes, key=lambda entry: math.prod(entry[2]))

    @property
    def pixels(self) -> int:
        """Pixels of all images as the network takes them."""
        for index in range(len(self)):
            if index not in self._sizes:
                self.image(index)
        return sum(self._sizes.values())

    def _load_all(self, index: int) -> np.ndarray:
        """Load an image, at its first time together with the others that are cut out of the same file."""
        numbers = [index]
        if self._samples[index].outline and index not in self._items:
            numbers = self._together[self._samples[index].path]
        wanted = None
        for number in numbers:
            self._items[number], image = self._load(self._samples[number])
            self._sizes[number] = image.shape[2] * image.shape[3]
            self.store.put(number, [image])
            wanted = image if number == index else wanted
        assert wanted is not None
        return wanted

    def _load(self, sample: Sample) -> tuple[EvalItem, np.ndarray]:
        content = self._content(sample)
        data = {"img_path": str(sample.path), "label": self._task.encoded(sample), "image": content}
        try:
            data = run(self._operators, data)
        except TransformError as fault:
            raise refusal(sample.path, fault) from None
        image, shape = network_input(data, self._task)
        try:
            target = self._task.target(data, sample)
        except KeyError as missing:
            raise incomplete(missing.args[0]) from None
        return EvalItem(sample.name, sample.path, shape, target), image

    def _content(self, sample: Sample) -> Content:
        try:
            content = self._read(sample)
        except ImageError as error:
            raise DataError(f"{sample.path}: {error}; put the image there, and run the command again") from None
        if isinstance(content, bytes) and hash_bytes(content) != sample.digest:
            raise DataError(f"{sample.path}: has changed since this run began: run the command again")
        return content


def scan_evaluation(config: Config) -> LabelledSet:
    """Scan the evaluation images, and log a summary.

    Raises:
        DataError: there is nothing to score.
    """
    labelled = scan(config, "Eval").announce()
    if not any(sample.care for sample in labelled.samples):
        missing = labelled.task.unlabelled.format(images=len(labelled.samples))
        raise DataError(f"Eval.dataset.label_file_list: {missing}: there is nothing to score; check the labels")
    return labelled


def scan_both(config: Config) -> tuple[LabelledSet, LabelledSet]:
    """Scan the images to train on and those to score on, and log a summary of each."""
    return scan(config, "Train").announce(), scan_evaluation(config)
