"""Pictures for notebooks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ocrslim.report import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture:
    """A picture that notebooks show, and that can be saved."""

    def __init__(self, content: Figure | np.ndarray):
        """
        Args:
            content: a matplotlib figure, or pixels, uint8 [H, W, 3] in RGB order.
        """
        self._content = content

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        if isinstance(self._content, np.ndarray):
            from PIL import Image

            Image.fromarray(np.ascontiguousarray(self._content)).save(stream, format="png")
        else:
            self._content.savefig(stream, format="png", dpi=DPI)
        return stream.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the picture as a PNG file."""
        path = Path(path)
        path.write_bytes(self._repr_png_())
        return path
