"""Commands in this process, where one of their own is no part of the promise: its import of Paddle takes seconds."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, TextIO

_SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # unless one asks for them


def run_here(command: Callable[[list[str]], int], words: Sequence[Any], folder: Path) -> CompletedProcess[str]:
    """Call a command in `folder`; return its exit code, and what a process of its own would have written.

    Args:
        command: such as `ocrslim.cli.main`; an exception that it raises is the caller's.
        words: its arguments.
    """
    arguments = [str(word) for word in words]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with _inside(folder), _logged(err), _warned(err), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command(arguments)
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return CompletedProcess(arguments, status, *said)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _logged(err: TextIO) -> Iterator[None]:
    """Write messages to `err`: Pytest's own handler has taken the place of the one that a command adds."""
    handler = logging.StreamHandler(err)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def _warned(err: TextIO) -> Iterator[None]:
    """Show warnings as Python does by default; Pytest is configured to ignore some."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for category in _SILENT:
            warnings.simplefilter("ignore", category)
        warnings.showwarning = functools.partial(_show, err)
        yield


def _show(
    err: TextIO,
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any,
    line: str | None,
) -> None:
    err.write(warnings.formatwarning(message, category, filename, lineno, line))
