"""Text for paths, keys and messages: checks of what the user gave, and short forms that fit one line."""

from __future__ import annotations

import os
import unicodedata

MAX_TEXT = 4096  # characters; also the longest path that Linux takes
_LINE_BREAKING = ("Cc", "Zl", "Zp")


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
