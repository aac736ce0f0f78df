"""Proof that a recogniser with fewer characters says what the full one says, on drawn lines of text.

The full model's probabilities, divided by their sum over the kept classes, are those of the other: a softmax over fewer
logits is just that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocrslim.data import font_files
from ocrslim.errors import ExportError
from ocrslim.inference import Engine, parts_of

TOLERANCE = 1e-5
_LEAST_SHARE = 1e-12  # of the kept classes in a step; below, runtimes cut probabilities off
_LINES, _LONGEST = 3, 20


def require_same(full: Engine, small: Engine, kept: np.ndarray, images: Iterable[np.ndarray]) -> float:
    """Return the largest difference between the probabilities of two models.

    Args:
        full, small: [N, C, H, W] -> [N, T, classes], in the runtime of their files.
        kept: the classes of `full` that `small` has, in order.

    Raises:
        ExportError: it exceeds `TOLERANCE`, or the outputs do not have as many classes.
    """
    outputs = ((parts_of(full(image))[0], parts_of(small(image))[0]) for image in images)
    largest = max(probability_difference(before, after, kept) for before, after in outputs)
    if not largest <= TOLERANCE:
        raise ExportError(
            f"the probabilities with fewer characters differ by {largest:.2e} from those of the whole model, expected "
            f"at most {TOLERANCE:g}: nothing was written; check that the model's output are probabilities"
        )
    return largest


def probability_difference(full: np.ndarray, small: np.ndarray, kept: np.ndarray) -> float:
    """Return the largest difference of `small` to `full` over the kept classes; infinite where the shapes differ."""
    if full.shape[-1] <= kept[-1] or small.shape != (*full.shape[:-1], len(kept)):
        return float("inf")
    expected = full[..., kept].astype(np.float64)
    share = expected.sum(-1, keepdims=True)
    told = share[..., 0] > _LEAST_SHARE
    if not told.any():
        return 0.0
    return float(np.abs(small[told] - (expected / np.maximum(share, _LEAST_SHARE))[told]).max())


def drawn_lines(characters: Sequence[str], shape: Sequence[int]) -> list[np.ndarray]:
    """Return images of text, float32 of `shape` [1, 3, H, W], as recognisers take them: -1 is black, 1 is white."""
    rng = np.random.default_rng(0)
    fonts, drawable = font_files(), [each for each in characters if each.isprintable()] or ["0"]
    return [
        _line("".join(rng.choice(drawable, _LONGEST)), str(fonts[number % len(fonts)]), shape)
        for number in range(_LINES)
    ]


def _line(text: str, font: str, shape: Sequence[int]) -> np.ndarray:
    count, channels, height, width = shape
    image = Image.new("L", (width, height), 235)
    ImageDraw.Draw(image).text((4, height // 8), text, font=ImageFont.truetype(font, height * 5 // 8), fill=20)
    pixels = np.asarray(image, np.float32) / 127.5 - 1
    return np.ascontiguousarray(np.broadcast_to(pixels, (count, channels, height, width)))
