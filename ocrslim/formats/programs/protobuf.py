"""Protocol buffers from elsewhere: counted before they are parsed, as two bytes can become a message of hundreds."""

from __future__ import annotations

from typing import Any, TypeVar

from ocrslim.formats.faults import FormatFault

MOST_VALUES = 1_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}

Message = TypeVar("Message")


def parse_message(kind: type[Message], data: bytes) -> Message:
    """Parse `data` as a message of the generated class `kind`.

    Raises:
        FormatFault: truncated or damaged; a required field is missing; more than `MOST_VALUES` values.
    """
    from google.protobuf.message import DecodeError

    message: Any = kind()
    _require_bounded(data, message.DESCRIPTOR)
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError):
        raise FormatFault("it is truncated or damaged") from None
    if not message.IsInitialized():
        raise FormatFault(f"it is damaged: {message.FindInitializationErrors()[0]} is missing")
    return message


def _require_bounded(data: bytes, descriptor: Any) -> None:
    """Count what `data` would become, message by message; what holds text or numbers of fixed size grows no larger."""
    left = MOST_VALUES
    waiting = [(0, len(data), descriptor)]
    fields: dict[str, dict[int, Any]] = {}
    while waiting:
        place, end, kind = waiting.pop()
        known = fields.setdefault(kind.full_name, {field.number: field for field in kind.fields})
        while place < end:
            key, place = _varint(data, place, end)
            number, wire = key >> 3, key & 7
            start, size, place = _value(data, place, end, wire)
            field = known.get(number)
            left -= 1
            if wire == _BYTES and field is not None:
                if field.message_type is not None:
                    waiting.append((start, start + size, field.message_type))
                elif field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64, field.CPPTYPE_ENUM):
                    left -= size  # many numbers in one field, each of a byte or more
            if left < 0:
                raise FormatFault(f"it has more than {MOST_VALUES:,} values")


def _value(data: bytes, place: int, end: int, wire: int) -> tuple[int, int, int]:
    """Return the offset of a field's value, its size, and the offset behind it."""
    if wire == _VARINT:
        _, after = _varint(data, place, end)
        return place, after - place, after
    if wire == _BYTES:
        size, place = _varint(data, place, end)
    elif wire in _SIZES:
        size = _SIZES[wire]
    else:
        raise FormatFault("it is truncated or damaged")
    if place + size > end:
        raise FormatFault("it is truncated or damaged")
    return place, size, place + size


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise FormatFault("it is truncated or damaged")
