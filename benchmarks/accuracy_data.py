"""Label files of the accuracy benchmark: what is trained on, what choices are made by, what is scored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED = "../shared/data"  # from the top of the repository
HELD_BACK = 5  # of icdar2015/train.txt every so-manieth image is held back for tables, selection and early stopping


@dataclass(frozen=True)
class Labels:
    """Label files of a data set.

    Attributes:
        train: what networks are calibrated and trained on.
        select: for tables, selection and early stopping.
        test: what final networks are scored on; given to `score` alone.
        one: one image of `select`, where an evaluation is of no use.
    """

    train: Path
    select: Path
    test: Path
    one: Path


def labels_of(data: str, out: Path, repo: Path, images: int | None = None) -> Labels:
    """Label files of a data set, written to `out` where they are parts of one.

    ICDAR 2015 has no test images here: its `val.txt` is taken for them, and every fifth training image held back.
    `sroie/test.txt` is named, not read.

    Args:
        images: the first so many of each, to try things; then test images are others of the images held back.
    """
    source, target = (repo / SHARED / data).resolve(), out / "labels"
    if data == "sroie":
        train, select, test = (source / f"{name}.txt" for name in ("train", "val", "test"))
    else:
        lines = _lines(source / "train.txt")
        train = _write(target / f"{data}_train.txt", [line for i, line in enumerate(lines) if i % HELD_BACK])
        select = _write(target / f"{data}_select.txt", lines[::HELD_BACK])
        test = source / "val.txt"
    if images is not None:
        held = _lines(select)
        train = _write(target / f"{data}_train{images}.txt", _lines(train)[:images])
        test = _write(target / f"{data}_test{images}.txt", held[-images:])
        select = _write(target / f"{data}_select{images}.txt", held[:images])
    return Labels(train, select, test, _write(target / f"{data}_one.txt", _lines(select)[:1]))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def _write(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return path
