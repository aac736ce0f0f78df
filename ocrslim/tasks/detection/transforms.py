"""PaddleOCR's operators for detection: stand-ins for those that go wrong on everyday images, and what they do."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ocrslim.tasks.detection.geometry import shorter_side
from ocrslim.tasks.values import Operator, RefusedArguments, Size


def improved(operator: Operator) -> Operator:
    """Return the stand-in for an operator of PaddleOCR, where there is one; else itself."""
    from ocrslim.ppocr import imaug

    return CopyPaste(operator) if isinstance(operator, imaug.CopyPaste) else operator


def resized(operator: Operator, size: Size) -> Size | None:
    """Return the height and width that `DetResizeForTest` makes of an image; None for other operators."""
    from ocrslim.ppocr import imaug

    return input_size(operator, size) if isinstance(operator, imaug.DetResizeForTest) else None


def input_size(resize: Any, size: Size) -> Size:
    """Compute the size that PaddleOCR's operator `DetResizeForTest` gives an image.

    Args:
        resize: the operator, as built.
        size: of the image.
    """
    height, width = size
    if height + width < 64:
        height, width = max(32, height), max(32, width)
    if resize.resize_type == 1:
        fixed_height, fixed_width = resize.image_shape
        if resize.keep_ratio is True:
            fixed_width = math.ceil(width * fixed_height / height / 32) * 32
        return int(fixed_height), int(fixed_width)
    if resize.resize_type == 2:
        ratio = resize.resize_long / max(height, width)
        return _padded(height * ratio), _padded(width * ratio)
    ratio = _ratio(resize.limit_type, resize.limit_side_len, (height, width))
    return _rounded(height * ratio), _rounded(width * ratio)


def _ratio(limit_type: str, limit: float, size: Size) -> float:
    side = min(size) if limit_type == "min" else max(size)
    fits = {"max": side <= limit, "min": side >= limit}.get(limit_type, False)
    return 1.0 if fits else limit / side


def _rounded(side: float) -> int:
    return max(round(int(side) / 32) * 32, 32)


def _padded(side: float) -> int:
    return -(-int(side) // 128) * 128


def without_chance(operators: Sequence[Operator]) -> list[Operator]:
    """Return the operators without randomness: no augmentation, and the whole image instead of a crop."""
    from ocrslim.ppocr import imaug

    kept: list[Operator] = []
    for operator in operators:
        if isinstance(operator, (imaug.IaaAugment, CopyPaste)):
            continue
        if isinstance(operator, imaug.EastRandomCropData):
            operator = copy.copy(operator)
            operator.max_tries = 0
        kept.append(operator)
    return kept


def require_augmenters(listed: Sequence[Any]) -> None:
    """Refuse unknown augmenters, by name.

    Raises:
        RefusedArguments: such a one, with the nearest.
    """
    import albumentations

    known = {name for name, kind in vars(albumentations).items() if isinstance(kind, type)}
    known |= {"Fliplr", "Flipud", "Affine", "Resize"}  # PaddleOCR's names, some of them imgaug's
    for item in listed:
        kind = str(item["type"] if isinstance(item, dict) else item[0])
        if kind not in known:
            near = difflib.get_close_matches(kind, known, 1)
            hint = f"did you mean {near[0]}?" if near else "see the documentation of albumentations"
            raise RefusedArguments(f"IaaAugment: there is no augmenter {kind!r}: {hint}")


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
        wide = np.array([shorter_side(box) >= 1 for box in outlines[:, :4]], dtype=bool)
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
            tags[position] |= shorter_side(np.trunc(np.asarray(polygon))) < 1
        data["ignore_tags"] = tags
        return data
