"""Sizes of outlines."""

from __future__ import annotations

import numpy as np


def shorter_side(outline: np.ndarray) -> float:
    """Return the shorter side, in pixels, of the smallest rectangle, turned or not, around points [k, 2]."""
    import cv2  # late: tasks are known before the limits that OpenCV reads when it is imported

    return float(min(cv2.minAreaRect(outline.astype(np.float32))[1]))
