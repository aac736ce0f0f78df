"""Processes that measure points."""
