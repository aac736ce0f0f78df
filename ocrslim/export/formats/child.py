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
        raise ExportError(too_long(name, remedy)) from None
    except OSError as error:
        raise ExportError(f"{name} cannot be started: {command[0]}: {error.strerror}: check the path") from None
    require_written(name, done.returncode, done.stdout + done.stderr, written, remedy)


def require_written(name: str, status: int, said: str, written: Path, remedy: str = _LEAVE_OUT) -> None:
    """Require that a converter has succeeded.

    Args:
        status: its exit code; negative, the signal that ended it.
        said: all that it printed.
        written: the file that it was to write.

    Raises:
        ExportError: it has not; with the last line that it printed.
    """
    if status or not written.is_file():
        raise ExportError(f"{name} fails on this network ({_reason(status, said)}): {remedy}")


def too_long(name: str, remedy: str = _LEAVE_OUT) -> str:
    """Return the message for a converter that took more than `SECONDS`."""
    return f"{name} did not finish within {SECONDS} s: {remedy}"


def _reason(status: int, said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "not support", "fail"))]
    last = (telling or lines or ["it says nothing"])[-1][:300]
    return last if status >= 0 else f"ended by signal {-status}: {last}"
