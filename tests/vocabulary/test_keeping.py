"""Entries of a dictionary that are kept: all of a wanted character's, flags as a whole, the space always."""

from __future__ import annotations

import numpy as np
import pytest

from ocrslim.errors import DataError, WeightsError
from ocrslim.tasks import Wanted
from ocrslim.vocabulary import named
from ocrslim.vocabulary.keeping import classes_of, keep

GERMANY, FRANCE = "\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"
DICTIONARY = ("a", "b", "é", GERMANY, FRANCE, "b", " ")


def listed(*entries: str) -> Wanted:
    return Wanted({entry: f"chars.txt:{place}" for place, entry in enumerate(entries, 1)}, source="chars.txt")


def test_every_class_of_a_wanted_character_stays_in_the_dictionary_s_order():
    kept = keep(listed("b", "a"), DICTIONARY)
    assert kept.characters == ("a", "b", "b", " ") and kept.unknown == ()
    np.testing.assert_array_equal(kept.classes, [0, 1, 2, 6, 7])


def test_the_space_stays_where_the_model_has_it_only():
    assert keep(listed("a"), DICTIONARY).characters == ("a", " ")
    assert keep(listed("a", " "), ("a", "b")).characters == ("a",)
    assert keep(listed("a", " "), ("a", "b")).unknown == (" ",)


def test_a_flag_is_kept_where_a_text_has_it_as_a_whole():
    assert keep(Wanted(texts=[f"a{GERMANY}"]), DICTIONARY) == keep(listed("a", GERMANY), DICTIONARY)
    apart = keep(Wanted(texts=["a\U0001f1ea", "\U0001f1e9"]), DICTIONARY)
    assert apart.characters == ("a", " ") and len(apart.unknown) == 2


def test_unknown_characters_are_told_with_their_code_points():
    kept = keep(Wanted(texts=["a€\u0301" + "ABCDEFG"]), DICTIONARY)
    assert kept.unknown == tuple("€\u0301ABCDEFG")
    assert named(kept.unknown).startswith("'€' (U+20AC), ")
    assert named(kept.unknown).endswith(" and 4 more") and named("€") == "'€' (U+20AC)"


@pytest.mark.parametrize(
    "wanted, message",
    [
        (listed("e\u0301"), r"chars.txt:1: .* is 2 code points \(U\+0065 U\+0301\), expected one: write it as U\+00E9"),
        (listed("a", "0123456789"), r"chars.txt:2: '0123456789' is 10 code points .*for running text use --text"),
        (
            listed("x", "y"),
            r"of its 2 characters none is in the model's dictionary \('x' \(U\+0078\), 'y' \(U\+0079\)\)",
        ),
        (listed(" "), "chars.txt: no character but the space"),
    ],
)
def test_sets_that_cannot_be_kept_are_one_line(wanted, message):
    with pytest.raises(DataError, match=message) as caught:
        keep(wanted, DICTIONARY)
    assert "\n" not in str(caught.value)


def test_the_number_of_classes_says_whether_the_space_is_one():
    assert classes_of("ab", 4, "m", "d") == ("a", "b", " ")
    assert classes_of("ab", 3, "m", "d") == ("a", "b")
    with pytest.raises(
        WeightsError, match="m: its last layer tells 9 classes apart, and the 2 characters of d make 4 with the blank"
    ):
        classes_of("ab", 9, "m", "d")
