"""Where the findings of two networks differ."""

from __future__ import annotations

import pytest

from ocrslim.report.html.differences import compared_regions, compared_texts, count_differences
from ocrslim.report.html.records import Item, Sample


def box(x, y, width=40, height=10):
    return Item(points=[[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def sample(before, after):
    return Sample(image="a.jpg", size=[100, 100], before=before, after=after)


def test_regions_that_overlap_by_half_are_one():
    before, after = compared_regions([box(0, 0), box(0, 50)], [box(0, 51), box(13, 0), box(14, 20)])
    assert [region.found_by_both for region in before] == [True, True]
    assert [region.found_by_both for region in after] == [True, True, False]
    assert not compared_regions([box(0, 0)], [box(14, 0)])[0][0].found_by_both  # 26 of 54


def test_a_region_is_matched_once_and_to_the_one_that_overlaps_most():
    before, after = compared_regions([box(0, 0)], [box(5, 0), box(1, 0)])
    assert before[0].found_by_both and [region.found_by_both for region in after] == [False, True]


def test_degenerate_regions_match_nothing():
    line = Item(points=[[0, 0], [10, 0]])
    bow = Item(points=[[0, 0], [10, 10], [10, 0], [0, 10]])
    before, _ = compared_regions([line, bow], [bow])
    assert [region.found_by_both for region in before] == [False, True]


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ("TOTAL 4.90", "TOTAL 4.40", (["9"], ["4"])),
        ("cafe", "café", (["e"], ["é"])),
        ("same", "same", ([], [])),
        ("", "new", ([], ["new"])),
    ],
)
def test_texts_are_marked_where_they_differ(before, after, marked):
    ours, theirs = compared_texts(before, after)
    assert "".join(piece.text for piece in ours) == before and "".join(piece.text for piece in theirs) == after
    assert tuple([piece.text for piece in side if not piece.in_both] for side in (ours, theirs)) == marked


def test_the_images_that_differ_most_count_most():
    same = sample([box(0, 0)], [box(1, 0)])
    one, two = sample([box(0, 0)], []), sample([box(0, 0)], [box(0, 50)])
    assert [count_differences(each) for each in (same, one, two)] == [0, 1, 2]
    texts = [sample([Item(text="abcd")], [Item(text=text)]) for text in ("abcd", "abce", "wxyz")]
    counts = [count_differences(each) for each in texts]
    assert counts[0] == 0 < counts[1] < counts[2]
    assert count_differences(sample([Item(label="0")], [Item(label="180")])) > 0
