"""The one reader of pickles: containers, strings, numbers and NumPy arrays, and nothing is ever executed.

The standard library's `pickletools` splits a pickle into instructions; what they do is written here. So there is no
instruction that is not in `_MEANING`, nothing is called but the makers of `pickled_arrays`, and nothing is built but
its arrays. A pickle costs no more than its size: instructions, nesting, and what is made or said twice are limited.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ocrslim.formats.nesting import MOST_BYTES, require_bounded
from ocrslim.formats.pickles.arrays import MAKERS, Maker, PendingArray, PendingType, Refused, is_key
from ocrslim.utils import open_regular, shortened

MOST_INSTRUCTIONS = 2_000_000
_MOST_PROTOCOL = 5
_INSTRUCTIONS = {instruction.code: instruction for instruction in pickletools.opcodes}
_MOST_DIGITS = 150
_MOST_INTEGER = 64  # bytes


def unpickle_plain(source: bytes | BinaryIO) -> Any:
    """Unpickle containers, strings and numbers; raises `pickle.UnpicklingError` for anything else."""
    return _unpickle(source, {})


def unpickle_arrays(source: bytes | BinaryIO) -> Any:
    """Unpickle containers, strings, numbers and NumPy arrays, which are read-only.

    Raises:
        pickle.UnpicklingError: it is damaged, larger than any genuine file, or has anything else in it.
    """
    return _unpickle(source, MAKERS)


def read_pickle(path: Path | str, most: int = MOST_BYTES, arrays: bool = True) -> Any:
    """Unpickle a file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`.
        pickle.UnpicklingError: as `unpickle_arrays`; or it is larger.
    """
    with open_regular(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size > most:
            raise Refused(f"it has {size:,} bytes, expected at most {most:,}")
        return unpickle_arrays(stream) if arrays else unpickle_plain(stream)


def _unpickle(source: bytes | BinaryIO, makers: Mapping[str, Maker]) -> Any:
    found = _Machine(_Source(BytesIO(source) if isinstance(source, bytes) else source), makers).run()
    require_bounded(found)
    return found


class _Source:
    """The bytes of a pickle; `taken` of them have been read."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        start = stream.tell()
        self._size = stream.seek(0, 2) - start
        stream.seek(start)
        self.taken = 0

    def read(self, count: int) -> bytes:
        """Read like a stream, without allocating memory for bytes that are missing."""
        if count > self._size - self.taken:
            raise ValueError("it ends too early")
        self.taken += count
        return self._stream.read(count)

    def readline(self, most: int = -1) -> bytes:
        line = self._stream.readline(most)
        self.taken += len(line)
        return line


class _Machine:
    """A stack and a memo, as `pickle` has them.

    Attributes:
        stack: the values; `marks` are the places in it where groups of them begin.
    """

    def __init__(self, source: _Source, makers: Mapping[str, Maker]):
        self._source = source
        self._makers = makers
        self._memo: dict[int, Any] = {}
        self._made = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []

    def run(self) -> Any:
        """Return the value that the pickle describes.

        Raises:
            Refused: it cannot be admitted.
            pickle.UnpicklingError: it is damaged.
        """
        try:
            for _ in range(MOST_INSTRUCTIONS):
                name, argument = self._next()
                if name == "STOP":
                    return self._only_value()
                _MEANING[name](self, argument)
        except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
            reason = shortened(ascii(str(error))[1:-1], 80) or type(error).__name__
            raise pickle.UnpicklingError(f"it is truncated or damaged ({reason})") from None
        raise Refused(f"it has more than {MOST_INSTRUCTIONS:,} instructions")

    def _next(self) -> tuple[str, Any]:
        code = self._source.read(1).decode("latin1")
        instruction = _INSTRUCTIONS.get(code)
        if instruction is None:
            raise ValueError(f"no instruction {code!a}")
        name = instruction.name
        if name not in _MEANING and name != "STOP":
            raise Refused(f"it has the instruction {name}, which weights and tables do not need")
        if name in ("INT", "LONG", "GET", "PUT"):  # `pickletools` would read a number of any length
            return name, _number(self._source.readline(_MOST_DIGITS))
        if instruction.arg is None:
            return name, None
        return name, instruction.arg.reader(cast("IO[bytes]", self._source))  # it reads and reads lines, no more

    def _only_value(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise ValueError(f"{len(self.stack)} values are left at its end")
        return self.stack[0]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Take the last `count` values since the mark."""
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - count < floor:
            raise ValueError("values are missing")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def marked(self) -> list[Any]:
        """Take the values since the last mark, and the mark."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def keep(self, place: Any) -> None:
        """Put the last value into the memo."""
        value = self.stack[-1]
        if type(value) is PendingArray:
            value.places.append(place)
        self._memo[place] = value

    def keep_next(self, _: Any) -> None:
        self.keep(len(self._memo))

    def get(self, place: Any) -> None:
        self.push(self._memo[place])

    def name(self, module: Any, name: Any) -> None:
        """Push the maker of that name; the others are refused."""
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is no text")
        wanted = f"{module}.{name}"
        if wanted not in self._makers:
            raise Refused(f"it refers to {ascii(wanted)[1:-1][:80]}")
        self.push(self._makers[wanted])

    def call(self, _: Any) -> None:
        maker, arguments = self.pop(2)
        if type(maker) is not Maker or type(arguments) is not tuple:
            raise Refused("it calls something that is no function")
        self._spend(sum(len(value) for value in arguments if type(value) in (str, bytes, list)))
        self.push(maker(arguments))

    def build(self, _: Any) -> None:
        pending, state = self.pop(2)
        if type(pending) is PendingType:
            self.push(pending.build(state))
        elif type(pending) is PendingArray:
            made = pending.build(state)
            self._spend(made.nbytes)
            self._memo.update(dict.fromkeys(pending.places, made))
            self.push(made)
        else:
            raise Refused(f"it sets the state of a {type(pending).__name__}")

    def _spend(self, size: int) -> None:
        """Refuse a pickle that expands few bytes to much by repeating one object."""
        self._made += size
        if self._made > 2 * self._source.taken:  # text made bytes, and bytes an array
            raise Refused("it makes more values than it holds")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Refused(f"it puts entries into a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2]):
            if not is_key(key):
                raise Refused(f"a dictionary with a {type(key).__name__} for a key")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused(f"it appends to a {type(target).__name__}")
        target.extend(items)

    def dictionary(self, items: list[Any]) -> None:
        self.push({})
        self.set_items(items)

    def protocol(self, number: int) -> None:
        if number > _MOST_PROTOCOL:
            raise ValueError(f"protocol {number}")

    def long(self, number: int) -> None:
        if number.bit_length() > 8 * _MOST_INTEGER:
            raise Refused(f"a number of {number.bit_length():,} bits")
        self.push(number)


def _number(line: bytes) -> int:
    """Parse a number in decimal digits; 00 and 01 are False and True."""
    text = line.decode("ascii")
    if len(text) == _MOST_DIGITS:
        raise Refused(f"a number of {_MOST_DIGITS} digits or more")
    if not text.endswith("\n"):
        raise ValueError("it ends too early")
    return text == "01\n" if text in ("00\n", "01\n") else int(text.rstrip("\nL"))


_Meaning = Callable[[_Machine, Any], None]
_MEANING: Mapping[str, _Meaning] = {
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    **dict.fromkeys(("INT", "LONG", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("LONG1", "LONG4"), _Machine.long),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"), _Machine.push),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine.push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), _Machine.push),
    "BYTEARRAY8": lambda m, data: m.push(bytes(data)),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE": lambda m, _: m.push(tuple(m.marked())),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop(3))),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "LIST": lambda m, _: m.push(m.marked()),
    "APPEND": lambda m, _: m.append(m.pop(1)),
    "APPENDS": lambda m, _: m.append(m.marked()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "DICT": lambda m, _: m.dictionary(m.marked()),
    "SETITEM": lambda m, _: m.set_items(m.pop(2)),
    "SETITEMS": lambda m, _: m.set_items(m.marked()),
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.keep),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "MEMOIZE": _Machine.keep_next,
    "GLOBAL": lambda m, names: m.name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(*m.pop(2)),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "PROTO": _Machine.protocol,
    "FRAME": lambda m, _: None,
}
