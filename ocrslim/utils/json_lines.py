"""Files of JSON lines that are only appended to: a kill costs at most the line that it interrupts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ocrslim.utils.files import open_to_append
from ocrslim.utils.input_files import GIB, MIB, open_regular

_MOST_BYTES, _LONGEST = GIB, 64 * MIB  # bytes of a file, and of one of its lines
_BLOCK = MIB


class JsonLines:
    """A file with a JSON object on each line; every line is on the disk when `append` returns.

    Methods raise `OSError`, so that each caller can say what the file is and what to do.
    """

    def __init__(self, path: Path, ascii_only: bool = False):
        """
        Args:
            ascii_only: write other characters as JSON's escapes.
        """
        self.path = path
        self._ascii_only = ascii_only

    def append(self, value: Mapping[str, Any]) -> None:
        """Add one line; the file is made where it is missing."""
        with open_to_append(self.path) as stream:
            stream.write((json.dumps(value, ensure_ascii=self._ascii_only) + "\n").encode("utf-8"))
            os.fsync(stream.fileno())

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines, unparsed; a last line that a kill cut off is passed over.

        Raises:
            ValueError: the file, or one of its lines, is too long.
        """
        with open_regular(self.path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > _MOST_BYTES:
                raise ValueError(f"it has {size:,} bytes, expected at most {_MOST_BYTES:,}")
            while (line := stream.readline(_LONGEST)).endswith(b"\n"):
                yield line
            if len(line) == _LONGEST:
                raise ValueError(f"a line of more than {_LONGEST:,} bytes")

    def cut_at_last_line(self) -> int:
        """Truncate the file behind its last whole line; return its size. A missing file is created."""
        with open_to_append(self.path) as stream:
            end = whole = stream.seek(0, os.SEEK_END)
            while whole and not (found := _last_line_end(stream, whole)):
                whole -= min(whole, _BLOCK)
            whole = found if whole else 0
            if whole < end:
                stream.truncate(whole)
            return whole


def _last_line_end(stream: IO[bytes], end: int) -> int:
    """Position behind the last line that ends within the `_BLOCK` bytes before `end`; 0 where none does."""
    start = max(0, end - _BLOCK)
    stream.seek(start)
    at = stream.read(end - start).rfind(b"\n") + 1
    return start + at if at else 0
