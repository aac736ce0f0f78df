"""The best weights that a saved state speaks of: where they are, and whether they are still the ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.models import read_weights
from ocrslim.training.checkpointing.state_file import BEST, WEIGHTS_SUFFIX, TrainingState
from ocrslim.utils import hash_arrays


@dataclass(frozen=True)
class BestWeights:
    """Place of a run's best weights; `fault` says why they cannot be used, None if they can."""

    path: Path
    fault: str | None = None


def find_best(state: TrainingState) -> BestWeights | None:
    """Find the best weights of `state`, beside it; None if they are yet to be found by evaluation.

    They are known by their hash: the file there may be damaged, or hold other weights.
    """
    progress = state.progress
    if progress.best is None:
        return None
    path = state.path.with_name(f"{BEST}{WEIGHTS_SUFFIX}")
    fault = _weights_fault(path, progress.best_weights)
    # Killed between writing new best weights and saying so in the state: the evaluation is repeated.
    if fault and progress.evaluated != progress.step and not _weights_fault(path, hash_arrays(state.scored)):
        return None
    return BestWeights(path, fault)


def _weights_fault(path: Path, digest: str | None) -> str | None:
    """Return why `path` does not hold the weights of that hash (any weights for None); None if it does."""
    if not path.exists():
        return "not found"
    try:
        found = hash_arrays(read_weights(path))
    except WeightsError:
        return "damaged or unreadable"
    return None if digest in (None, found) else "it holds other weights than the run wrote there"
