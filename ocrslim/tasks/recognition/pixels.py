"""Images of lines, brought to one width."""

from __future__ import annotations

import numpy as np

_SEARCHED = 0.3  # of the width, from the right: where a line that is too long is cut
_GAP = 4  # columns that a gap between characters has, about


def calibrated(image: np.ndarray, width: int) -> np.ndarray:
    """Return a line at one width: padded with zeros on the right, as PaddleOCR pads; a longer one is cut.

    The cut goes through the quietest columns near the end, which are between two characters, so that the network sees
    no half of one.

    Args:
        image: float32 [1, C, H, W].
    """
    lacking = width - image.shape[3]
    if lacking >= 0:
        return np.pad(image, ((0, 0), (0, 0), (0, 0), (0, lacking)))
    kept = np.array(image[..., :width])
    kept[..., _quiet_column(kept) :] = 0
    return kept


def _quiet_column(line: np.ndarray) -> int:
    """Return the column in the last part of a line around which the pixels differ least from top to bottom."""
    width = line.shape[3]
    first = int(width * (1 - _SEARCHED))
    contrast = np.ptp(line[0], axis=1).max(axis=0)
    smooth = np.convolve(contrast, np.ones(_GAP) / _GAP, mode="same")[first : width - _GAP]
    quietest = np.flatnonzero(smooth <= smooth.min() + 1e-6)
    return first + int(quietest[-1])
