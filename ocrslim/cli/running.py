"""Running a command: errors become one line each, and an exit code."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ocrslim.cli.commands import Command
from ocrslim.cli.console import fail, interrupted, set_up_logging
from ocrslim.cli.versions import versions_text
from ocrslim.errors import OcrSlimError

if TYPE_CHECKING:
    from ocrslim.config import Config

logger = logging.getLogger(__name__)

_TRAINING_LABELS = "Train.dataset.label_file_list"
_PATHS = {  # arguments
    *("config", "model", "images", "out", "sources", "source", "destination"),
    *("chars", "text", "labels", "dictionary", "exports", "folder", "det", "rec"),
}


def run_guarded(command: Command, arguments: Namespace) -> int:
    """Run a command; what its user can put right becomes lines on standard error and exit code 2."""
    set_up_logging(arguments.verbose, arguments.quiet)
    try:
        return _run(command, arguments)
    except OcrSlimError as error:
        return _fail(str(error))
    except BrokenPipeError:  # whoever read our output has gone; nothing more may be flushed into the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, MemoryError, RecursionError, UnicodeError) as error:
        return _fail(_explain(error))
    except ImportError as error:
        if _cut_off(error):
            return interrupted(command.resumable)
        return _fail(f"{error}: the environment is incomplete; install again (README, Install)")
    except KeyboardInterrupt:
        return interrupted(command.resumable)


def _run(command: Command, arguments: Namespace) -> int:
    """Read the configuration, then import Paddle, then run the command and print its result where `--json` asks.

    Returns:
        the exit code.
    """
    from ocrslim.utils import Interrupts, import_paddle, is_first_rank

    start = time.monotonic()
    logger.debug("%s", ", ".join(versions_text().splitlines()))
    _check_paths(arguments)
    config = command.configure(arguments)
    trains = command.trains and not getattr(arguments, "dry_run", False)
    if config is not None:
        logger.debug("configuration: %s", config.path)
    if command.needs_paddle(arguments):
        import_paddle(training=trains)
    with Interrupts():
        if config is not None and command.needs_paddle(arguments):
            config = _prepared(command, config, trains)
        result = command.run(config, arguments)
        if arguments.json and (is_first_rank() or not command.trains):
            print(json.dumps(result), flush=True)
    logger.debug("done in %.1f s", time.monotonic() - start)
    return command.exit_code(result)


def _prepared(command: Command, config: Config, trains: bool) -> Config:
    """Select the device and check the transforms, so that what PaddleOCR refuses shows before the long work."""
    from ocrslim.data import build_operators
    from ocrslim.pruning import untrained
    from ocrslim.utils import use_device

    use_device(bool(config.get("Global.use_gpu")))
    for mode in command.data_sets:
        if mode == "Train" and not (config.get("Global.epoch_num", 1) and config.get(_TRAINING_LABELS)):
            continue  # whose images are refitted on, or learnt from without labels, by the transforms of Eval
        if config.get(f"{mode}.dataset.transforms"):
            config.require_transforms(mode)
            build_operators(config, mode)
    return untrained(config) if command.reads_weights and not trains else config


def _check_paths(arguments: Namespace) -> None:
    """Make paths of those arguments that are paths, before anything is read.

    Raises:
        OcrSlimError: one cannot be a path; by name.
    """
    from ocrslim.utils import path_fault, shortened

    for name, value in vars(arguments).items():
        if name not in _PATHS or value is None:
            continue
        for text in value if isinstance(value, list) else [value]:
            fault = path_fault(text)
            if fault:
                raise OcrSlimError(f"{name} {shortened(repr(text))}: {fault}; expected a path")
        setattr(arguments, name, [Path(text) for text in value] if isinstance(value, list) else Path(value))


def _fail(message: str) -> int:
    """Print the faults; with `--verbose`, also the place in the code that found it."""
    logger.debug("where it was found:", exc_info=True)
    return fail(message)


def _explain(error: OSError | MemoryError | RecursionError | UnicodeError) -> str:
    """Say in a line what the system refused."""
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
    """Tell whether Ctrl-C is what made an import fail."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
