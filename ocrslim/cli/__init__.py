"""The command line."""

from ocrslim.cli.main import main, run_script

__all__ = ["main", "run_script"]
