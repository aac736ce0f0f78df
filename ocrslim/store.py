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
from typing import IO

import numpy as np

logger = logging.getLogger(__name__)

GIB = 1 << 30


@dataclass(frozen=True)
class _Spilled:
    offset: int
    shapes: tuple[tuple[int, ...], ...]


class ArrayStore:
    """Lists of float32 arrays by key; to be used by several threads.

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
        """The arrays under `key`, not to be written to; None where they were not kept."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        spilled = self._spilled.get(key)
        return None if spilled is None else list(self._read(spilled))

    def clear(self) -> None:
        """Forget everything and give the memory back; the file's place is used again."""
        with self._lock:
            self._kept.clear()
            self._spilled.clear()
            self.in_memory = self._end = 0
            self._full = self._folder is None

    def _spill(self, key: Hashable, arrays: Sequence[np.ndarray]) -> None:
        if self._full:
            return
        offset = self._end
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".cache.")  # noqa: SIM115  # lives as long as the store
            for array in arrays:
                self._append(np.ascontiguousarray(array).data.cast("B"))
        except OSError as error:
            self._end, self._full = offset, True
            logger.warning("%s: no room for the cache (%s): what is missing is computed again", self._folder, error)
            return
        self._spilled[key] = _Spilled(offset, tuple(array.shape for array in arrays))

    def _append(self, data: memoryview) -> None:
        assert self._file is not None
        while data:  # a disk that becomes full takes a part before it refuses
            written = os.pwrite(self._file.fileno(), data, self._end)
            self._end += written
            data = data[written:]

    def _read(self, spilled: _Spilled) -> list[np.ndarray]:
        assert self._file is not None
        arrays, offset = [], spilled.offset
        for shape in spilled.shapes:
            size = 4 * math.prod(shape)
            data = os.pread(self._file.fileno(), size, offset)
            arrays.append(np.frombuffer(data, np.float32).reshape(shape))
            offset += size
        return arrays
