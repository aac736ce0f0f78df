"""Labels that cannot be right, found by comparison with their image.

A label file can be well formed and wrong all the same: made for another size of the image, for the pixels before the
camera's orientation, with the corners in another order. PaddleOCR passes over such boxes or scores them as missed, and
says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from ocrslim.errors import DataError
from ocrslim.tasks.detection.labels import MIN_SIDE
from ocrslim.tasks.values import Sample
from ocrslim.utils import shortened

MOST = 0.5  # the share of a data set's boxes from which a kind of fault is no accident
CORNER = 0.6  # of an image's width and height; boxes of hardly any data set all end before that
_SOME_IMAGES = 4  # fewer say nothing about where boxes usually lie

CROSSED, OUTSIDE, TURNED, FRACTIONS, TWICE, LISTED_TWICE = (
    "crossed",
    "outside",
    "turned",
    "fractions",
    "twice",
    "listed twice",
)
_MEANING = {
    CROSSED: "have an outline that crosses itself, and neither count nor are learned",
    OUTSIDE: "lie outside their image, wholly or by more than half",
    TURNED: "fit the image only as it is stored, before it is turned upright as its EXIF data says",
    FRACTIONS: "have coordinates between 0 and 1",
    TWICE: "repeat a box of the same image, and are scored twice",
    LISTED_TWICE: "belong to an image that an earlier line has already, and are scored twice",
}
_REMEDY = {
    CROSSED: "list the corners around the box: top left, top right, bottom right, bottom left",
    OUTSIDE: "are the labels made for another size of the images? Scale the coordinates, or use the images they fit",
    TURNED: "set ignore_orientation: true in DecodeImage, or save the images upright",
    FRACTIONS: "multiply them by the image's width and height: pixels are expected",
    TWICE: "remove the repeated boxes",
    LISTED_TWICE: "put all boxes of an image on one line, and list each image once",
}


@dataclass(frozen=True)
class Fault:
    """Boxes with one kind of fault.

    Attributes:
        kind: a key of the tables above.
        boxes: how many.
        first: where the first of them stands.
    """

    kind: str
    boxes: int
    first: str


@dataclass(frozen=True)
class LabelCheck:
    """The comparison of an image's label with the image.

    Attributes:
        faults: of each kind that there is.
        end: where the boxes end, as a fraction of the image's width or height, whichever is larger; None where there
            are fewer than two, which say nothing about where boxes usually lie.
    """

    faults: tuple[Fault, ...] = ()
    end: float | None = None


def check_label(sample: Sample, size: tuple[int, int], turned: bool) -> LabelCheck:
    """Compare the label of one image with the image.

    Args:
        size: height and width of the image as it is decoded.
        turned: whether decoding exchanged height and width.
    """
    boxes = json.loads(sample.label)
    rings = [np.asarray(box["points"], dtype=np.float64) for box in boxes]
    if not rings:
        return LabelCheck()
    fractions = _fractions(rings)
    stored = size[::-1] if turned else None
    misplaced = np.array([_outside(ring, size) for ring in rings]) & ~fractions
    fits_stored = np.array([stored is not None and _inside(ring, stored) for ring in rings])
    reaches_out = np.array([not _inside(ring, size) for ring in rings])
    masks = {
        CROSSED: _crossed(rings) & ~fractions,
        OUTSIDE: misplaced & ~fits_stored,
        TURNED: reaches_out & fits_stored,
        FRACTIONS: fractions,
        TWICE: _repeated(rings) & ~fractions,
    }
    faults = tuple(
        Fault(kind, int(mask.sum()), f"{sample.place}, box {1 + int(mask.argmax())}{_quoted(boxes, mask)}")
        for kind, mask in masks.items()
        if mask.any()
    )
    return LabelCheck(faults, _end(rings, size) if len(rings) > 1 else None)


def line_faults(samples: Sequence[Sample]) -> tuple[Fault, ...]:
    """Images that stand on more than one line of a label file."""
    seen: dict[tuple[int, str], str] = {}
    boxes, first = 0, ""
    for sample in samples:
        earlier = seen.setdefault((sample.source, str(sample.path)), sample.place)
        if earlier != sample.place:
            boxes += sample.items
            first = first or f"{sample.place}, {sample.name}"
    return (Fault(LISTED_TWICE, boxes, first),) if first else ()


def remarks(
    mode: str, samples: Sequence[Sample], readable: Sequence[Sample], checks: Iterable[LabelCheck]
) -> list[str]:
    """List probable faults in the labels of a data set, a line each; arguments and errors as in `Task.remarks`."""
    checks = list(checks)
    found = [*line_faults(samples), *(fault for check in checks for fault in check.faults)]
    lines = fault_lines(mode, summed(found), sum(sample.items for sample in readable))
    return lines + in_one_corner(mode, [check.end for check in checks if check.end is not None])


def summed(faults: Iterable[Fault]) -> dict[str, Fault]:
    """Return the faults of each kind together, with the place of the first."""
    found: dict[str, Fault] = {}
    for fault in faults:
        known = found.get(fault.kind)
        found[fault.kind] = fault if known is None else Fault(fault.kind, known.boxes + fault.boxes, known.first)
    return found


def fault_lines(mode: str, faults: Mapping[str, Fault], boxes: int) -> list[str]:
    """Return a line about each kind of fault.

    Args:
        faults: by kind, as `summed` gives them.
        boxes: all boxes of the data set.

    Raises:
        DataError: most boxes have a fault of one kind.
    """
    lines = []
    for fault in faults.values():
        text = (
            f"{mode}.dataset.label_file_list: {fault.boxes} of {boxes} boxes {_MEANING[fault.kind]} "
            f"(first: {fault.first}); {_REMEDY[fault.kind]}"
        )
        if fault.boxes > MOST * boxes:
            raise DataError(text)
        lines.append(text)
    return lines


def in_one_corner(mode: str, ends: Sequence[float]) -> list[str]:
    """Return a line where the boxes of nearly all images end far from the right and lower borders.

    Labels made for a smaller copy of the images look like that, and nothing else in them is wrong.

    Args:
        ends: of each image with several boxes, as `LabelCheck` has it.
    """
    if len(ends) < _SOME_IMAGES or np.quantile(ends, 0.9) >= CORNER:
        return []
    return [
        f"{mode}.dataset.label_file_list: in {len(ends)} images no box reaches beyond {np.quantile(ends, 0.9):.0%} of "
        "width or height; are the labels made for a smaller copy of the images? Scale the coordinates then"
    ]


def _end(rings: Sequence[np.ndarray], size: tuple[int, int]) -> float:
    return float((np.concatenate(rings).max(axis=0) / size[::-1]).max())


def _fractions(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Tell, for each outline, whether all coordinates of the image are fractions of its sides."""
    values = np.concatenate(rings)
    are = bool((values >= 0).all() and (values <= 1).all() and (values % 1 > 0).any())
    return np.full(len(rings), are)


def _crossed(rings: Sequence[np.ndarray]) -> np.ndarray:
    valid = shapely.is_valid([shapely.Polygon(ring) for ring in rings])
    large = [np.ptp(ring, axis=0).min() >= MIN_SIDE for ring in rings]  # what has no area crosses nothing
    return ~valid & np.array(large)


def _outside(ring: np.ndarray, size: tuple[int, int]) -> bool:
    """Tell whether less than half of an outline's bounding box lies in the image."""
    low, high, end = ring.min(axis=0), ring.max(axis=0), np.array(size[::-1])
    shared = np.clip(np.minimum(high, end) - np.maximum(low, 0), 0, None)
    whole = np.maximum(high - low, 1e-6)
    return bool((np.maximum(shared, 0) / whole).prod() < 0.5)


def _inside(ring: np.ndarray, size: tuple[int, int], slack: float = MIN_SIDE) -> bool:
    return bool((ring >= -slack).all() and (ring <= np.array(size[::-1]) + slack).all())


def _repeated(rings: Sequence[np.ndarray]) -> np.ndarray:
    seen: set[bytes] = set()
    repeated = []
    for ring in rings:
        key = np.round(ring, 3).tobytes()
        repeated.append(key in seen)
        seen.add(key)
    return np.array(repeated)


def _quoted(boxes: Sequence[Mapping[str, str]], mask: np.ndarray) -> str:
    text = str(boxes[int(mask.argmax())]["transcription"])
    return f" {shortened(text, 24)!r}" if text else ""
