"""The names that a pickle may use, and their replacements: NumPy's arrays, built here from their bytes.

NumPy's own functions are never called with what a pickle holds. A forged data type, whose state says "objects" and
"nothing to look after", makes NumPy take raw bytes for pointers. Here an array is its shape, a data type of a short
list, and as many bytes as these two ask for.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ocrslim.utils import shortened

_TYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
_ORDERS = {"<": "<", ">": ">", "|": "=", "=": "="}
_MOST_AXES, _MOST_BYTES = 32, 1 << 62
# What NumPy writes behind version and byte order: no subarray, names, fields, sizes of its own or flags.
_TYPE_STATE = (None, None, None, -1, -1, 0)


class Refused(pickle.UnpicklingError):
    """A pickle asks for something that is not admitted."""


@dataclass(frozen=True)
class Maker:
    """A function or class that a pickle may name.

    Attributes:
        name: as the pickle has it, with its module.
        call: what calling it makes; None for what is only handed on.
        least, most: how many arguments it takes.
    """

    name: str
    call: Callable[..., Any] | None = None
    least: int = 0
    most: int = 0

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        """Make what the pickle asks for.

        Raises:
            Refused: it may not be called, or not with these arguments.
        """
        if self.call is None or not self.least <= len(arguments) <= self.most:
            raise Refused(f"it calls {self.name} with {len(arguments)} arguments")
        return self.call(*arguments)


@dataclass
class PendingType:
    """A data type; `found` is None until its byte order is known."""

    code: str
    found: np.dtype | None = None

    def build(self, state: Any) -> PendingType:
        """Take the byte order from `state`, and require that the rest is empty.

        Raises:
            Refused: a state that NumPy does not write for a numeric type.
        """
        if type(state) is not tuple or len(state) != 8 or self.found is not None:
            raise Refused(f"a data type {self.code} with a state of another form than NumPy's")
        version, order, *rest = state
        if not _is_int(version, 3) or type(order) is not str or order not in _ORDERS:
            raise Refused(f"a data type {self.code} without version or byte order")
        if not all(type(found) is type(value) and found == value for found, value in zip(rest, _TYPE_STATE)):
            raise Refused(f"a data type {self.code} whose state is not that of numbers")
        self.found = np.dtype(_ORDERS[order] + self.code)
        return self


@dataclass(eq=False)
class PendingArray:
    """An array that has no content yet; `places` are where the memo holds it."""

    places: list[int] = field(default_factory=list)

    def build(self, state: Any) -> np.ndarray:
        """Make the array of NumPy's state: version, shape, data type, whether in Fortran's order, bytes.

        Raises:
            Refused: any other state, or bytes that are not as many as shape and type ask for.
        """
        if type(state) is not tuple or len(state) != 5 or not _is_int(state[0], 1):
            raise Refused("an array with a state of another form than NumPy's")
        _, shape, dtype, fortran, data = state
        if type(fortran) not in (bool, int):
            raise Refused("an array whose order is neither C nor Fortran")
        if type(data) is str:  # written by Python 2
            data = _encode(data, "latin1")
        return _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if type(dtype) is not PendingType or dtype.found is None or type(order) is not str or order not in ("C", "F"):
        raise Refused("an array without a data type or an order")
    if type(shape) is not tuple or len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise Refused("an array whose shape is no shape")
    size = dtype.found.itemsize
    if math.prod(n or 1 for n in shape) * size > _MOST_BYTES:
        raise Refused("an array larger than any memory")
    expected = math.prod(shape) * size
    if type(data) is not bytes or len(data) != expected:
        found = f"{len(data):,} bytes" if type(data) is bytes else f"a {type(data).__name__}"
        raise Refused(
            f"an array of shape {shortened(str(list(shape)))} and type {dtype.code} with {found}, "
            f"expected {expected:,} bytes"
        )
    values = np.frombuffer(data, dtype.found) if expected else np.zeros(0, dtype.found)
    return values.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> PendingArray:
    if kind is not _NDARRAY or type(shape) is not tuple or type(code) not in (bytes, str):
        raise Refused("it reconstructs something else than an array")
    return PendingArray()  # shape and code are those of an empty array, which its state replaces


def _type(code: Any, aligned: Any = False, copied: Any = True) -> PendingType:
    if type(code) is not str or code not in _TYPES or {type(aligned), type(copied)} - {bool, int}:
        found = ascii(code[:20]) if type(code) is str else f"a {type(code).__name__}"
        raise Refused(f"it has the data type {found}, expected one of {', '.join(sorted(_TYPES))}")
    return PendingType(code)


def _encode(text: Any, encoding: Any) -> bytes:
    """Make bytes, which protocols without a bytes type pickle as text."""
    if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
        raise Refused("it encodes text otherwise than as latin1")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise Refused("it encodes text that is not latin1") from None


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """Make an OrderedDict, which Python 2 pickled with its items."""
    if type(pairs) not in (list, tuple):
        raise Refused("an OrderedDict of something else than pairs")
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2 or not is_key(pair[0]):
            raise Refused("an OrderedDict of something else than pairs")
    return dict(pairs)


def is_key(value: Any) -> bool:
    """Tell whether `value` may be the key of a dictionary: it is hashed and compared in bounded time.

    Integers of any size are refused: a file could hold any number of them with the same hash.
    """
    if type(value) is int:
        return value.bit_length() < 64
    return value is None or type(value) in (str, bytes, float, bool)


def _tuple(items: Any) -> tuple[Any, ...]:
    """Paddle's (name, array) of a tensor outside a state dict."""
    if type(items) is not tuple:
        raise Refused("a tuple of something else than a tuple")
    return items


def _is_int(value: Any, expected: int) -> bool:
    return type(value) is int and value == expected


def _makers() -> Iterator[Maker]:
    yield _NDARRAY
    yield Maker("collections.OrderedDict", _ordered, 0, 1)
    yield Maker("_codecs.encode", _encode, 2, 2)
    yield Maker("numpy.dtype", _type, 1, 3)
    for core in ("numpy.core", "numpy._core"):  # NumPy 2 renamed it
        yield Maker(f"{core}.multiarray._reconstruct", _reconstruct, 3, 3)
        yield Maker(f"{core}.numeric._frombuffer", _array, 4, 4)
    for builtins in ("builtins", "__builtin__"):  # protocols below 3 write Python 2's name
        yield Maker(f"{builtins}.bytes", bytes, 0, 0)
        yield Maker(f"{builtins}.tuple", _tuple, 1, 1)


_NDARRAY = Maker("numpy.ndarray")
MAKERS: Mapping[str, Maker] = {maker.name: maker for maker in _makers()}
