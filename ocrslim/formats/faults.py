"""Faults of files in foreign formats, described without the path and the remedy."""

from __future__ import annotations


class FormatFault(ValueError):
    """A file is damaged, or holds what is not read or run here; the caller adds the path and the remedy."""


def shown(name: object, most: int = 80) -> str:
    """A name out of a file, fit for one line: control characters and half characters escaped, cut where it is long."""
    text = str(name)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= most else f"{text[: most - 3]}..."
