"""Values of a file that somebody else may have written, each checked for the type that is expected there.

`Field(content)["layers"]["conv1"]["ratio"].number(0, 1)` is that number, or a `ValueError` that says where which
value stands in place of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ocrslim.utils.text import shortened

MOST = 1 << 53  # beyond it floats have gaps, and nothing that is counted here comes near


@dataclass(frozen=True)
class Field:
    """A value and its place in the file, such as `history[3].step`; empty for the whole of it."""

    value: Any
    place: str = ""

    def __getitem__(self, key: str) -> Field:
        """An entry of a dictionary.

        Raises:
            ValueError: this is no dictionary, or it has none of that name.
        """
        if key not in self.mapping():
            raise ValueError(f"{self._inner(key)} is missing")
        return Field(self.value[key], self._inner(key))

    def __contains__(self, key: str) -> bool:
        return key in self.mapping()

    def mapping(self) -> dict[str, Any]:
        """Return the value, a dictionary with texts as keys."""
        if not isinstance(self.value, dict) or not all(isinstance(key, str) for key in self.value):
            raise self.fault("a dictionary with texts as keys")
        return self.value

    def items(self) -> Iterator[tuple[str, Field]]:
        """The entries of a dictionary."""
        for key, value in self.mapping().items():
            yield key, Field(value, self._inner(key))

    def list(self, most: int = MOST) -> list[Field]:
        """Return the entries of a list of at most `most`."""
        if not isinstance(self.value, (list, tuple)) or len(self.value) > most:
            raise self.fault("a list" if most == MOST else f"a list of at most {most}")
        return [Field(value, f"{self.place}[{index}]") for index, value in enumerate(self.value)]

    def whole(self, least: int = 0, most: int = MOST) -> int:
        """Return a whole number in a range."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not least <= self.value <= most:
            raise self.fault(f"a whole number from {least}" + (f" to {most}" if most != MOST else " on"))
        return self.value

    def wholes(self, least: int = 0, most: int = MOST) -> Sequence[int]:
        """Return a list of whole numbers in a range; quicker than one by one."""
        if not isinstance(self.value, (list, tuple)):
            raise self.fault("a list")
        if not all(type(number) is int and least <= number <= most for number in self.value):
            raise next(filter(None, (_fault(one, least, most) for one in self.list())))
        return self.value

    def number(self, least: float = -math.inf, most: float = math.inf) -> float:
        """Return a finite number in a range."""
        fits = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        if not fits or not least <= self.value <= most or not _is_finite(self.value):
            limits = "" if math.isinf(least) else f" from {least:g}" + (" on" if math.isinf(most) else f" to {most:g}")
            raise self.fault(f"a finite number{limits}")
        return float(self.value)

    def text(self) -> str:
        """Return a text."""
        if not isinstance(self.value, str):
            raise self.fault("a text")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.fault("true or false")
        return self.value

    def fault(self, expected: str) -> ValueError:
        """Make the error for a value that is not `expected`."""
        return ValueError(f"{shortened(self.place) or 'it'} is {shown(self.value)}, expected {expected}")

    def _inner(self, key: str) -> str:
        name = shortened(key)
        return f"{self.place}.{name}" if self.place else name


def shown(value: Any) -> str:
    """Format `value` for a message: numbers and text as they are, of anything else the type."""
    if isinstance(value, str):
        return json.dumps(shortened(value), ensure_ascii=False)
    if isinstance(value, int) and value.bit_length() > 200:
        return "a whole number of many digits"
    if value is None or isinstance(value, (int, float)):
        return shortened(json.dumps(value))
    known: dict[type, str] = {dict: "a dictionary", list: "a list", tuple: "a list"}
    return known.get(type(value), f"a {type(value).__name__}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _fault(one: Field, least: int, most: int) -> ValueError | None:
    try:
        one.whole(least, most)
    except ValueError as error:
        return error
    return None
