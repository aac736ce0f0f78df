"""Images ready for the network: the evaluation set, single images for prediction, training batches."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocrslim.config import Config
from ocrslim.data.dataset import LabelledSet, scan
from ocrslim.data.input_memory import Size
from ocrslim.data.preprocess import Preprocessor, network_input, read_content, refusal, result_of, size_for_network
from ocrslim.data.train_loader import TrainLoader, train_loader
from ocrslim.data.transforms import TransformError, build_operators, run
from ocrslim.errors import DataError
from ocrslim.tasks.detection.labels import Sample
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

_NO_TEXT = '[{"transcription": "###", "points": [[0, 0], [8, 0], [8, 8], [0, 8]]}]'


@dataclass(frozen=True)
class EvalItem:
    """One image's label, and what its detections need to be compared with it.

    shape: float32 [1, 4] (source height, source width, scale y, scale x); polys: polygons [k, 2] in source
    pixels; ignore: bool [len(polys)], true for "don't care".
    """

    name: str
    path: Path
    shape: np.ndarray
    polys: list[np.ndarray]
    ignore: np.ndarray


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
        self._samples = labelled.samples
        self._operators = [operator for name, operator in build_operators(config, "Eval") if name != "KeepKeys"]
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
        """The image at `index` as the network takes it, float32 [1, 3, H, W]; raises as `[index]` does."""
        with self._lock:  # decoded once, even where two threads want it
            kept = self.store.get(index)
            if kept is not None:
                return kept[0]
            self._items[index], image = self._load(self._samples[index])
            self._sizes[index] = image.shape[2] * image.shape[3]
            self.store.put(index, [image])
            return image

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

    def _load(self, sample: Sample) -> tuple[EvalItem, np.ndarray]:
        # PaddleOCR's encoder drops an image without boxes: a stand-in takes their place and goes afterwards
        label = sample.label if sample.boxes else _NO_TEXT
        content = read_content(sample.path)
        if hash_bytes(content) != sample.digest:
            raise DataError(f"{sample.path}: has changed since this run began: run the command again")
        data = {"img_path": str(sample.path), "label": label, "image": content}
        try:
            data = run(self._operators, data)
        except TransformError as fault:
            raise refusal(sample.path, fault) from None
        image, shape = network_input(data)
        polys = [np.asarray(polygon, dtype=np.float32) for polygon in result_of(data, "polys")][: sample.boxes]
        ignore = np.asarray(result_of(data, "ignore_tags"), dtype=bool)[: sample.boxes]
        return EvalItem(sample.name, sample.path, shape, polys, ignore), image


def scan_evaluation(config: Config) -> LabelledSet:
    """The evaluation images, said in a line.

    Raises:
        DataError: there is nothing to score.
    """
    labelled = scan(config, "Eval").announce()
    if not any(sample.care for sample in labelled.samples):
        raise DataError(
            f"Eval.dataset.label_file_list: no text box in {len(labelled.samples)} images that is not "
            '"don\'t care" (###): there is nothing to score; check the labels'
        )
    return labelled


def scan_both(config: Config) -> tuple[LabelledSet, LabelledSet]:
    """The images to train on and those to score on, said in a line each."""
    return scan(config, "Train").announce(), scan_evaluation(config)
