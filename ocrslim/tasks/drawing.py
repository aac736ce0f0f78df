"""Words written under an image."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

_INK, _PAPER = (0, 90, 255), 255  # red green blue; white
_LEAST, _MOST = 16, 48  # pixels of a line


def with_caption(pixels: np.ndarray, text: str) -> np.ndarray:
    """Return an image, uint8 [H, W, 3] blue green red, with a line of text under it."""
    from PIL import Image, ImageDraw

    height, width = pixels.shape[:2]
    size = min(_MOST, max(_LEAST, height // 2))
    font = _font(size)
    room = max(width, int(font.getlength(text)) + size)
    strip = Image.new("RGB", (room, 2 * size), (_PAPER,) * 3)
    ImageDraw.Draw(strip).text((size // 2, size // 3), text, font=font, fill=_INK)
    drawn = np.full((height + 2 * size, room, 3), _PAPER, np.uint8)
    drawn[:height, :width] = pixels
    drawn[height:] = np.asarray(strip)[:, :, ::-1]
    return drawn


@functools.lru_cache(8)
def _font(size: int) -> Any:
    """Return PaddleOCR's font, which has Chinese, where a checkout is in use; else matplotlib's."""
    from PIL import ImageFont

    from ocrslim.ppocr import used_source

    source = used_source()
    chinese = None if source is None else source / "doc/fonts/simfang.ttf"
    if chinese is None or not chinese.is_file():
        import matplotlib

        chinese = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(chinese), size)
