"""Which entries of a dictionary are kept, and which wanted characters it does not have."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ocrslim.errors import DataError, WeightsError
from ocrslim.tasks import Wanted, characters_in

SPACE = " "
_NAMED = 5


@dataclass(frozen=True)
class Kept:
    """What is kept of a dictionary.

    Attributes:
        places: indices of the kept entries, ascending.
        characters: these entries.
        unknown: characters that are wanted, and that the dictionary does not have.
    """

    places: tuple[int, ...]
    characters: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def classes(self) -> np.ndarray:
        """The kept classes of a CTC layer, ascending: the blank, then the entries."""
        return np.array([0, *(place + 1 for place in self.places)])


def keep(wanted: Wanted, dictionary: Sequence[str]) -> Kept:
    """Return what is kept of a dictionary: the wanted characters, wherever they stand, and the space.

    An entry of several code points, such as a flag, is kept where a text has it as a whole.

    Raises:
        DataError: a listed character is none, or the dictionary has none of those that are wanted.
    """
    text = "\n".join(wanted.texts)
    known = dict.fromkeys(dictionary)
    long = [entry for entry in known if len(entry) > 1 and entry in text]
    for entry in sorted(long, key=len, reverse=True):
        text = text.replace(entry, "\n")
    for entry, place in wanted.listed.items():
        if len(entry) > 1 and entry not in known:
            raise DataError(f"{place}: {_no_character(entry)}")
    asked = dict.fromkeys([*wanted.listed, *long, *characters_in(text)])
    unknown = [character for character in asked if character not in known]
    if not (asked.keys() & known.keys()) - {SPACE}:
        what = f"of its {len(asked):,} characters none is in the model's dictionary ({named(unknown)})"
        raise DataError(
            f"{wanted.source}: {what if unknown else 'no character but the space'}: name characters that the model was "
            "trained to read"
        )
    places = tuple(place for place, entry in enumerate(dictionary) if entry in asked or entry == SPACE)
    return Kept(places, tuple(dictionary[place] for place in places), tuple(unknown))


def named(characters: Iterable[str]) -> str:
    """List the first of some characters, with their code points."""
    every = list(characters)
    first = ", ".join(f"{each!r} (U+{ord(each):04X})" for each in every[:_NAMED])
    return first + (f" and {len(every) - _NAMED:,} more" if len(every) > _NAMED else "")


def classes_of(dictionary: Sequence[str], count: int, model: object, source: object) -> tuple[str, ...]:
    """Return the entries that the classes behind the blank stand for: the dictionary, with the space where it is one.

    Args:
        count: classes of the model's last layer, the blank among them.
        model, source: of the model and its dictionary, for messages.

    Raises:
        WeightsError: they do not fit together.
    """
    with_space = (*dictionary, SPACE)
    for entries in (with_space, tuple(dictionary)):
        if len(entries) + 1 == count:
            return entries
    raise WeightsError(
        f"{model}: its last layer tells {count:,} classes apart, and the {len(dictionary):,} characters of {source} "
        f"make {len(dictionary) + 2:,} with the blank and the space: name the dictionary that it was trained with, "
        "--dict FILE"
    )


def _no_character(entry: str) -> str:
    """Say what a line of several code points is, and what to do about it."""
    points = " ".join(f"U+{ord(each):04X}" for each in entry[:4]) + (" ..." if len(entry) > 4 else "")
    composed = unicodedata.normalize("NFC", entry)
    if len(composed) == 1:
        return f"{entry!r} is {len(entry)} code points ({points}), expected one: write it as U+{ord(composed):04X}"
    return (
        f"{entry[:20]!r} is {len(entry)} code points ({points}), expected one character a line: for running text use "
        "--text"
    )
