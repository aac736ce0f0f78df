"""Where the findings of two networks in one image differ."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import shapely

from ocrslim.report.html.records import Item, Sample

_SAME = 0.5  # intersection over union from which two regions are one, as in the score of detectors


@dataclass(frozen=True)
class Region:
    """A region of text, and whether the other network finds it as well."""

    points: Sequence[Sequence[float]]
    found_by_both: bool


@dataclass(frozen=True)
class Piece:
    """A piece of a text, and whether it stands in the other text as well."""

    text: str
    in_both: bool


def compared_regions(before: Sequence[Item], after: Sequence[Item]) -> tuple[list[Region], list[Region]]:
    """Match regions one to one, those that overlap most first; both lists keep their order."""
    first, second = ([_polygon(item) for item in items] for items in (before, after))
    pairs = [(_overlap(a, b), i, j) for i, a in enumerate(first) for j, b in enumerate(second) if a.intersects(b)]
    taken: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap > _SAME and i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
    both = zip((before, after), taken)
    ours, theirs = ([Region(item.points or [], at in known) for at, item in enumerate(items)] for items, known in both)
    return ours, theirs


def compared_texts(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Split both texts into pieces that stand in both, and pieces that do not."""
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    ours = [Piece(before[start:end], tag == "equal") for tag, start, end, _, _ in blocks if start < end]
    theirs = [Piece(after[start:end], tag == "equal") for tag, _, _, start, end in blocks if start < end]
    return ours, theirs


def count_differences(sample: Sample) -> float:
    """Measure how far the findings differ: regions that one network finds, or the share of a text that differs."""
    if any(item.points is not None for item in [*sample.before, *sample.after]):
        return sum(
            not region.found_by_both for side in compared_regions(sample.before, sample.after) for region in side
        )
    ours, theirs = (text_of(side) for side in (sample.before, sample.after))
    return 0.0 if ours == theirs else 1.0 - difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio() + 1e-6


def text_of(items: Sequence[Item]) -> str:
    """Return what was read, or the classes."""
    return " ".join(item.text or item.label or "" for item in items)


def _polygon(item: Item) -> shapely.Geometry:
    points = item.points or []
    polygon = shapely.Polygon(points) if len(points) >= 3 else shapely.Polygon()
    return polygon if polygon.is_valid else shapely.convex_hull(polygon)


def _overlap(first: shapely.Geometry, second: shapely.Geometry) -> float:
    shared = first.intersection(second).area
    return float(shared / max(first.area + second.area - shared, 1e-9))
