"""The arguments of commands, their help, and errors that name the nearest command or option."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from ocrslim.cli.commands import COMMANDS, Command
from ocrslim.cli.completion import SHELLS, completion
from ocrslim.cli.versions import versions_text
from ocrslim.errors import OcrSlimError

_PROGRAM = "ocrslim"
_DESCRIPTION = """\
Make PaddleOCR models smaller and faster by removing channels, with the accuracy measured at every step:
sensitivity, then prune, then export. Each command has a --help of its own."""
_STARTS = {
    "which channels go together in a network": "groups -c configs/det/det_mv3_db.yml",
    "find text with an exported model": "predict inference_model --images DIR --out seen",
    "make a downloaded model smaller, without its code and without labels": (
        "prune MODEL --task det --images DIR -o Prune.target.macs=0.3"
    ),
}
_WIDTH = 100
_UNBROKEN = "\x1f"  # no space to textwrap, unlike a no-break space


class Parser(argparse.ArgumentParser):
    """A parser whose errors are raised, in one line, with the nearest command or option."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments, in a line."""
        raise OcrSlimError(f"{' '.join(message.split())} ({self.prog} --help shows examples)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all of `args`; a word that no argument takes is an error, before what is missing is one."""
        parser = self._of_command(args)
        known = {**self._option_string_actions, **parser._option_string_actions}
        for word in args:
            name = word.partition("=")[0]
            if word.startswith("--") and " " not in word and not any(option.startswith(name) for option in known):
                parser.error(f"unknown option {name!r}{nearest(name, known)}")
        arguments, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser.error(f"unknown {'option' if unknown[0].startswith('-') else 'argument'} {unknown[0]!r}")
        return arguments

    def _of_command(self, words: Sequence[str]) -> argparse.ArgumentParser:
        """The parser of the command that is named first among the words, or this one."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return next((action.choices[word] for word in words if word in action.choices), self)
        return self

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            hint = nearest(value, action.choices) or f": expected one of {', '.join(action.choices)}"
            self.error(f"unknown command {value!r}{hint}")
        super()._check_value(action, value)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        print(versions_text())
        parser.exit()


class _Completion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: Any, __: object = None) -> None:
        print(completion(parser, shell))
        parser.exit()


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the words of a command line.

    Raises:
        OcrSlimError: they are wrong; in one line.
    """
    arguments = parser.parse_args(words)
    arguments.verbose, arguments.quiet = arguments.level == "verbose", arguments.level == "quiet"
    return arguments


def command_parser() -> argparse.ArgumentParser:
    """The parser of `ocrslim STAGE ...`."""
    parser = Parser(prog=_PROGRAM, description=_DESCRIPTION, epilog=examples_text(_PROGRAM, _STARTS))
    _add_version(parser)
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=SHELLS,
        default=argparse.SUPPRESS,
        help="print a script that completes commands and options in that shell",
    )
    _add_levels(parser, None)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE", title="commands", parser_class=Parser)
    for stage, command in COMMANDS.items():
        name = f"{_PROGRAM} {stage}"
        epilog = examples_text(name, command.examples)
        parsed = stages.add_parser(
            stage, prog=name, help=command.summary, description=_description(command), epilog=epilog
        )
        _add_arguments(parsed, command)
    return parser


def script_parser(stage: str) -> argparse.ArgumentParser:
    """The parser of one stage as a script of its own."""
    command, name = COMMANDS[stage], f"python {sys.argv[0]}"
    parser = Parser(prog=name, description=_description(command), epilog=examples_text(name, command.examples))
    _add_version(parser)
    _add_arguments(parser, command)
    parser.set_defaults(stage=stage, level=None)
    return parser


def nearest(word: str, known: Iterable[str]) -> str:
    """A question that names the nearest of what is known; empty where nothing is near."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {found[0]}?" if found else ""


def examples_text(name: str, examples: Mapping[str, str]) -> str:
    """The end of a help text: each example under its purpose, in lines that fit a terminal."""
    lines = ["examples:"]
    for purpose, words in examples.items():
        lines += [f"  # {purpose}", *_wrapped(f"{name} {words}")]
    return "\n".join(lines).replace("%", "%%")


def _wrapped(command: str) -> list[str]:
    """A command line broken as a shell takes it, options together with their first value."""
    whole = re.sub(r" (-[co]|--images|--out) ", r" \1" + _UNBROKEN, command)
    lines = textwrap.wrap(whole, _WIDTH - 6, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    lines = [f"  {line.replace(_UNBROKEN, ' ')}" for line in lines]
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _description(command: Command) -> str:
    """The top of a command's help: the summary as a sentence, and the details behind it."""
    text = f"{command.summary[0].upper()}{command.summary[1:]}. {command.details}"
    return textwrap.fill(text, _WIDTH).replace("%", "%%")


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="print the versions of ocrslim, Python, Paddle, PaddleSlim and PaddleOCR, for a bug report",
    )


def _add_levels(parser: argparse.ArgumentParser, default: str | None) -> None:
    levels = parser.add_mutually_exclusive_group()
    options: dict[str, Any] = {"dest": "level", "action": "store_const", "default": default}
    loud, soft = "log more, with times; errors with their place in the code", "log only warnings, without progress"
    levels.add_argument("-v", "--verbose", const="verbose", help=loud, **options)
    levels.add_argument("-q", "--quiet", const="quiet", help=soft, **options)


def _add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    command.add_arguments(parser)
    parser.add_argument(
        "-c",
        "--config",
        required=command.needs_config,
        metavar="FILE",
        help="configuration, a YAML file of PaddleOCR's form",
    )
    parser.add_argument(
        "-o",
        "--opt",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override entries of the configuration, as in Global.epoch_num=10; values are YAML",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON at the end")
    _add_levels(parser, argparse.SUPPRESS)
