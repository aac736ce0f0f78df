"""Exported networks timed in their runtimes, in processes that have the threads asked for."""
