"""Measurements on the disk."""
