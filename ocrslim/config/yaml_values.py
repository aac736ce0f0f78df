"""YAML scalars -> plain values, one function for each tag; none raises anything but `ValueError`.

PyYAML's own constructors are not used: they raise what they like for what an explicit tag can make of a text
(`!!int` of nothing, `!!float` of words), and take numbers in base 60 of any length apart in quadratic time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from ocrslim.utils import MAX_TEXT, shortened, text_fault

TAG = "tag:yaml.org,2002:"
_QUOTES = "put text in quotes"
_FOREIGN = {
    "timestamp": "a date",
    "binary": "bytes",
    "set": "a set",
    "omap": "a list of pairs",
    "pairs": "pairs",
}
_BOOLEANS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0[xX][0-9a-fA-F_]+|0b[01_]+)")
_LARGEST = 2**63 - 1  # what 64 bits hold, as in NumPy, Paddle and most readers of JSON


def tag_fault(node: yaml.Node) -> str | None:
    """Describe the fault of a node's tag, written or implied by the text; None without a fault."""
    kind, scalar = node.tag.removeprefix(TAG), isinstance(node, yaml.ScalarNode)
    if kind in _FOREIGN:
        return f"{_excerpt(node.value) if scalar else 'this'} is read as {_FOREIGN[kind]}; {_QUOTES}"
    known = (*_SCALARS, "seq", "map")
    fitting = tuple(_SCALARS) if scalar else ("map",) if isinstance(node, yaml.MappingNode) else ("seq",)
    if kind in fitting:
        return None
    tag = shortened(node.tag.replace(TAG, "!!"))
    if kind in known:
        return f"the tag {tag} does not fit what follows it; leave it out"
    return f"the tag {tag} is refused and was not run; expected plain values only"


def scalar_value(node: yaml.ScalarNode) -> Any:
    """Return the value of a scalar whose tag has no `tag_fault`.

    Raises:
        ValueError: the text does not fit the tag, or no program could use the value; the message says which.
    """
    fault = text_fault(node.value)
    if fault:
        raise ValueError(f"the text {_excerpt(node.value)} {fault}")
    return _SCALARS[node.tag.removeprefix(TAG)](node.value)


def _nothing(text: str) -> None:
    if text.lower() not in ("", "~", "null"):
        raise ValueError(f"the tag !!null does not fit {_excerpt(text)}; {_QUOTES}")


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"the tag !!bool does not fit {_excerpt(text)}; expected true or false")
    return _BOOLEANS[text.lower()]


def _integer(text: str) -> int:
    if ":" in text:
        raise ValueError(f"{_excerpt(text)} is read as a number in base 60; {_QUOTES}")
    if not _INTEGER.fullmatch(text):
        octal = "leave out the zeros in front, or " if re.fullmatch(r"[-+]?0[0-9_]+", text) else ""
        raise ValueError(f"{_excerpt(text)} is no decimal whole number; {octal}{_QUOTES}")
    digits = text.replace("_", "")
    value = int(digits, 0) if len(digits) < 80 else _LARGEST + 1
    if abs(value) > _LARGEST:
        raise ValueError(f"{_excerpt(text)} is a number beyond 64 bits")
    return value


def _real(text: str) -> float:
    if ":" in text:
        raise ValueError(f"{_excerpt(text)} is read as a number in base 60; {_QUOTES}")
    try:
        value = float(text.replace("_", ""))
    except ValueError:  # .nan and .inf are YAML's own spellings
        finite = text.lower().lstrip("+-") not in (".nan", ".inf")
        raise ValueError(f"{_excerpt(text)} is {'no number' if finite else 'not a finite number'}") from None
    if not math.isfinite(value):
        raise ValueError(f"{_excerpt(text)} is not a finite number")
    return value


def _text(text: str) -> str:
    return text


def _excerpt(text: str) -> str:
    return shortened(repr(text[:MAX_TEXT]))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "null": _nothing,
    "bool": _boolean,
    "int": _integer,
    "float": _real,
    "str": _text,
    "value": _text,  # a lone `=`
    "merge": _text,  # a lone `<<` that is no key
}
