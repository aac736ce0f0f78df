"""Arrays kept in memory up to a limit, and in a file beyond it."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Spilled:
    offset: int
    forms: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]  # type and shape of each array

    @property
    def size(self) -> int:
        return sum(dtype.itemsize * math.prod(shape) for dtype, shape in self.forms)


class ArrayStore:
    """Lists of arrays by key; to be used by several threads.

    What does not fit into memory goes to a file without a name, which the system removes with the process,
    however that ends. What does not fit there either is not kept.
    """

    def __init__(self, memory: int, folder: Path | None):
        """
        Args:
            memory: bytes to keep in memory.
            folder: gets the file, once it is needed; None for no file.
        """
        self._memory = memory
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: dict[Hashable, list[np.ndarray]] = {}
        self._spilled: dict[Hashable, _Spilled] = {}
        self._file: IO[bytes] | None = None
        self._end = 0
        self._free: list[tuple[int, int]] = []  # first and last + 1 byte of what is not used any longer, ascending
        self._full = folder is None
        self.in_memory = 0

    @property
    def on_disk(self) -> int:
        """Bytes in the file."""
        return self._end

    def put(self, key: Hashable, arrays: Sequence[np.ndarray]) -> None:
        """Keep `arrays`, if there is room anywhere."""
        size = sum(array.nbytes for array in arrays)
        with self._lock:
            if key in self._kept or key in self._spilled:
                return
            if self.in_memory + size <= self._memory:
                self._kept[key] = list(arrays)
                self.in_memory += size
            else:
                self._spill(key, arrays)

    def get(self, key: Hashable) -> list[np.ndarray] | None:
        """Return the arrays under `key`, not to be written to; None where they were not kept."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        spilled = self._spilled.get(key)
        return None if spilled is None else list(self._read(spilled))

    def take(self, key: Hashable) -> list[np.ndarray] | None:
        """Return the arrays under `key`, which are not kept any longer; their place is used again."""
        arrays = self.get(key)
        with self._lock:
            kept, spilled = self._kept.pop(key, None), self._spilled.pop(key, None)
            if kept is not None:
                self.in_memory -= sum(array.nbytes for array in kept)
            if spilled is not None:
                self._release(spilled.offset, spilled.offset + spilled.size)
        return arrays

    def _spill(self, key: Hashable, arrays: Sequence[np.ndarray]) -> None:
        spilled = _Spilled(
            self._place(sum(array.nbytes for array in arrays)), tuple((array.dtype, array.shape) for array in arrays)
        )
        if self._full and spilled.offset == self._end:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".cache.")  # noqa: SIM115  # lives as long as the store
            offset = spilled.offset
            for array in arrays:
                offset = self._write(np.ascontiguousarray(array).data.cast("B"), offset)
        except OSError as error:
            self._full = True
            logger.warning("%s: no room for the cache (%s): what is missing is computed again", self._folder, error)
            return
        self._end = max(self._end, offset)
        self._spilled[key] = spilled

    def _place(self, size: int) -> int:
        """Choose the offset for `size` bytes: the first gap that is large enough, or the end."""
        for at, (start, stop) in enumerate(self._free):
            if stop - start >= size:
                self._free[at : at + 1] = [(start + size, stop)] if stop - start > size else []
                return start
        return self._end

    def _release(self, start: int, stop: int) -> None:
        """Let bytes be used again, together with the gaps beside them."""
        gaps = sorted([*self._free, (start, stop)])
        self._free = gaps[:1]
        for start, stop in gaps[1:]:
            if start == self._free[-1][1]:
                self._free[-1] = self._free[-1][0], stop
            else:
                self._free.append((start, stop))

    def _write(self, data: memoryview, offset: int) -> int:
        """Write all of `data`; return the offset behind it."""
        assert self._file is not None
        while data:  # a disk that becomes full takes a part before it refuses
            written = os.pwrite(self._file.fileno(), data, offset)
            offset += written
            data = data[written:]
        return offset

    def _read(self, spilled: _Spilled) -> list[np.ndarray]:
        assert self._file is not None
        arrays, offset = [], spilled.offset
        for dtype, shape in spilled.forms:
            size = dtype.itemsize * math.prod(shape)
            data = os.pread(self._file.fileno(), size, offset)
            arrays.append(np.frombuffer(data, dtype).reshape(shape))
            offset += size
        return arrays
