"""Stand-ins for operators of PaddleOCR that go wrong on everyday images, and one operator beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ocrslim.data.image_files import decode_image
from ocrslim.data.input_memory import Size, input_size, require_memory_to_transform

Operator = Callable[[dict[str, Any]], Any]


def improved(operator: Operator) -> Operator:
    """The stand-in for an operator of PaddleOCR, where there is one; else itself."""
    from ocrslim.ppocr import imaug

    stand_ins: dict[type, Callable[[Any], Operator]] = {
        imaug.DecodeImage: DecodeImage,
        imaug.DetResizeForTest: DetResizeForTest,
        imaug.CopyPaste: CopyPaste,
    }
    stand_in = stand_ins.get(type(operator))
    return operator if stand_in is None else stand_in(operator)


class DecodeImage:
    """PaddleOCR's operator of this name with this project's decoder; keeps the pixels as `decoded` as well."""

    def __init__(self, operator: Any):
        """`operator`: PaddleOCR's, with `img_mode` BGR or RGB."""
        self._reversed = operator.img_mode == "RGB"
        self._ignore_orientation = bool(operator.ignore_orientation)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        pixels = decode_image(data["image"], self._ignore_orientation).pixels
        data["decoded"] = pixels
        data["image"] = pixels[:, :, ::-1] if self._reversed else pixels
        return data


class DetResizeForTest:
    """PaddleOCR's operator of this name, asked first how large the image becomes."""

    def __init__(self, operator: Any):
        self._operator = operator

    def size_of(self, size: Size) -> Size:
        """Height and width that an image of `size` becomes."""
        return input_size(self._operator, size)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        size = data["image"].shape[:2]
        require_memory_to_transform(size, self.size_of(size))
        return self._operator(data)


class CopyPaste:
    """PaddleOCR's operator of this name, given only what it can paste: boxes with four corners."""

    def __init__(self, operator: Any):
        self._operator = operator
        self.ext_data_num = operator.ext_data_num

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        other = data["ext_data"][0]
        outlines = np.asarray(other["polys"])
        # DetLabelEncode repeats the last corner until all boxes of an image have as many
        four = (outlines[:, 4:] == outlines[:, 3:4]).all(axis=(1, 2))
        wide = np.array([min(cv2.minAreaRect(box.astype(np.float32))[1]) >= 1 for box in outlines[:, :4]], dtype=bool)
        chosen = np.flatnonzero(four & wide)
        if not len(chosen):
            return data
        other = {
            **other,
            "polys": outlines[chosen, :4],
            "texts": [other["texts"][index] for index in chosen],
            "ignore_tags": np.asarray(other["ignore_tags"])[chosen],
        }
        return self._operator({**data, "ext_data": [other]})


class IgnoreCollapsed:
    """Marks boxes that a crop has shrunk to a line or a point as "don't care".

    PaddleOCR's `MakeBorderMap` fails on them, and `MakeShrinkMap` ignores them a moment later anyway.
    """

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        tags = np.array(data["ignore_tags"], dtype=bool)
        for position, polygon in enumerate(data["polys"]):
            pixels = np.trunc(np.asarray(polygon)).astype(np.float32)
            tags[position] |= min(cv2.minAreaRect(pixels)[1]) < 1
        data["ignore_tags"] = tags
        return data
