"""The commands: a summary, examples, arguments, and what runs each.

A new command is one more entry of `COMMANDS`. Functions import what they need when they are called: nothing that takes
time is imported before the configuration has been read.
"""

from ocrslim.cli.commands.base import Command, Result
from ocrslim.cli.commands.bench import BENCH
from ocrslim.cli.commands.charset import CHARSET
from ocrslim.cli.commands.compress import COMPRESS
from ocrslim.cli.commands.files import CONFIG, IMPORT_WEIGHTS, MERGE
from ocrslim.cli.commands.models import EVAL, GROUPS, PREDICT
from ocrslim.cli.commands.stages import EXPORT, PRUNE, SENSITIVITY, TRAIN

__all__ = ["COMMANDS", "Command", "Result"]

COMMANDS: dict[str, Command] = {
    "compress": COMPRESS,
    "sensitivity": SENSITIVITY,
    "prune": PRUNE,
    "export": EXPORT,
    "train": TRAIN,
    "eval": EVAL,
    "predict": PREDICT,
    "merge": MERGE,
    "charset": CHARSET,
    "bench": BENCH,
    "groups": GROUPS,
    "config": CONFIG,
    "import-weights": IMPORT_WEIGHTS,
}
