"""Export a (pruned) checkpoint as an inference model and prove that it computes the same."""

import sys

from ocrslim.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("export"))
