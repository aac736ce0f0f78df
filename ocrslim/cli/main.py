"""The command line: arguments, logging, and errors turned into one line and an exit code.

`main` is the console command `ocrslim STAGE ...`; `run_script` is one stage as a standalone script.
Paddle is imported only after the configuration has been read, so that its errors show at once; and this
file imports next to nothing, so that Ctrl-C is answered in one line from the start.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrslim import __version__
from ocrslim.errors import EXIT_CODE, OcrSlimError
from ocrslim.utils import Interrupts, import_paddle, speaks, use_device

if TYPE_CHECKING:
    from ocrslim.config import Config

INTERRUPTED = 130
_LONGEST = 1200  # characters of a line of an error
_RESUMED = ("sensitivity", "prune", "train")
_TRAINING = ("prune", "train")
_READS = {
    **dict.fromkeys(("sensitivity", "merge", "export", "eval", "predict"), ("Eval",)),
    **dict.fromkeys(("prune", "train"), ("Train", "Eval")),
}
_PATHS = {"config", "images", "out", "sources", "source", "destination"}  # arguments
_READING = ("sensitivity", "export", "eval", "predict")
_STAGES = {
    "sensitivity": "measure what each layer loses when pruned -> sen.pickle",
    "prune": "prune by sen.pickle and fine-tune -> best_accuracy.pdparams",
    "export": "export a checkpoint and prove the result -> an inference folder",
    "train": "train or fine-tune without pruning",
    "eval": "score a checkpoint or an exported folder",
    "predict": "find text in images, draw it, write it as JSON",
    "merge": "put measurements of several folders, such as shards, together into Global.save_model_dir",
    "config": "print the resolved configuration, with where each value comes from",
    "groups": "list the channel groups, and why the other layers cannot be pruned",
    "import-weights": "convert an ONNX file or an inference folder to a checkpoint",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ocrslim STAGE ...` and return its exit code."""
    print_anything()
    parser = argparse.ArgumentParser("ocrslim", description="Prune PaddleOCR text detectors and know the cost.")
    parser.add_argument("--version", action="version", version=__version__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, description in _STAGES.items():
        _add_arguments(stages.add_parser(stage, help=description, description=description), stage)
    arguments = parser.parse_args(argv)
    return _guarded(arguments.stage, arguments)


def run_script(stage: str, argv: Sequence[str] | None = None) -> int:
    """Run one stage as a script of its own, with the same arguments."""
    print_anything()
    parser = argparse.ArgumentParser(description=_STAGES[stage])
    _add_arguments(parser, stage)
    return _guarded(stage, parser.parse_args(argv))


def print_anything() -> None:
    """Have what the terminal's encoding lacks printed as escapes: a name in a message must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _add_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    parser.add_argument("-c", "--config", required=True, help="configuration, a YAML file of PaddleOCR's form")
    parser.add_argument(
        "-o",
        "--opt",
        nargs="+",
        action="extend",
        default=[],
        metavar="Section.key=value",
        help="override entries of the configuration; values are YAML",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON at the end")
    if stage == "prune":
        parser.add_argument("--dry-run", action="store_true", help="print the plan and its costs; change nothing")
    if stage == "predict":
        parser.add_argument("--images", required=True, help="a folder of images, or one image")
        parser.add_argument("--out", required=True, help="folder for drawn images and boxes.json")
    if stage == "merge":
        parser.add_argument("sources", nargs="+", help="folders that sensitivity wrote into; before -o")
    if stage == "import-weights":
        parser.add_argument("source", help="ONNX file, inference folder or checkpoint; before -o")
        parser.add_argument("destination", help="the .pdparams to write")


def _run(stage: str, config: Config, arguments: argparse.Namespace) -> dict[str, Any]:
    from ocrslim import commands
    from ocrslim.data import build_operators
    from ocrslim.evaluation import open_engine, predict
    from ocrslim.pruning import untrained

    use_device(bool(config.get("Global.use_gpu")))
    for mode in _READS.get(stage, ()):
        if config.get(f"{mode}.dataset.transforms"):
            config.require_transforms(mode)
            build_operators(config, mode)  # what PaddleOCR refuses shows before the long work
    if stage in _READING or getattr(arguments, "dry_run", False):
        config = untrained(config)
    if stage == "predict":
        return predict(open_engine(config), config, arguments.images, arguments.out)
    if stage == "prune" and arguments.dry_run:
        return commands.run_dry(config)
    if stage == "merge":
        return commands.run_merge(config, arguments.sources)
    if stage == "import-weights":
        return commands.run_import(config, arguments.source, arguments.destination)
    runs: dict[str, Callable[[Config], dict[str, Any]]] = {
        "sensitivity": commands.run_sensitivity,
        "prune": commands.run_prune,
        "export": commands.run_export,
        "train": commands.run_train,
        "eval": commands.run_eval,
        "groups": commands.run_groups,
        "config": commands.run_config,
    }
    return runs[stage](config)


def _guarded(stage: str, arguments: argparse.Namespace) -> int:
    """Run a stage; what its user can put right becomes lines on standard error and exit code 2."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocrslim").setLevel(logging.INFO)  # not the root's: importing paddle resets that
    try:
        from ocrslim.config import load_config

        _check_paths(arguments)
        config = load_config(arguments.config, arguments.opt)
        import_paddle(training=stage in _TRAINING and not getattr(arguments, "dry_run", False))
        with Interrupts():
            result = _run(stage, config, arguments)
            if arguments.json and (speaks() or stage not in _TRAINING):
                print(json.dumps(result), flush=True)
    except OcrSlimError as error:
        return _fail(str(error))
    except BrokenPipeError:  # whoever read our output has gone; nothing more may be flushed into the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, MemoryError, RecursionError, UnicodeError) as error:
        return _fail(_explain(error))
    except ImportError as error:
        if _cut_off(error):
            return _interrupted(stage)
        return _fail(f"{error}: the environment is incomplete; install again (README, Install)")
    except KeyboardInterrupt:
        return _interrupted(stage)
    return 0


def _check_paths(arguments: argparse.Namespace) -> None:
    """Make paths of the arguments that are some, before anything is read.

    Raises:
        OcrSlimError: one cannot be a path; by name.
    """
    from ocrslim.utils import path_fault, shortened

    for name in _PATHS & vars(arguments).keys():
        value = getattr(arguments, name)
        for text in value if isinstance(value, list) else [value]:
            fault = path_fault(text)
            if fault:
                raise OcrSlimError(f"{name} {shortened(repr(text))}: {fault}; expected a path")
        setattr(arguments, name, [Path(text) for text in value] if isinstance(value, list) else Path(value))


def _explain(error: OSError | MemoryError | RecursionError | UnicodeError) -> str:
    """What the system refused, in a line."""
    if isinstance(error, MemoryError):
        return (
            "this needs more memory than the machine has: lower Train.loader.batch_size_per_card, the sizes in the "
            "transforms or Prune.cache_gib, or end other programs"
        )
    if isinstance(error, RecursionError):
        return "an input is nested deeper than it can be read: see the files that the configuration names"
    if isinstance(error, UnicodeError):
        encoding = sys.getfilesystemencoding()
        return f"a name has characters that {encoding}, the encoding here, cannot hold ({error}): set LANG=C.UTF-8"
    from ocrslim.utils import is_disk_error, write_error

    return str(write_error(error.filename, error) if is_disk_error(error) else error)


def _cut_off(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what made an import fail."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _interrupted(stage: str) -> int:
    goes_on = "the same command continues where it was" if stage in _RESUMED else "nothing half-done is left"
    print(f"\ninterrupted: {goes_on}", file=sys.stderr)
    return INTERRUPTED


def _fail(message: str) -> int:
    """Print what is wrong, a line for each fault; a name of thousands of letters loses those in its middle."""
    for line in message.splitlines():
        whole = len(line) <= _LONGEST
        print(f"error: {line if whole else f'{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}'}", file=sys.stderr)
    return EXIT_CODE
