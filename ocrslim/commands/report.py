"""The sample images of the command `report`."""

from __future__ import annotations

from pathlib import Path

from ocrslim.config import Config
from ocrslim.evaluation import record_samples
from ocrslim.report import run_folder


def run_samples(config: Config, folder: Path, images: Path) -> None:
    """Run the networks before and after pruning on images, and record what both find in the folder of the run."""
    config.require("PostProcess")
    found = record_samples(config, run_folder(folder), images)
    print(f"{found.equal} of {found.compared} images: both networks find the same")
