"""Waiting for other processes: on a busy machine what takes a second takes a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 900.0  # seconds; after these a process hangs


def wait_until(holds: Callable[[], bool], while_: Callable[[], bool] = lambda: True) -> bool:
    """Wait until something holds, as long as `while_` does; return whether it does."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if not while_() or time.monotonic() > deadline:
            return holds()
        time.sleep(0.02)
    return True
