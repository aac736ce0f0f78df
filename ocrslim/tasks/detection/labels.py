"""PaddleOCR's detection labels, read strictly.

The label of an image is JSON: `[{"transcription": ..., "points": [[x, y], ...]}, ...]`, coordinates in pixels of the
image; `###` and `*` mark text that does not count ("don't care").
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from ocrslim.tasks.detection.geometry import shorter_side
from ocrslim.tasks.values import Label
from ocrslim.utils import parse_json, shortened

MIN_SIDE = 3  # pixels; a thinner box cannot be learned or found, and breaks PaddleOCR's border map
MAX_COORDINATE = 100_000  # pixels; beyond any image, and PaddleOCR's maps would ask for all the memory
MAX_POINTS = 1000  # of one box; curved text has a dozen, and comparing outlines takes time by their product
DONT_CARE = ("*", "###")
FORMAT = 'NAME<TAB>[{"transcription": "text", "points": [[x, y], [x, y], [x, y], [x, y]]}, ...]'
_EXPECTED = f"expected {FORMAT}"


def parse_boxes(text: str) -> Label:
    """Read the boxes of one image.

    Raises:
        ValueError: not JSON, or not boxes.
    """
    try:
        boxes = parse_json(text)
    except ValueError as error:
        reason = "" if isinstance(error, json.JSONDecodeError) else f" ({shortened(str(error))})"
        raise ValueError(f"not JSON after the name{reason}: {shortened(text)}, {_EXPECTED}") from None
    if not isinstance(boxes, list):
        raise ValueError(f"the label is {shortened(text)}, not a list of boxes, {_EXPECTED}")
    plain, tiny = [], 0
    for position, box in enumerate(boxes, 1):
        transcription, points = _check_box(box, position)
        if transcription not in DONT_CARE and is_tiny(points):
            transcription, tiny = "###", tiny + 1
        plain.append({"transcription": transcription, "points": points})
    care = sum(box["transcription"] not in DONT_CARE for box in plain)
    return Label(json.dumps(plain, ensure_ascii=False), len(plain), care, tiny)


def _check_box(box: Any, position: int) -> tuple[str, list[list[float]]]:
    for key in ("transcription", "points"):
        if not isinstance(box, dict) or key not in box:
            raise ValueError(f"box {position} has no {key!r}: {shortened(json.dumps(box))}, {_EXPECTED}")
    transcription, points = box["transcription"], box["points"]
    if not isinstance(transcription, (str, int, float)):
        raise ValueError(f"box {position}: transcription {shortened(json.dumps(transcription))} is not text")
    if isinstance(points, list) and len(points) > MAX_POINTS:
        raise ValueError(f"box {position}: {len(points)} points, expected at most {MAX_POINTS}")
    if not isinstance(points, list) or len(points) < 4 or not all(_is_point(point) for point in points):
        raise ValueError(
            f"box {position}: points {shortened(json.dumps(points))}, expected at least 4 points [x, y] "
            f"of finite numbers within {MAX_COORDINATE} pixels"
        )
    return str(transcription), points


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(_is_coordinate(value) for value in point)


def _is_coordinate(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) <= MAX_COORDINATE


def is_tiny(points: list[list[float]]) -> bool:
    """Tell whether a side of the box, upright or turned, is under `MIN_SIDE` pixels."""
    corners = np.asarray(points, dtype=np.float32)
    side = min(shorter_side(corners), *np.ptp(corners, axis=0))
    return bool(side < MIN_SIDE - 1e-3)
