"""Pickles put together opcode by opcode, as no honest program would write them.

Each function returns a part (opcodes that leave one value on the stack); `whole` makes a file of a part.
"""

from __future__ import annotations

import struct

from .verdict import MARKER

SHELL = f"touch {MARKER}"
PYTHON = f"open({MARKER!r}, 'w').close()"
NONE, TRUE, FALSE, EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT = b"N", b"\x88", b"\x89", b")", b"]", b"}"
DUP, REDUCE, BUILD, STOP, MARK, POP = b"2", b"R", b"b", b".", b"(", b"0"


def whole(part: bytes, protocol: int = 2) -> bytes:
    """A pickle of one value."""
    return b"\x80" + bytes([protocol]) + part + STOP


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def raw(value: bytes) -> bytes:
    """Bytes, by the opcode of protocol 3."""
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def real(value: float) -> bytes:
    return b"G" + struct.pack(">d", value)


def tuple_of(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"t"


def list_of(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"l"


def dict_of(**parts: bytes) -> bytes:
    return pairs(*((text(key), value) for key, value in parts.items()))


def pairs(*items: tuple[bytes, bytes]) -> bytes:
    """A dictionary whose keys are parts too."""
    return MARK + b"".join(key + value for key, value in items) + b"d"


def name(module: str, what: str) -> bytes:
    """A global, by the opcode GLOBAL."""
    return b"c" + module.encode() + b"\n" + what.encode() + b"\n"


def stacked_name(module: str, what: str) -> bytes:
    """A global, by the opcode STACK_GLOBAL of protocol 4."""
    return text(module) + text(what) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + REDUCE


def built(value: bytes, state: bytes) -> bytes:
    return value + state + BUILD


def dtype(kind: str, *state: bytes) -> bytes:
    """A NumPy dtype as genuine pickles have it, with a state of our own if one is given."""
    made = call(name("numpy", "dtype"), text(kind), FALSE, TRUE)
    return built(made, tuple_of(*state)) if state else made


def plain_dtype(kind: str = "f4") -> bytes:
    """A dtype with the state that NumPy writes."""
    return dtype(kind, number(3), text("<"), NONE, NONE, NONE, number(-1), number(-1), number(0))


def object_dtype() -> bytes:
    """The dtype of objects whose state denies that it holds any: bytes are then taken for pointers."""
    return dtype("O8", number(3), text("|"), NONE, NONE, NONE, number(-1), number(-1), number(0))


def empty_array(module: str = "numpy.core.multiarray") -> bytes:
    return call(name(module, "_reconstruct"), name("numpy", "ndarray"), tuple_of(number(0)), raw(b"b"))


def array(shape: bytes, kind: bytes, data: bytes, *, version: int = 1, module: str = "numpy.core.multiarray") -> bytes:
    """An array with any state: shape and dtype are parts, data the opcode of what stands for its bytes."""
    return built(empty_array(module), tuple_of(number(version), shape, kind, FALSE, data))


def doubled(part: bytes, times: int = 60) -> bytes:
    """Tuples in tuples, each holding the one before twice: 2^times leaves in a few bytes."""
    return part + (DUP + b"\x86") * times


def nested(depth: int, opener: bytes = EMPTY_LIST, closer: bytes = b"a") -> bytes:
    """Lists in lists."""
    return opener * depth + closer * (depth - 1)
