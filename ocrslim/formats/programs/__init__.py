"""Paddle's programs, read, checked and written."""
