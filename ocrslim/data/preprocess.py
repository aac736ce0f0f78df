"""Single images ready for the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data.image_files import ImageError, decode_image, read_image
from ocrslim.data.input_memory import NetworkMemory
from ocrslim.data.samples import Content, SampleImages, ignores_orientation
from ocrslim.data.stand_in_operators import DecodeImage, Resize
from ocrslim.data.transforms import TransformError, build_operators, run
from ocrslim.errors import ConfigError, DataError
from ocrslim.tasks import DataTask, Operator, Sample, Size


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

    def __init__(self, config: Config, memory: NetworkMemory | None = None, samples: Sequence[Sample] = ()):
        """
        Args:
            memory: of the engine that the images are for; None where they are for none, or cut to pieces.
            samples: all that `of_sample` will be asked for.

        Raises:
            ConfigError: PaddleOCR does not know or refuses a transform.
        """
        self._memory, self._task = memory, config.task
        self._ignore_orientation = ignores_orientation(config.get("Eval.dataset.transforms"))
        self._read = SampleImages(samples, self._ignore_orientation)
        operators = [op for name, op in build_operators(config, "Eval") if not needs_label(name)]
        self._decode = [op for op in operators if isinstance(op, DecodeImage)][:1]
        self._others = [op for op in operators if op not in self._decode]

    def __call__(self, path: Path | str) -> Prepared:
        """Read the image at `path`.

        Raises:
            DataError: missing, not an image, damaged, or too large for the memory there is.
        """
        return self._prepared(path, read_content(path))

    def of_sample(self, sample: Sample) -> Prepared:
        """Read the image of a sample, which may be a part of one; raises as for a path."""
        try:
            return self._prepared(sample.path, self._read(sample))
        except ImageError as error:
            raise DataError(f"{sample.path}: {error}; put the image there") from None

    def pixels(self, path: Path | str) -> np.ndarray:
        """Decode the image at `path`, uint8 [H, W, 3], blue green red; raises as for a path."""
        try:
            return decode_image(read_content(path), self._ignore_orientation).pixels
        except ImageError as error:
            raise DataError(f"{path}: {error}; replace or remove the image") from None

    def of_pixels(self, name: Path | str, pixels: np.ndarray) -> Prepared:
        """Prepare an image that is decoded already.

        Args:
            name: what messages call it.
            pixels: uint8 [H, W, 3], blue green red.

        Raises:
            DataError: too large for the memory there is, or a transform fails.
        """
        return self._prepared(name, pixels)

    def _prepared(self, path: Path | str, content: Content) -> Prepared:
        try:
            data = run(self._decode, {"img_path": str(path), "image": content})
            if self._memory is not None:
                size = result_of(data, "image").shape[:2]
                self._memory.require(str(path), size, size_for_network(self._others, size))
            data = run(self._others, data)
        except TransformError as fault:
            raise refusal(path, fault) from None
        image, shape = network_input(data, self._task)
        return Prepared(result_of(data, "decoded"), image, shape)


def refusal(path: Path | str, fault: TransformError) -> DataError:
    if fault.operator == DecodeImage.__name__:
        return DataError(f"{path}: {fault.reason}; replace or remove the image")
    return DataError(f"{path}: {fault}; check the image or Eval.dataset.transforms")


def read_content(path: Path | str) -> bytes:
    try:
        return read_image(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}; put the image there") from None


def size_for_network(operators: Sequence[Operator], size: Size) -> Size:
    """Return the height and width that an image of `size` becomes for the network."""
    resizes = (operator for operator in operators if isinstance(operator, Resize))
    return next((resize.size_of(size) for resize in resizes), size)


def network_sizes(config: Config, sizes: Sequence[Size]) -> list[Size]:
    """Return the height and width that images of `sizes` become by the `Eval` transforms.

    Raises:
        ConfigError: PaddleOCR does not know or refuses a transform.
    """
    operators = [operator for name, operator in build_operators(config, "Eval") if not needs_label(name)]
    return [size_for_network(operators, size) for size in sizes]


def needs_label(name: str) -> bool:
    """Tell transforms that images without a label go without."""
    return name.endswith("LabelEncode") or name == "KeepKeys"


def network_input(data: dict[str, Any], task: DataTask) -> tuple[np.ndarray, np.ndarray]:
    """Return the image with a batch axis, float32 [1, C, H, W], and what the transforms did to it."""
    image = np.ascontiguousarray(result_of(data, "image"), dtype=np.float32)[None]
    try:
        return image, np.asarray(task.shape_of(data), dtype=np.float32)[None]
    except KeyError as missing:
        raise incomplete(missing.args[0]) from None


def result_of(data: dict[str, Any], key: str) -> Any:
    """Return a result of the transforms.

    Raises:
        ConfigError: they give none of that name.
    """
    if key not in data:
        raise incomplete(key)
    return data[key]


def incomplete(key: str) -> ConfigError:
    """Return the error of transforms that do not give the result `key`."""
    return ConfigError(f"Eval.dataset.transforms: give no {key!r}: compare with a file in configs")
