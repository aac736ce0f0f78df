"""The images of samples: whole files as they are, and parts of images, cut out as PaddleOCR cuts them.

A page has a hundred words or more. Whoever asks for one of them gets it from a cache that holds all words of the
pages that were decoded last, so that a page is decoded once and not once a word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import cv2
import numpy as np

from ocrslim.data.image_files import ImageError, decode_image, read_image
from ocrslim.tasks import Outline, Sample, Size
from ocrslim.utils import MIB, hash_bytes

Content = Union[bytes, np.ndarray]  # of a whole file; of a part, its pixels, uint8 [H, W, 3], blue green red
CACHED = 256 * MIB  # of parts


def cut_out(pixels: np.ndarray, outline: Outline) -> np.ndarray:
    """Return the part of an image inside an outline, made upright: a copy.

    PaddleOCR's `get_rotate_crop_image`: the four corners become a rectangle, which is turned by 90 degrees where it is
    at least one and a half times as high as wide; of an outline with more corners, the smallest rectangle around it.

    Args:
        pixels: uint8 [H, W, 3].
        outline: corners (x, y) in pixels, from the top left on, clockwise as it is read.
    """
    from ocrslim.ppocr import imaug

    assert imaug is not None  # its import has put PaddleOCR's package `tools` on the path
    from tools.infer.utility import get_minarea_rect_crop, get_rotate_crop_image

    corners = np.array(outline, dtype=np.float32)
    cut = get_rotate_crop_image if len(corners) == 4 else get_minarea_rect_crop
    return np.ascontiguousarray(cut(pixels, corners))


def part_size(outline: Outline) -> Size:
    """Return the height and width that `cut_out` gives an outline; of more than four corners, nearly so."""
    corners = np.array(outline, dtype=np.float32)
    if len(corners) == 4:
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
        width, height = int(max(sides[0], sides[2])), int(max(sides[1], sides[3]))
    else:
        height, width = sorted(int(side) for side in cv2.minAreaRect(corners)[1])
    return (width, height) if height >= 1.5 * width else (height, width)


class SampleImages:
    """Reads the images of samples; parts of images from a cache."""

    def __init__(self, samples: Sequence[Sample], ignore_orientation: bool, memory: int = CACHED):
        """
        Args:
            samples: all that will be asked for.
            ignore_orientation: of `DecodeImage`; for parts of images, which are cut out before it runs.
            memory: bytes of parts to keep.
        """
        self._parts: dict[Path, list[Sample]] = {}
        for sample in samples:
            if sample.outline:
                self._parts.setdefault(sample.path, []).append(sample)
        self._ignore_orientation, self._memory = ignore_orientation, memory
        self._kept: OrderedDict[tuple[Path, Outline], np.ndarray] = OrderedDict()
        self._bytes = 0

    def __call__(self, sample: Sample, path: Path | None = None) -> Content:
        """Return what `DecodeImage` takes.

        Args:
            path: another file with the same label (`Sample.others`).

        Raises:
            ImageError: the file cannot be read, or is another one than was scanned.
        """
        if not sample.outline:
            return read_image(path or sample.path)
        key = (sample.path, sample.outline)
        if key not in self._kept:
            return self._decoded(sample)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _decoded(self, sample: Sample) -> np.ndarray:
        """Decode an image, keep its parts, and return one of them."""
        content = read_image(sample.path)
        if hash_bytes(content) != sample.digest:
            raise ImageError("has changed since this run began")
        pixels = decode_image(content, self._ignore_orientation).pixels
        wanted = None
        for part in self._parts[sample.path]:
            cut = cut_out(pixels, part.outline)
            wanted = cut if part.outline == sample.outline else wanted
            self._keep((part.path, part.outline), cut)
        assert wanted is not None
        return wanted

    def _keep(self, key: tuple[Path, Outline], pixels: np.ndarray) -> None:
        if key in self._kept:
            return
        self._kept[key] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > self._memory:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


def ignores_orientation(transforms: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether `DecodeImage` leaves images as they are stored."""
    decoding = (entry["DecodeImage"] or {} for entry in transforms if "DecodeImage" in entry)
    return any(bool(options.get("ignore_orientation")) for options in decoding)
