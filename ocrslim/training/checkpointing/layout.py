"""The files of a training run: their names, and which of them a folder holds."""

from __future__ import annotations

from pathlib import Path

from ocrslim.formats import PLAN_SUFFIX
from ocrslim.training.checkpointing.state_file import BEST, LATEST, STATE_SUFFIX, WEIGHTS_SUFFIX
from ocrslim.training.monitoring.curves import CURVES
from ocrslim.training.monitoring.visualdl import FOLDER as EVENTS
from ocrslim.training.monitoring.visualdl import PATTERN as EVENT_LOGS

EPOCH = "iter_epoch_"
CONFIG, TRIALS = "config.yml", "trials.json"
REPLACED = (f"{LATEST}*", f"{BEST}*", f"{EPOCH}*", CURVES, CONFIG, TRIALS)  # patterns of what is replaced in one move


def run_files(folder: Path) -> set[Path]:
    """Return all files in `folder` that belong to one run: states, weights, plans, records, curves, event logs."""
    return {
        path
        for stem in (LATEST, BEST, f"{EPOCH}*")
        for suffix in (STATE_SUFFIX, WEIGHTS_SUFFIX, PLAN_SUFFIX, ".json")
        for path in folder.glob(f"{stem}{suffix}")
    } | {*folder.glob(CURVES), *folder.glob(f"{EVENTS}/{EVENT_LOGS}")}


def with_suffix(name: str, suffix: str) -> Path:
    """Return a checkpoint's file by its name with or without one of its suffixes."""
    path = Path(name)
    stem = path.name
    for known in (WEIGHTS_SUFFIX, STATE_SUFFIX):
        stem = stem.removesuffix(known)
    return path.parent / f"{stem}{suffix}"
