"""What is wrong with a file of a format of others', without its path and what to do about it."""

from __future__ import annotations


class FormatFault(ValueError):
    """A file is damaged, or holds what is not read or run here; whoever catches it adds the path and the remedy."""


def shown(name: object, most: int = 80) -> str:
    """A name out of a file, fit for one line: control characters and half characters escaped, cut where it is long."""
    text = str(name)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= most else f"{text[: most - 3]}..."
