"""Pickles, read by a machine of our own that calls nothing."""
