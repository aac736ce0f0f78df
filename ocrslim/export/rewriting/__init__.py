"""Lossless rewriting of a network before it is exported."""

from ocrslim.export.rewriting.network import rewritten, rewritten_network
from ocrslim.export.rewriting.runtimes import rewriting_for

__all__ = ["rewriting_for", "rewritten", "rewritten_network"]
