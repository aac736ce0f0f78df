"""What cutting the characters of a recogniser gives."""

from __future__ import annotations

from dataclasses import dataclass

from ocrslim.vocabulary.keeping import Kept


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
