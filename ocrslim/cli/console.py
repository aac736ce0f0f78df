"""Standard output, standard error and the log, as a command uses them."""

from __future__ import annotations

import io
import logging
import sys

from ocrslim.errors import EXIT_CODE

INTERRUPTED = 130
_LONGEST = 1200  # characters of a line of an error
_PLAIN = "%(message)s"
_DETAILED = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def print_anything() -> None:
    """Have what the terminal's encoding lacks printed as escapes: a name in a message must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def set_up_logging(verbose: bool = False, quiet: bool = False) -> None:
    """Send the messages of this package to standard error: all with `verbose`, only warnings with `quiet`."""
    logging.basicConfig(format=_DETAILED if verbose else _PLAIN, stream=sys.stderr)
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.getLogger("ocrslim").setLevel(level)  # not the root's: importing paddle resets that


def fail(message: str) -> int:
    """Print one line for each fault and return the exit code; a very long line loses its middle."""
    for line in message.splitlines():
        whole = len(line) <= _LONGEST
        print(f"error: {line if whole else f'{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}'}", file=sys.stderr)
    return EXIT_CODE


def interrupted(resumable: bool) -> int:
    """Print what an interrupted command leaves behind and return the exit code."""
    left = "the same command continues where it was" if resumable else "nothing half-done is left"
    print(f"\ninterrupted: {left}", file=sys.stderr)
    return INTERRUPTED
