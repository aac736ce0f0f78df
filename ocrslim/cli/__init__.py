"""The command line."""

from ocrslim.cli.console import print_anything
from ocrslim.cli.entry_points import main, run_script

__all__ = ["main", "print_anything", "run_script"]
