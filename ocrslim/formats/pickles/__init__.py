"""Pickles, read by an interpreter of our own that calls nothing."""
