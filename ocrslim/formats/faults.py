"""Faults of files in foreign formats, described without the path and the remedy."""

from __future__ import annotations


class FormatFault(ValueError):
    """A file is damaged, or holds what is not read or run here; the caller adds the path and the remedy."""
