"""Precision, recall and harmonic mean of text detection: the ICDAR protocol as PaddleOCR computes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely

_NEAR = 1e-6  # how close to a threshold the slower, exactly PaddleOCR's, formula is asked


class ImageCounts(NamedTuple):
    """The counts of one image: boxes to find, boxes found (both without "don't care") and pairs of the two."""

    gt: int
    pred: int
    matched: int


def scores_of(counts: Iterable[Any]) -> dict[str, float]:
    """Precision, recall and hmean (0..1) over images."""
    gt, pred, matched = 0, 0, 0
    for image in counts:
        gt, pred, matched = (total + one for total, one in zip((gt, pred, matched), image))
    precision = matched / pred if pred else 0.0
    recall = matched / gt if gt else 0.0
    total = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "hmean": 2 * precision * recall / total if total else 0.0,
    }


class Boxes(NamedTuple):
    """The labelled outlines of an image.

    Attributes:
        polygons: [k, 2] each, in source pixels.
        ignored: bool [len(polygons)], true for "don't care".
    """

    polygons: list[np.ndarray]
    ignored: np.ndarray


def match(
    pred: Sequence[np.ndarray],
    gt: Sequence[np.ndarray],
    ignore: np.ndarray,
    iou: float = 0.5,
    area_precision: float = 0.5,
    alike: np.ndarray | None = None,
) -> ImageCounts:
    """Compare the detections of one image with its labels.

    Follows PaddleOCR's `DetectionIoUEvaluator`: polygons that are not valid are passed over; a detection of which more
    than `area_precision` lies in one "don't care" polygon does not count; then each labelled polygon in turn takes the
    first free detection with IoU > `iou`.

    Args:
        pred: detected polygons, each [k, 2] in pixels.
        gt: labelled polygons, each [k, 2], on the same scale.
        ignore: bool [len(gt)], true for "don't care".
        alike: bool [len(gt), len(pred)], false for what is no pair wherever it lies; None where any may be one.

    Raises:
        ValueError: not as many flags as labelled polygons.
    """
    if len(gt) != len(ignore):
        raise ValueError(f"{len(gt)} labelled polygons but {len(ignore)} ignore flags")
    labelled, kept = _valid_polygons(gt)
    detected, found = _valid_polygons(pred)
    ignored = np.asarray(ignore, dtype=bool)[kept]
    counted = ~_falls_on(labelled[ignored], detected, area_precision)
    detected, found = detected[counted], found[counted]
    labelled, kept = labelled[~ignored], kept[~ignored]
    allowed = None if alike is None else alike[np.ix_(kept, found)]
    return ImageCounts(len(labelled), len(detected), _pairs(labelled, detected, iou, allowed))


def _falls_on(regions: np.ndarray, detected: np.ndarray, area_precision: float) -> np.ndarray:
    """Tell, bool [len(detected)], whether most of a detection lies in one of the regions."""
    result = np.zeros(len(detected), dtype=bool)
    at, which = _overlapping(regions, detected)
    inside = shapely.area(shapely.intersection(regions[at], detected[which]))
    result[which[inside / shapely.area(detected[which]) > area_precision]] = True
    return result


def _pairs(labelled: np.ndarray, detected: np.ndarray, iou: float, allowed: np.ndarray | None = None) -> int:
    """Return the number of pairs, taken greedily in the order of labels, then of detections."""
    at, which = _overlapping(labelled, detected)
    if allowed is not None:
        may = allowed[at, which]
        at, which = at[may], which[may]
    good = _ious(labelled[at], detected[which], iou) > iou
    taken_labels: set[int] = set()
    taken_detections: set[int] = set()
    for label, detection in zip(at[good].tolist(), which[good].tolist()):
        if label not in taken_labels and detection not in taken_detections:
            taken_labels.add(label)
            taken_detections.add(detection)
    return len(taken_labels)


def _valid_polygons(points: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Shapely polygons of those that are valid, and their positions in `points`."""
    rings = [np.asarray(ring, dtype=np.float64).reshape(-1, 2) for ring in points]
    usable = np.array([i for i, r in enumerate(rings) if len(r) >= 3 and np.isfinite(r).all()], dtype=np.int64)
    if not len(usable):
        return np.empty(0, dtype=object), usable
    lengths = [len(rings[i]) for i in usable]
    owner = np.repeat(np.arange(len(usable)), lengths)
    polygons = shapely.polygons(shapely.linearrings(np.concatenate([rings[i] for i in usable]), indices=owner))
    valid = shapely.is_valid(polygons)
    return polygons[valid], usable[valid]


def _overlapping(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (i, j), ordered by i then j, of the pairs whose bounding boxes share more than an edge."""
    a, b = shapely.bounds(first).reshape(-1, 1, 4), shapely.bounds(second).reshape(1, -1, 4)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    at, which = np.nonzero((low < high).all(axis=-1))
    return at, which


def _ious(first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """Return the intersection over union, pair by pair.

    The union's area is the sum less the intersection, which is cheaper than the union itself; only next
    to the threshold, where the last bit decides, the union is built as PaddleOCR builds it.
    """
    shared = shapely.area(shapely.intersection(first, second))
    ious = shared / (shapely.area(first) + shapely.area(second) - shared)
    close = np.abs(ious - threshold) < _NEAR
    ious[close] = shared[close] / shapely.area(shapely.union(first[close], second[close]))
    return ious
