"""Image files -> the pixels that a person would see: the one decoder of the product.

OpenCV decodes, as in PaddleOCR, so that ordinary images give the same bits here and there. What OpenCV alone would
spoil is put right: transparent images stand on white (as in PaddleOCR's own inference), 16 bits a channel are scaled
to 8, the orientation that a camera notes is applied in every format that can carry it, and formats that OpenCV does
not know (GIF, AVIF) are read by Pillow. How large an image says it is decides before anything is decoded.
"""

from __future__ import annotations

import contextlib
import io
import math
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from ocrslim.utils import MAX_PIXELS, MIB, read_file

MAX_BYTES = 512 * MIB

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 exchange height and width
_CAMERA_FORMATS = ("JPEG", "MPO")
_LARGE = 16_000_000  # pixels; such images are decoded one at a time, whatever the number of threads
_large_ones = threading.Lock()
_GREY = cv2.COLOR_GRAY2BGR


class ImageError(ValueError):
    """A file that is no image, is damaged, or is larger than can be read; the message is a short reason."""


@dataclass(frozen=True)
class Decoded:
    """An image as the network's transforms get it.

    Attributes:
        pixels: uint8 [height, width, 3], blue green red.
        turned: whether the orientation noted in the file exchanged height and width.
    """

    pixels: np.ndarray
    turned: bool


@dataclass(frozen=True)
class _Header:
    format: str
    mode: str
    size: tuple[int, int]  # width, height as stored
    orientation: int
    transparent: bool


def read_image(path: Path | str) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: missing, not permitted, no regular file, or larger than `MAX_BYTES`.
    """
    try:
        return read_file(path, MAX_BYTES)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None


def decode_image(data: bytes, ignore_orientation: bool = False) -> Decoded:
    """Decode a whole image file; bytes behind its end (a film, a signature) do not matter.

    Args:
        ignore_orientation: take the pixels as they are stored (`DecodeImage.ignore_orientation` in PaddleOCR).

    Raises:
        ImageError: no image, truncated or damaged, of more than `MAX_PIXELS`, or neither 8 nor 16 bits a channel.
    """
    header = _read_header(data)
    with _large_ones if header is None or math.prod(header.size) > _LARGE else contextlib.nullcontext():
        if header is not None and header.format in _CAMERA_FORMATS:
            _require_whole(data)
        if header is not None and (header.transparent or (header.format, header.mode) == ("PPM", "I")):
            pixels = _by_pillow(data, ignore_orientation)
        else:
            pixels = _by_opencv(data, header, ignore_orientation)
    turned = header is not None and header.orientation >= 5 and pixels.shape[:2] == header.size
    return Decoded(pixels, turned)


def _read_header(data: bytes) -> _Header | None:
    """Read the header of an image with Pillow, without decoding; None for a format that Pillow does not know."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _Header(
                image.format or "",
                image.mode,
                image.size,
                _orientation(image),
                image.has_transparency_data,
            )
    except Image.DecompressionBombError:
        raise ImageError(f"its header says that it has more than {MAX_PIXELS:,} pixels, which are not read") from None
    except Exception:  # Pillow's plug-ins raise many types for what is not theirs, or damaged
        return None


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data does not make the pixels unreadable
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _require_whole(data: bytes) -> None:
    """Refuse a truncated JPEG, whose rest some versions of OpenCV fill with grey."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))  # an eighth, for the speed
            image.load()
    except Exception as error:
        raise ImageError(_reason(error)) from None


def _by_opencv(data: bytes, header: _Header | None, ignore_orientation: bool) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    flags |= cv2.IMREAD_IGNORE_ORIENTATION if ignore_orientation else 0
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise ImageError(_reason(error)) from None
    if pixels is None:
        if header is None:
            raise ImageError("not an image, or damaged" if data else "an empty file")
        return _by_pillow(data, ignore_orientation)
    if header is not None and header.format == "WEBP" and not ignore_orientation:
        pixels = _upright(pixels, header.orientation)  # OpenCV does not look for it there
    return _eight_bits(pixels)


def _by_pillow(data: bytes, ignore_orientation: bool) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = image if ignore_orientation else ImageOps.exif_transpose(image)
            mode = "RGBA" if upright.has_transparency_data else "RGB"
            values = np.asarray(upright if upright.mode in ("I", "F") else upright.convert(mode))
    except Exception as error:  # Pillow's plug-ins raise many types for damaged files
        raise ImageError(_reason(error)) from None
    if values.ndim == 2:
        return _eight_bits(cv2.cvtColor(values.astype(np.uint16 if values.dtype.kind == "i" else np.float32), _GREY))
    if values.shape[2] == 4:
        from ocrslim.ppocr import alpha_to_color

        return alpha_to_color(cv2.cvtColor(values, cv2.COLOR_RGBA2BGRA))  # on white
    return cv2.cvtColor(values, cv2.COLOR_RGB2BGR)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    raise ImageError(f"it holds {pixels.dtype} values, expected 8 or 16 bits a channel: save it as PNG")


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror as EXIF orientation 1..8 says (CIPA DC-008, 4.6.4 A)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"damaged ({text[:100] or type(error).__name__})"
