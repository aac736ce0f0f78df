"""Folder of a training run: the files written there, each with its plan beside it."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from paddle import nn

from ocrslim.formats import PLAN_SUFFIX
from ocrslim.models import read_weights
from ocrslim.training.checkpointing.best_weights import BestWeights
from ocrslim.training.checkpointing.layout import CONFIG, EPOCH, REPLACED, run_files
from ocrslim.training.checkpointing.run import Run
from ocrslim.training.checkpointing.state_file import (
    BEST,
    LATEST,
    STATE_SUFFIX,
    WEIGHTS_SUFFIX,
    TrainingState,
    save_weights,
)
from ocrslim.training.monitoring.history import Progress
from ocrslim.utils import (
    MIB,
    atomic_file,
    check_writable,
    hash_arrays,
    hash_value,
    open_regular,
    remove_leftovers,
    same_place,
    write_error,
    write_json,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """The folder of `run`: `Global.save_model_dir`."""

    run: Run

    @property
    def path(self) -> Path:
        return self.run.folder

    @property
    def best(self) -> Path:
        """`best_accuracy.pdparams`."""
        return self.path / f"{BEST}{WEIGHTS_SUFFIX}"

    def begin(self, state: TrainingState | None) -> None:
        """Make the folder this run's: leave nothing of another, write `config.yml` and the plan.

        The plan is written beside all weights that are there: without it they could not be read.

        Args:
            state: what the run continues from; None for a fresh start.

        Raises:
            ArtifactError: it cannot be written to.
        """
        check_writable(self.path)
        remove_leftovers(self.path, *REPLACED)
        if self.run.starts_over(state):
            self.clear()
        self.run.config.save(self.path / CONFIG)
        stems = {path.stem for path in run_files(self.path) if path.suffix == WEIGHTS_SUFFIX}
        for stem in sorted({LATEST, *stems}):
            self._save_plan(stem)

    def clear(self) -> None:
        """Delete the files of the run that is there.

        Raises:
            ArtifactError: one cannot be deleted.
        """
        # The state goes first: what a kill leaves behind must not look like a run that can go on.
        files = sorted(run_files(self.path), key=lambda path: path.suffix != STATE_SUFFIX)
        try:
            for path in files:
                path.unlink()
        except OSError as error:
            raise write_error(self.path, error) from error
        if any(path.suffix in (STATE_SUFFIX, WEIGHTS_SUFFIX) for path in files):
            logger.info("%s: the run that was there is deleted (Global.overwrite)", self.path)

    def save_best(self, model: nn.Layer, progress: Progress) -> None:
        """Write `best_accuracy.*` of `progress.best`: the plan first, as no weights may be there without."""
        self._save_plan(BEST)
        progress.best_weights = save_weights(self.best, model)
        self._save_record(progress)

    def save_epoch(self, model: nn.Layer, epoch: int) -> None:
        """Write `iter_epoch_N.*`, which PaddleOCR keeps every `Global.save_epoch_step` epochs."""
        self._save_plan(f"{EPOCH}{epoch}")
        save_weights(self.path / f"{EPOCH}{epoch}{WEIGHTS_SUFFIX}", model)

    def fetch_best(self, best: BestWeights, progress: Progress) -> None:
        """Complete `best_accuracy.*` here from the weights that `find_best` found."""
        if not same_place(best.path, self.best):
            self._save_plan(BEST)
            _copy(best.path, self.best)
        progress.best_weights = progress.best_weights or hash_arrays(read_weights(self.best))  # older states: none
        self._save_record(progress)

    def _save_plan(self, stem: str) -> None:
        """Write the plan, where there is one, beside the weights of that name."""
        if self.run.plan is not None:
            self.run.plan.save(self.path / f"{stem}{PLAN_SUFFIX}")

    def _save_record(self, progress: Progress) -> None:
        """Write `best_accuracy.json`; there must be a best."""
        assert progress.best is not None
        run = self.run
        record = {
            "metric": run.metric,
            **progress.best.to_json(),
            "start": progress.history[0].to_json(),
            "weights": progress.best_weights,
            "plan": run.fingerprint["plan"],
            "fingerprint": hash_value(run.fingerprint),
            "origin": dict(run.origin),
        }
        write_json(self.path / f"{BEST}.json", record)


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as data, atomic_file(target) as stream:
        shutil.copyfileobj(data, stream, MIB)
