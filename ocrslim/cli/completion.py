"""Scripts with which a shell completes the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ocrslim.errors import OcrSlimError

SHELLS = ("bash", "zsh", "tcsh")
_FILES, _FOLDERS = {"config", "source", "images"}, {"model", "out", "sources"}  # arguments


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Write the script that completes the parser's commands, options, files and folders in `shell`.

    Raises:
        OcrSlimError: shtab, which writes it, is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise OcrSlimError("shtab writes the completion and is not installed: pip install shtab") from None
    for action in _all_actions(parser):
        if action.dest in _FILES | _FOLDERS:
            action.complete = shtab.FILE if action.dest in _FILES else shtab.DIRECTORY  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _all_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of all its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _all_actions(inner)
