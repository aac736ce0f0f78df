"""Text for paths, keys and messages: checks of what the user gave, and short forms that fit one line."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable

MAX_TEXT = 4096  # characters; also the longest path that Linux takes
_LINE_BREAKING = ("Cc", "Zl", "Zp")
_CAUSE = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt): |\([A-Z]\w+\) ")


def text_fault(text: str, most: int = MAX_TEXT) -> str | None:
    """Describe why `text` cannot be a value: a NUL, half a character (a lone surrogate), its length; None if it can."""
    if "\0" in text:
        return "has a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "has half a character (a lone surrogate), which no file can hold"
    if len(text) > most:
        return f"has {len(text):,} characters, expected at most {most:,}"
    return None


def name_fault(text: str) -> str | None:
    """Describe why `text` cannot be a path or a name: as `text_fault`, or a control character such as a line break."""
    if any(unicodedata.category(character) in _LINE_BREAKING for character in text):
        return "has a line break or another control character"
    return text_fault(text)


def path_fault(text: str) -> str | None:
    """Describe why `text` cannot be a path; None if it can, as can names with bytes of another encoding."""
    if not text.strip():
        return "it is empty"
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return "it has a character that no file name can have"
    if b"\0" in encoded:
        return "it has a NUL character"
    return None if len(encoded) <= MAX_TEXT else f"it has {len(encoded):,} bytes, at most {MAX_TEXT:,} are possible"


def shortened(text: str, most: int = 60) -> str:
    """Cut `text` to `most` characters, the last three of a longer one being dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(name: object, most: int = 80) -> str:
    """Format a name out of a file for one line: control characters and half characters escaped, a long one cut."""
    text = str(name)
    return shortened(text if text.isprintable() else ascii(text)[1:-1], most)


def listed(items: Iterable[str], most: int = 3) -> str:
    """Join the first `most` items with commas, and say how many more there are: `a, b, c and 2 more`."""
    items = list(items)
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line, cut at 300 characters."""
    return shortened(" ".join(str(error).split()), 300) or "no reason given"


def cause_of(error: BaseException) -> str:
    """Return the cause that one of Paddle's errors gives, in one line, without the place in Paddle's sources.

    That is the last line that names an error (`TypeError: ...`, `(InvalidArgument) ...`), as advice and the condition
    in Paddle's sources may follow it; the last line of all where none does.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if _CAUSE.match(line)] or lines or [type(error).__name__]
    return shortened(causes[-1].partition(" (at /")[0].strip(), 240)
