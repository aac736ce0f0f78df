"""Prune by sen.pickle, fine-tune, and keep the best pruned checkpoint with its plan."""

import sys

from ocrslim.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("prune"))
