"""SHA-256 of values and arrays, as artifacts record them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def hash_bytes(*parts: bytes) -> str:
    """Return the SHA-256 over `parts`, each with its length in front so that their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def hash_value(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, independent of the order of keys."""
    return hash_bytes(json.dumps(value, sort_keys=True, default=str).encode("utf-8"))


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of named arrays: names, shapes, types and every bit; independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
