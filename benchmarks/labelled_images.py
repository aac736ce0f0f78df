"""Images of a label file, and the lines that its boxes cut out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def labelled(labels: Path, task: str) -> Iterator[tuple[str, Any, str]]:
    """Every image with its label, or the outline of every line with its text."""
    for line in labels.read_text(encoding="utf-8").splitlines():
        name, label = line.split("\t", 1)
        if task == "det":
            yield name, None, label
        else:
            texts = [one for one in json.loads(label) if one["transcription"] not in ("", "###")]
            yield from ((name, one["points"], one["transcription"]) for one in texts)


def place(path: Path, outline: Any, target: Path) -> None:
    """Put an image, or the line within an outline of it, at `target`."""
    import cv2

    from ocrslim.data.samples import cut_out

    if outline is not None:
        cv2.imwrite(str(target), cut_out(cv2.imread(str(path)), outline))
    elif not target.is_symlink():
        target.symlink_to(path.resolve())
