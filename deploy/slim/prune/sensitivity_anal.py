"""Measure how much accuracy each layer loses at each pruning ratio: writes sen.pickle."""

import sys

from ocrslim.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("sensitivity"))
