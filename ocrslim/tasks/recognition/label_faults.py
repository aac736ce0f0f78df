"""Labels of recognisers that cannot be right: characters that the dictionary lacks, parts that the image does not have.

PaddleOCR drops the characters that it does not know, and says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ocrslim.errors import DataError
from ocrslim.tasks.detection import label_faults as boxes
from ocrslim.tasks.values import Sample, Size
from ocrslim.utils import shortened


@dataclass(frozen=True)
class LabelCheck:
    """The comparison of a label with its image and with the dictionary.

    Attributes:
        characters: of the text.
        unknown: of them, those that the dictionary lacks.
        first: the first of these, and where it stands.
        faults: of the outline, where the sample is a part of an image.
        learnable: whether a training can take the text.
    """

    characters: int
    unknown: int
    first: str = ""
    faults: tuple[boxes.Fault, ...] = ()
    learnable: bool = True


def check_label(
    sample: Sample, size: Size, turned: bool, known: frozenset[str], learnable: Callable[[Sample], bool]
) -> LabelCheck:
    """Compare a label with its image and with the characters that a network may read.

    Args:
        size: height and width of the whole image as it is decoded.
        turned: whether decoding exchanged height and width.
        known: the dictionary.
        learnable: tells whether a training can take a sample.
    """
    missing = [letter for letter in sample.label if sample.care and letter not in known]
    first = ""
    if missing:
        first = f"{missing[0]!r} (U+{ord(missing[0]):04X}) in {sample.place}, {shortened(repr(sample.label), 40)}"
    return LabelCheck(len(sample.label), len(missing), first, _outline_faults(sample, size, turned), learnable(sample))


def _outline_faults(sample: Sample, size: Size, turned: bool) -> tuple[boxes.Fault, ...]:
    if not sample.outline:
        return ()
    box = {"transcription": sample.label, "points": [list(point) for point in sample.outline]}
    return boxes.check_label(replace(sample, label=json.dumps([box])), size, turned).faults


def remarks(mode: str, dictionary: str, longest: int, checks: Iterable[LabelCheck]) -> list[str]:
    """List probable faults in the labels of a data set, a line each.

    Args:
        mode: "Train" or "Eval".
        dictionary: for messages.
        longest: `max_text_length`.
        checks: of all readable samples.

    Raises:
        DataError: most characters are not in the dictionary, or most boxes have a fault of one kind.
    """
    checks = list(checks)
    lines = _unknown(mode, dictionary, checks)
    outlines = boxes.summed(fault for check in checks for fault in check.faults)
    lines += boxes.fault_lines(mode, outlines, len(checks))
    long = sum(not check.learnable and check.characters - check.unknown > 0 for check in checks)
    if long and mode == "Train":
        lines.append(
            f"{mode}.dataset.label_file_list: {long} of {len(checks)} texts are longer than Global.max_text_length "
            f"({longest}) leaves room for, and are not learned; raise it where the network may read as much"
        )
    return lines


def _unknown(mode: str, dictionary: str, checks: Sequence[LabelCheck]) -> list[str]:
    every, missing = sum(check.characters for check in checks), sum(check.unknown for check in checks)
    if not missing:
        return []
    first = next(check.first for check in checks if check.first)
    text = (
        f"{mode}.dataset.label_file_list: {missing} of {every} characters are not in {dictionary}, and neither count "
        f"nor are learned (first: {first}); name the dictionary that belongs to the labels in "
        "Global.character_dict_path, or set Global.use_space_char to true where it is spaces"
    )
    if missing > boxes.MOST * every:
        raise DataError(text)
    return [text]
