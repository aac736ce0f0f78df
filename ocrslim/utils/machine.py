"""The processor of the machine that a program runs on."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """Return the name of the processor."""
    return _described("model name") or platform.processor() or platform.machine()


def has_instructions(name: str) -> bool:
    """Tell whether Linux says that the processor has a set of instructions, such as "avx512f"."""
    return name in _described("flags").split()


def _described(what: str) -> str:
    """Return what Linux says of the first processor; "" where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == what), "")
