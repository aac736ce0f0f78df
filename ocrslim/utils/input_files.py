"""Reading files that somebody else made: regular files only, of bounded size, and JSON of bounded depth.

Everything here raises `OSError` (whose `strerror` says what is wrong) or `ValueError`, never anything else, so that
each caller can add what the file was expected to be and what to do next.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from ocrslim.utils.text import shortened

MIB = 1 << 20
GIB = 1 << 30
MAX_JSON_DEPTH = 100
MAX_PIXELS = 2 * 89_478_485  # Pillow's own limit, beyond which it takes a small file for a decompression bomb

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading; links are followed, everything else is refused before it is opened.

    Raises:
        OSError: missing, not permitted, or no regular file: a folder, a named pipe, a socket or a device.
    """
    try:
        _require_regular(Path(path).stat().st_mode, path)
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError:  # a NUL, or a character that the file system's encoding lacks
        raise OSError(errno.EINVAL, "the path has a character that no path can have", repr(str(path))) from None
    try:
        _require_regular(os.fstat(handle).st_mode, path)  # it may have been replaced in between
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_file(path: Path | str, most: int) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`; or the file is larger.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(most + 1) if size <= most else b""
    if size > most or len(data) > most:
        raise OSError(errno.EINVAL, f"it has {size:,} bytes, expected at most {most:,}", str(path))
    return data


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that others wrote.

    Raises:
        ValueError: not JSON, not UTF-8, nested more than `MAX_JSON_DEPTH` deep, a number that no float can hold, or
            text with half a character (a lone surrogate), which could not be written to any file.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = json.loads(text, parse_float=_finite, parse_int=_bounded, parse_constant=_finite)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_JSON_DEPTH} deep") from None
    _require_plain(value)
    return value


def _require_plain(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"nested more than {MAX_JSON_DEPTH} deep")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str) and not item.isascii():
                item.encode("utf-8")  # UnicodeEncodeError is a ValueError
        level, depth = inner, depth + 1


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shortened(text)} is not a finite number")
    return number


def _bounded(text: str) -> int:
    if len(text) > 310:
        raise ValueError(f"a number of {len(text)} digits")
    number = int(text)
    _finite(text)
    return number


def _require_regular(mode: int, path: Path | str) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((name for test, name in _KINDS if test(mode)), "something else")
    raise OSError(errno.EINVAL, f"it is {kind}, expected a regular file", str(path))
