"""Recognisers with fewer characters: classes of the last layer removed exactly, without training."""

from ocrslim.vocabulary.cutting import CutCharacters, cut_characters
from ocrslim.vocabulary.keeping import named

__all__ = ["CutCharacters", "cut_characters", "named"]
