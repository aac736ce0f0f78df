"""What a command is, and how those that take a model read their configuration."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocrslim.errors import OcrSlimError

if TYPE_CHECKING:
    from ocrslim.config import Config

Result = dict[str, Any]
# of examples
EXAMPLE_CONFIG = "-c configs/det/det_mv3_db.yml"
EXAMPLE_WEIGHTS = "-o Global.pretrain_weights"


def load(arguments: Namespace) -> Config:
    """Read the configuration that `-c` and `-o` give."""
    from ocrslim.config import load_config

    return load_config(arguments.config, arguments.opt)


def load_of_model(arguments: Namespace) -> Config:
    """Read the configuration that `-c`, MODEL, `--task` and `-o` give.

    Raises:
        OcrSlimError: neither a configuration nor a model is named, or what is named is wrong.
    """
    from ocrslim.config import load_config, load_model_config

    if arguments.model is not None:
        return load_model_config(arguments.model, arguments.config, arguments.opt, arguments.task)
    if arguments.config is None:
        raise OcrSlimError(
            "no model is named: expected MODEL (an inference folder, an ONNX file or a checkpoint beside its "
            f"config.yml), or -c EXAMPLE_CONFIG (ocrslim {arguments.stage} --help shows examples)"
        )
    return load_config(arguments.config, arguments.opt)


def load_of_images(arguments: Namespace) -> Config:
    """Read the configuration as `load_of_model`; of `--images` both data sets are made, without labels."""
    from ocrslim.config import setting

    if arguments.images is not None:
        data = []
        for mode in ("Train", "Eval"):
            data += [setting(f"{mode}.dataset.data_dir", str(arguments.images)), f"{mode}.dataset.label_file_list="]
        arguments.opt = [*data, *arguments.opt]  # of one key, the last counts
    return load_of_model(arguments)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        summary: one line, for the list of commands and the top of the command's own help.
        details: sentences that follow it there.
        examples: a purpose -> the words to type after the command's name.
        run: does the work; what it returns is printed with `--json`.
        add_arguments: adds the arguments that only this command has.
        configure: reads the configuration, before Paddle is imported; None where the arguments ask for nothing that
            needs one.
        needs_config: whether `-c` must be given.
        data_sets: sections whose transforms are checked first, "Train" and "Eval".
        trains: has an optimizer, unless it is a dry run.
        reads_weights: takes the weights that the configuration names as they are, unless it trains.
        needs_paddle: tells of the arguments whether a network is run or loaded.
        resumable: goes on where it was when it is run again after an interruption.
        exit_code: of what it returned.
    """

    summary: str
    details: str
    examples: Mapping[str, str]
    run: Callable[[Any, Namespace], Result]
    add_arguments: Callable[[ArgumentParser], object] = lambda _: None
    configure: Callable[[Namespace], Config | None] = load
    needs_config: bool = True
    data_sets: tuple[str, ...] = ()
    trains: bool = False
    reads_weights: bool = False
    needs_paddle: Callable[[Namespace], bool] = lambda _: True
    resumable: bool = False
    exit_code: Callable[[Result], int] = lambda _: 0


def model_arguments(parser: ArgumentParser) -> None:
    """Add MODEL and `--task`."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="an inference folder, an ONNX file, or a checkpoint beside its config.yml; before -o",
    )
    task_argument(parser)


def task_argument(parser: ArgumentParser) -> None:
    """Add `--task`."""
    parser.add_argument(
        "--task",
        metavar="TASK",
        help="det, rec or cls: what the model is for, where neither -c nor an inference.yml says",
    )


def images_arguments(parser: ArgumentParser) -> None:
    """Add MODEL, `--task` and `--images`."""
    model_arguments(parser)
    parser.add_argument(
        "--images", metavar="DIR", help="images without labels: what MODEL finds in them is taken for their labels"
    )
