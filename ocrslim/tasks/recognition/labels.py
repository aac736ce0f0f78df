"""Labels of text recognition: the text of an image, or the boxes of a page with their texts.

A line is `NAME<TAB>text`, or a line of a detection label file: `NAME<TAB>[{"transcription": ..., "points": ...}, ...]`.
The second kind is known by its form: a list of mappings with `points`, or the empty list `[]`. Each of its boxes is a
sample of its own, cut out of the page; those that do not count ("###", "*", no text) are left out.
"""

from __future__ import annotations

import json
import re

from ocrslim.tasks.detection import labels as detection
from ocrslim.tasks.values import Label

FORMAT = 'NAME<TAB>text, or NAME<TAB>[{"transcription": "text", "points": [[x, y], ...]}, ...]'
_BOXES = re.compile(r'\[\s*\{.*"points"', re.DOTALL)


def parse_text(text: str) -> Label:
    """Read the text of an image; a text without a character does not count."""
    return Label(text, care=int(bool(text.strip())))


def parse_line(text: str) -> list[Label]:
    """Read a text, or one label for each box with a text that counts.

    Raises:
        ValueError: the form of boxes, but not all that belongs to it.
    """
    if text.strip() != "[]" and not _BOXES.match(text.strip()):
        return [parse_text(text)]
    page = detection.parse_boxes(text)
    labels, tiny = [], page.tiny
    for box in json.loads(page.text):
        words = box["transcription"]
        if words not in detection.DONT_CARE and words.strip():
            outline = tuple((float(x), float(y)) for x, y in box["points"])
            labels.append(Label(words, outline=outline, tiny=tiny))
            tiny = 0  # told once a page
    return labels
