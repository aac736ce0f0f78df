"""Lossless rewriting of a network before it is exported."""
