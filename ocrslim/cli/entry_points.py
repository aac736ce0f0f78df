"""The entry points: `ocrslim STAGE ...`, and one stage as a standalone script.

Nothing is imported here that takes time, so that Ctrl-C is answered in one line from the start; Paddle comes after the
configuration has been read, so that errors in it show at once.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from ocrslim.cli.commands import COMMANDS
from ocrslim.cli.console import fail, print_anything
from ocrslim.cli.parser import command_parser, parse, script_parser
from ocrslim.cli.running import run_guarded
from ocrslim.errors import OcrSlimError


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ocrslim STAGE ...` and return its exit code."""
    return _run(lambda words: parse(command_parser(), words), argv)


def run_script(stage: str, argv: Sequence[str] | None = None) -> int:
    """Run one stage as a script of its own, with the same arguments, and return its exit code."""
    return _run(lambda words: parse(script_parser(stage), words), argv)


def _run(parsed: Callable[[Sequence[str]], Namespace], argv: Sequence[str] | None) -> int:
    print_anything()
    try:
        arguments = parsed(sys.argv[1:] if argv is None else argv)
    except OcrSlimError as error:
        return fail(str(error))
    return run_guarded(COMMANDS[arguments.stage], arguments)
