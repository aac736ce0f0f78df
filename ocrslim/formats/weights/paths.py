"""Paths of weight files: completed where the suffix is left out, and errors that say what lies there instead."""

from __future__ import annotations

import difflib
import itertools
import os
import re
from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.utils import listed, open_regular, printable

# `pathlib` makes one slash of two
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


PLAN_SUFFIX = ".plan.json"  # of a pruned checkpoint's plan, in the place of .pdparams
_ENTRIES = 1000  # of a folder, that a missing file's name is compared with


def unreadable(source: object, error: OSError) -> WeightsError:
    """Make the error for weights that cannot be read."""
    return WeightsError(
        f"{printable(source, 300)}: cannot be read: {error.strerror or error}: check the path and its permissions"
    )


def resolve_checkpoint(source: str | Path) -> Path:
    """Return the checkpoint that `source` names, adding `.pdparams` where that is left out.

    Raises:
        WeightsError: no such file, and the message has what lies there instead; or it cannot be read.
    """
    source = Path(source)
    completed = Path(f"{source}.pdparams")
    try:
        if source.suffix == ".pdparams" or not completed.is_file():
            completed = existing_file(source)
    except OSError as error:
        raise unreadable(source, error) from None
    if completed.suffix in (".pdopt", ".states"):
        raise WeightsError(
            f"{completed}: holds the state of an optimiser, expected weights: "
            f"name {completed.with_suffix('.pdparams').name} instead"
        )
    return completed


def existing_file(path: Path) -> Path:
    if path.is_file():
        return path
    if os.path.lexists(path) and not path.is_dir():
        open_regular(path).close()  # says what it is, if it is no file
    if _ADDRESS.match(str(path)):
        raise WeightsError(
            f"{path}: a URL, expected a file: download it, unpack it if it is an archive, and name the file"
        )
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir():
            folder = folder.parent
        where = f"of its folders only {folder} exists, which holds {listing(folder, path.name)}"
    else:
        where = f"{folder} holds {listing(folder, path.name)}"
    raise WeightsError(
        f"{path}: not found{'' if path.suffix else ', with or without .pdparams'}: {where}: "
        "correct the path, or put a checkpoint (.pdparams), an inference folder or an ONNX file there"
    )


def listing(folder: Path, wanted: str, limit: int = 5) -> str:
    """List the entries of `folder` in one line, names most like `wanted` first."""
    entries = itertools.islice(folder.iterdir(), _ENTRIES)
    names = [printable(entry.name) + ("/" if entry.is_dir() else "") for entry in entries]
    names.sort(key=lambda name: (-difflib.SequenceMatcher(None, wanted, name).ratio(), name))
    return listed(names, limit) if names else "nothing"
