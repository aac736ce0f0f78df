"""Precision, recall and harmonic mean of text detection: the ICDAR protocol as PaddleOCR computes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import shapely

METRICS = ("precision", "recall", "hmean")
_NEAR = 1e-6  # how close to a threshold the slower, exactly PaddleOCR's, formula is asked


class ImageCounts(NamedTuple):
    """What one image adds: boxes to find, boxes found (both without "don't care") and pairs of the two."""

    gt: int
    pred: int
    matched: int


def scores_of(counts: Iterable[ImageCounts]) -> dict[str, float]:
    """Precision, recall and hmean (0..1) over images."""
    gt, pred, matched = 0, 0, 0
    for image in counts:
        gt, pred, matched = gt + image.gt, pred + image.pred, matched + image.matched
    precision = matched / pred if pred else 0.0
    recall = matched / gt if gt else 0.0
    total = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "hmean": 2 * precision * recall / total if total else 0.0,
    }


class DetMetric:
    """Collects detections image by image; update / summary / reset.

    Follows PaddleOCR's `DetectionIoUEvaluator`: polygons that are not valid are passed over; a detection
    of which more than `area_precision` lies in one "don't care" polygon does not count; then each
    labelled polygon in turn takes the first free detection with IoU > `iou`. The counts of all images are
    summed before the ratios are taken; a ratio of nothing is 0.
    """

    def __init__(self, iou: float = 0.5, area_precision: float = 0.5):
        self._iou = iou
        self._area_precision = area_precision
        self._counts: list[ImageCounts] = []

    def reset(self) -> None:
        """Forget all images."""
        self._counts = []

    def update(self, pred: Sequence[np.ndarray], gt: Sequence[np.ndarray], ignore: np.ndarray) -> ImageCounts:
        """Add one image.

        Args:
            pred: detected polygons, each [k, 2] in pixels.
            gt: labelled polygons, each [k, 2], on the same scale.
            ignore: bool [len(gt)], true for "don't care".

        Returns:
            The image's own counts, for comparisons image by image.
        """
        if len(gt) != len(ignore):
            raise ValueError(f"{len(gt)} labelled polygons but {len(ignore)} ignore flags")
        labelled, kept = _valid_polygons(gt)
        detected, _ = _valid_polygons(pred)
        ignored = np.asarray(ignore, dtype=bool)[kept]
        detected = detected[~self._falls_on(labelled[ignored], detected)]
        labelled = labelled[~ignored]
        counts = ImageCounts(len(labelled), len(detected), self._match(labelled, detected))
        self._counts.append(counts)
        return counts

    def summary(self) -> dict[str, float]:
        """Return precision, recall and hmean (0..1) over all images since the last reset."""
        return scores_of(self._counts)

    def _falls_on(self, regions: np.ndarray, detected: np.ndarray) -> np.ndarray:
        """Bool [len(detected)]: most of the detection lies in one of the regions."""
        result = np.zeros(len(detected), dtype=bool)
        at, which = _overlapping(regions, detected)
        inside = shapely.area(shapely.intersection(regions[at], detected[which]))
        result[which[inside / shapely.area(detected[which]) > self._area_precision]] = True
        return result

    def _match(self, labelled: np.ndarray, detected: np.ndarray) -> int:
        """Number of pairs, taken greedily in the order of labels, then of detections."""
        at, which = _overlapping(labelled, detected)
        good = _ious(labelled[at], detected[which], self._iou) > self._iou
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
    """Indices (i, j), ordered by i then j, of the pairs whose bounding boxes share more than an edge."""
    a, b = shapely.bounds(first).reshape(-1, 1, 4), shapely.bounds(second).reshape(1, -1, 4)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    at, which = np.nonzero((low < high).all(axis=-1))
    return at, which


def _ious(first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """Intersection over union, pair by pair.

    The union's area is the sum less the intersection, which is cheaper than the union itself; only next
    to the threshold, where the last bit decides, the union is built as PaddleOCR builds it.
    """
    shared = shapely.area(shapely.intersection(first, second))
    ious = shared / (shapely.area(first) + shapely.area(second) - shared)
    close = np.abs(ious - threshold) < _NEAR
    ious[close] = shared[close] / shapely.area(shapely.union(first[close], second[close]))
    return ious
