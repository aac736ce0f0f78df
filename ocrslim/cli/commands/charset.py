"""The command `charset`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from ocrslim.cli.commands.base import Command, Result, load_of_model
from ocrslim.errors import OcrSlimError

if TYPE_CHECKING:
    from ocrslim.config import Config


def _charset(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_charset

    return run_charset(config, arguments.wanted, arguments.out)


def _charset_configuration(arguments: Namespace) -> Config:
    from ocrslim.config import setting
    from ocrslim.tasks import read_wanted

    if not (arguments.chars or arguments.text or arguments.labels):
        raise OcrSlimError("no characters are named: expected --chars FILE, --text FILE or --labels FILE")
    arguments.wanted = read_wanted(arguments.chars, arguments.text, arguments.labels)
    if arguments.dictionary is not None:
        arguments.opt += [setting("Global.character_dict_path", str(arguments.dictionary))]
    arguments.task = None if arguments.config else "rec"
    return load_of_model(arguments)


def _charset_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="an inference folder, an ONNX file, or a checkpoint beside its config.yml or with -c; before -o",
    )
    files: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "FILE"}
    parser.add_argument("--chars", help="characters to keep, one a line, as in a dictionary", **files)
    parser.add_argument("--text", help="text, all characters of which are kept", **files)
    parser.add_argument("--labels", help="label files, all characters of whose texts are kept", **files)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the smaller model; new or empty")
    parser.add_argument(
        "--dict", dest="dictionary", metavar="FILE", help="dictionary of MODEL, where it does not bring one along"
    )


CHARSET = Command(
    "keep only the characters that are read, of a recogniser's thousands -> a smaller model",
    (
        "The other classes of the last layer are removed exactly, without training: probabilities are those of the "
        "whole model, divided by their sum over the kept classes. The blank stays, and the space where the model "
        "has it. The format stays, with dictionary and settings to match; a checkpoint can be trained on."
    ),
    {
        "the characters of a text file": "en_rec.onnx --text invoices.txt --out small",
        "those of the labels to fine-tune on": (
            "PATH/best_accuracy -c configs/rec/PP-OCRv4/PP-OCRv4_mobile_rec.yml --labels train.txt --out small"
        ),
    },
    _charset,
    add_arguments=_charset_arguments,
    configure=_charset_configuration,
    needs_config=False,
    reads_weights=True,
)
