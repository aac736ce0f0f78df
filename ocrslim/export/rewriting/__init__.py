"""Lossless rewriting of a network before it is exported."""

from ocrslim.export.rewriting.network import Rewriter, rewritten_network
from ocrslim.export.rewriting.runtimes import rewriting_for

__all__ = ["Rewriter", "rewriting_for", "rewritten_network"]
