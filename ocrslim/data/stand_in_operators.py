"""Stand-ins for PaddleOCR's operators that read images and change their size, for every task."""

from __future__ import annotations

from typing import Any

import numpy as np

from ocrslim.data.image_files import decode_image
from ocrslim.data.input_memory import require_memory_to_transform
from ocrslim.tasks import DataTask, Operator, Size


def improved(operator: Operator, task: DataTask) -> Operator:
    """Return the stand-in for an operator, where there is one; else itself."""
    from ocrslim.ppocr import imaug

    if isinstance(operator, imaug.DecodeImage):
        return DecodeImage(operator)
    if task.resized(operator, (64, 64)) is not None:
        return Resize(operator, task)
    return task.improved(operator)


class DecodeImage:
    """PaddleOCR's operator of this name with this project's decoder; keeps the pixels as `decoded` as well."""

    def __init__(self, operator: Any):
        """`operator`: PaddleOCR's, with `img_mode` BGR or RGB."""
        self._reversed = operator.img_mode == "RGB"
        self._ignore_orientation = bool(operator.ignore_orientation)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        image = data["image"]  # a file's content, or the pixels of a part that was cut out of one
        pixels = image if isinstance(image, np.ndarray) else decode_image(image, self._ignore_orientation).pixels
        data["decoded"] = pixels
        data["image"] = pixels[:, :, ::-1] if self._reversed else pixels
        return data


class Resize:
    """An operator that changes an image's size, asked first how large the image becomes."""

    def __init__(self, operator: Operator, task: DataTask):
        self._operator, self._task = operator, task

    @property
    def name(self) -> str:
        """The name of the operator, for messages."""
        return type(self._operator).__name__

    def size_of(self, size: Size) -> Size:
        """Return the height and width that an image of `size` becomes."""
        return self._task.resized(self._operator, size) or size

    def __call__(self, data: dict[str, Any]) -> Any:
        size = data["image"].shape[:2]
        require_memory_to_transform(size, self.size_of(size), self._task)
        return self._operator(data)
