"""Converters of others, each in a process of its own: they end the process on what they cannot convert."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ocrslim.errors import ExportError

SECONDS = 600
_LEAVE_OUT = "leave this format out of Export.formats"


def run_converter(name: str, command: Sequence[str], written: Path, remedy: str = _LEAVE_OUT) -> None:
    """Run a converter that is to write the file `written`.

    Args:
        remedy: what helps where it does not.

    Raises:
        ExportError: it does not, or took more than `SECONDS`; with the last line that it printed.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"{name} did not finish within {SECONDS} s: {remedy}") from None
    except OSError as error:
        raise ExportError(f"{name} cannot be started: {command[0]}: {error.strerror}: check the path") from None
    if done.returncode or not written.is_file():
        raise ExportError(f"{name} fails on this network ({_reason(done)}): {remedy}")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "not support", "fail"))]
    said = (telling or lines or ["it says nothing"])[-1][:300]
    return said if done.returncode >= 0 else f"ended by signal {-done.returncode}: {said}"
