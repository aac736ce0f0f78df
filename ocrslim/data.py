"""Images ready for the network: the evaluation set, single images for prediction, training batches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.artifacts import hash_bytes
from ocrslim.batches import TrainLoader, train_loader
from ocrslim.config import Config
from ocrslim.errors import ConfigError, DataError
from ocrslim.labelled import LabelledSet, is_intact, read_image, scan
from ocrslim.labels import Sample
from ocrslim.store import GIB, ArrayStore
from ocrslim.transforms import build_operators, run

__all__ = [
    "EvalItem",
    "EvalSet",
    "LabelledSet",
    "Sample",
    "TrainLoader",
    "preprocess",
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
    def pixels(self) -> int:
        """Pixels of all images as the network takes them."""
        for index in range(len(self)):
            if index not in self._sizes:
                self.image(index)
        return sum(self._sizes.values())

    def _load(self, sample: Sample) -> tuple[EvalItem, np.ndarray]:
        # PaddleOCR's encoder drops an image without boxes: a stand-in takes their place and goes afterwards
        label = sample.label if sample.boxes else _NO_TEXT
        content = read_image(sample.path)
        if hash_bytes(content) != sample.digest:
            raise DataError(f"{sample.path}: has changed since this run began: run the command again")
        data = {"img_path": str(sample.path), "label": label, "image": content}
        try:
            data = run(self._operators, data)
        except ValueError as fault:
            raise DataError(f"{sample.path}: {fault}; check the image or Eval.dataset.transforms") from None
        image, shape = _network_input(data)
        polys = [np.asarray(polygon, dtype=np.float32) for polygon in _get(data, "polys")][: sample.boxes]
        ignore = np.asarray(_get(data, "ignore_tags"), dtype=bool)[: sample.boxes]
        return EvalItem(sample.name, sample.path, shape, polys, ignore), image


def scan_evaluation(config: Config) -> LabelledSet:
    """The evaluation images, said in a line.

    Raises:
        DataError: there is nothing to score.
    """
    labelled = scan(config, "Eval")
    logger.info(labelled.summary())
    if not any(sample.care for sample in labelled.samples):
        raise DataError(
            f"Eval.dataset.label_file_list: no text box in {len(labelled.samples)} images that is not "
            '"don\'t care" (###): there is nothing to score; check the labels'
        )
    return labelled


def preprocess(config: Config) -> Callable[[Path | str], tuple[np.ndarray, np.ndarray]]:
    """The `Eval` transforms for an image without a label.

    Returns:
        A function of an image's path giving image, float32 [1, 3, H, W], and shape, float32 [1, 4]; it
        raises `DataError` for a file that is missing or not an image.
    """
    operators = [op for name, op in build_operators(config, "Eval") if not _needs_label(name)]

    def load(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
        path = Path(path)
        content = read_image(path)
        if not is_intact(content):
            raise DataError(f"{path}: not a readable image (damaged or of unknown format): replace or remove it")
        try:
            return _network_input(run(operators, {"img_path": str(path), "image": content}))
        except ValueError as fault:
            raise DataError(f"{path}: {fault}; check the image or Eval.dataset.transforms") from None

    return load


def _needs_label(name: str) -> bool:
    return name.endswith("LabelEncode") or name == "KeepKeys"


def _network_input(data: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    image = np.ascontiguousarray(_get(data, "image"), dtype=np.float32)[None]
    return image, np.asarray(_get(data, "shape"), dtype=np.float32)[None]


def _get(data: dict[str, Any], key: str) -> Any:
    if key not in data:
        raise ConfigError(
            f"Eval.dataset.transforms: give no {key!r}: expected DecodeImage, DetLabelEncode, "
            "DetResizeForTest, NormalizeImage and ToCHWImage"
        )
    return data[key]
