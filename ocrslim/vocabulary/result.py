"""What cutting the characters of a recogniser gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocrslim.vocabulary.keeping import Kept

_RIGHT_TO_LEFT = "arabic"  # where a dictionary's path has this, PaddleOCR turns what it reads


@dataclass(frozen=True)
class Cut:
    """A recogniser with fewer characters, written and proven.

    Attributes:
        file: name of the model's file.
        kept: entries of the dictionary.
        dictionary: the kept entries as a dictionary has them, without a space that its readers add.
        classes: of the last layer before, the blank among them.
        difference: the largest one of probabilities to the whole model's over the kept classes.
        bytes: of the model before and after.
    """

    file: str
    kept: Kept
    dictionary: tuple[str, ...]
    classes: int
    difference: float
    bytes: tuple[int, int]


def dictionary_name(source: object) -> str:
    """Return the name of a dictionary beside the model, of the path of the whole one."""
    return f"{_RIGHT_TO_LEFT}_dict.txt" if _RIGHT_TO_LEFT in str(source) else "dict.txt"


def dictionary_text(entries: Sequence[str]) -> str:
    """Return the content of a dictionary, a character a line."""
    return "".join(f"{entry}\n" for entry in entries)
