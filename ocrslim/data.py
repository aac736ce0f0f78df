"""Images ready for the network: the evaluation set, single images for prediction, training batches."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.artifacts import hash_bytes
from ocrslim.batches import TrainLoader, train_loader
from ocrslim.config import Config
from ocrslim.errors import ConfigError, DataError
from ocrslim.image_files import ImageError, read_image
from ocrslim.labelled import LabelledSet, scan
from ocrslim.labels import Sample
from ocrslim.network_input import NetworkMemory, Size
from ocrslim.stand_in_operators import DecodeImage, DetResizeForTest, Operator
from ocrslim.store import ArrayStore
from ocrslim.transforms import TransformError, build_operators, run
from ocrslim.utils.input_files import GIB

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
        sizes = ((s.name, s.size, _size_for_network(self._operators, s.size)) for s in self._samples)
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
        content = _content(sample.path)
        if hash_bytes(content) != sample.digest:
            raise DataError(f"{sample.path}: has changed since this run began: run the command again")
        data = {"img_path": str(sample.path), "label": label, "image": content}
        try:
            data = run(self._operators, data)
        except TransformError as fault:
            raise _refusal(sample.path, fault) from None
        image, shape = _network_input(data)
        polys = [np.asarray(polygon, dtype=np.float32) for polygon in _get(data, "polys")][: sample.boxes]
        ignore = np.asarray(_get(data, "ignore_tags"), dtype=bool)[: sample.boxes]
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


@dataclass(frozen=True)
class Prepared:
    """An image without a label, ready for the network.

    Attributes:
        pixels: uint8 [H, W, 3], blue green red: what was decoded, and what boxes belong to.
        image: float32 [1, 3, H, W].
        shape: float32 [1, 4]: height and width of `pixels`, scale y and x from there to `image`.
    """

    pixels: np.ndarray
    image: np.ndarray
    shape: np.ndarray


class Preprocessor:
    """The `Eval` transforms, for images without a label."""

    def __init__(self, config: Config, memory: NetworkMemory | None = None):
        """
        Args:
            memory: of the engine that the images are for; None where they are for none, or cut to pieces.

        Raises:
            ConfigError: PaddleOCR does not know or refuses a transform.
        """
        self._memory = memory
        operators = [op for name, op in build_operators(config, "Eval") if not _needs_label(name)]
        self._decode = [op for op in operators if isinstance(op, DecodeImage)][:1]
        self._others = [op for op in operators if op not in self._decode]

    def __call__(self, path: Path | str) -> Prepared:
        """Read the image at `path`.

        Raises:
            DataError: missing, not an image, damaged, or too large for the memory there is.
        """
        content = _content(path)
        try:
            data = run(self._decode, {"img_path": str(path), "image": content})
            if self._memory is not None:
                size = _get(data, "image").shape[:2]
                self._memory.require(str(path), size, _size_for_network(self._others, size))
            data = run(self._others, data)
        except TransformError as fault:
            raise _refusal(path, fault) from None
        image, shape = _network_input(data)
        return Prepared(_get(data, "decoded"), image, shape)


def _refusal(path: Path | str, fault: TransformError) -> DataError:
    if fault.operator == DecodeImage.__name__:
        return DataError(f"{path}: {fault.reason}; replace or remove the image")
    return DataError(f"{path}: {fault}; check the image or Eval.dataset.transforms")


def _content(path: Path | str) -> bytes:
    try:
        return read_image(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}; put the image there") from None


def _size_for_network(operators: Sequence[Operator], size: Size) -> Size:
    resizes = (operator for operator in operators if isinstance(operator, DetResizeForTest))
    return next((resize.size_of(size) for resize in resizes), size)


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
