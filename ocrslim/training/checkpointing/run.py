"""What a training run is, and its folder: whose it is, what is written there and what is never lost."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from paddle import nn

from ocrslim.config import Config
from ocrslim.errors import TrainingError, WeightsError
from ocrslim.models import read_weights
from ocrslim.pruning import SUFFIX as PLAN_SUFFIX
from ocrslim.pruning import Plan
from ocrslim.training.amp import mixed
from ocrslim.training.checkpointing.state_file import (
    BEST,
    LATEST,
    STATE_SUFFIX,
    WEIGHTS_SUFFIX,
    TrainingState,
    first_difference,
    load_state,
    plain,
    save_weights,
)
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.monitoring.recorder import CURVES
from ocrslim.training.monitoring.visualdl import FOLDER as EVENTS
from ocrslim.training.monitoring.visualdl import PATTERN as EVENT_LOGS
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

RANKS = "processes"  # in a fingerprint
_EPOCH = "iter_epoch_"
CONFIG, TRIALS = "config.yml", "trials.json"


@dataclass(frozen=True)
class BestWeights:
    """Where a run's best weights lie, or should; `fault` says why they cannot be used, None if they can."""

    path: Path
    fault: str | None = None


@dataclass(frozen=True)
class Run:
    """One training run: everything its outcome depends on, and where it is written.

    Attributes:
        plan: what the network was pruned by; None for an unpruned one.
        origin: hashes of the weights and the data it starts from.
        ranks: processes that train together: a step takes a batch from each.
    """

    config: Config
    plan: Plan | None
    origin: Mapping[str, str]
    ranks: int = 1

    @property
    def folder(self) -> Path:
        return self.config.save_model_dir

    @property
    def metric(self) -> str:
        return self.config.main_indicator

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the weights a run ends with; runs with equal fingerprints end alike.

        The number of workers is not in it: batches do not depend on it.
        """
        train = self.config.section("Train")
        for key in ("num_workers", "use_shared_memory"):
            (train.get("loader") or {}).pop(key, None)
        sections = {name: self.config.section(name) for name in ("Architecture", "Loss", "Optimizer")}
        precision = {"use_amp": True} if mixed(self.config) else {}
        content = {
            **sections,
            "Train": train,
            "Metric": {"main_indicator": self.metric},
            "Global": {"epoch_num": self.config.get("Global.epoch_num"), "seed": self.config.seed, **precision},
            "plan": None if self.plan is None else self.plan.hash(),
            "origin": dict(self.origin),
            **({RANKS: self.ranks} if self.ranks > 1 else {}),
        }
        return plain(content)

    def find(self) -> TrainingState | None:
        """The state to continue from, or None for a fresh start.

        `Global.checkpoints` names a state; the folder's own one wins once it has come further, so that
        the same command can be repeated. `Global.overwrite` gives up another run's folder or a finished
        run's; an unfinished one of the same fingerprint goes on, as starting it over would end the same.

        Raises:
            TrainingError: the folder, or `Global.checkpoints`, holds another run; or a state is damaged.
        """
        check_source(self.config)
        named = self._named()
        own = self._own()
        if own is None or (named is not None and named.progress.share > own.progress.share):
            return named
        return own

    def _own(self) -> TrainingState | None:
        path = self.folder / f"{LATEST}{STATE_SUFFIX}"
        if not os.path.lexists(path):
            self._refuse_foreign()
            return None
        try:
            state = load_state(path)
        except TrainingError:
            if self.config.overwrite:
                return None
            raise
        difference = self._difference(state)
        if self.config.overwrite and (difference or state.progress.finished):
            return None
        if difference:
            raise TrainingError(
                f"{self.folder}: holds another training run: {difference}; choose another "
                f"-o Global.save_model_dir=..., or start over here with -o Global.overwrite=true, "
                f"which deletes that run's {BEST}.* and {LATEST}.*"
            )
        return state

    def _named(self) -> TrainingState | None:
        name = self.config.get("Global.checkpoints")
        if not name:
            return None
        state = load_state(_with_suffix(name, STATE_SUFFIX))
        difference = self._difference(state)
        if difference:
            raise TrainingError(
                f"Global.checkpoints: {state.path} is of another training run: {difference}; use the "
                "configuration of that run (config.yml beside it), or start a new run from its weights with "
                f"-o Global.checkpoints= Global.pretrain_weights={state.path.with_suffix(WEIGHTS_SUFFIX)}"
            )
        return state

    def _difference(self, state: TrainingState) -> str | None:
        """What makes `state` one of another run; with another number of processes it can be continued all the same."""
        return first_difference({**state.fingerprint, RANKS: None}, {**self.fingerprint, RANKS: None})

    def _refuse_foreign(self) -> None:
        found = sorted(path.name for path in self._files() if path.suffix == WEIGHTS_SUFFIX)
        if found and not self.config.overwrite:
            raise TrainingError(
                f"{self.folder}: holds {', '.join(found[:3])}, but no {LATEST}{STATE_SUFFIX} to continue "
                "from; choose another -o Global.save_model_dir=..., or replace them with -o Global.overwrite=true"
            )

    def owns(self, state: TrainingState | None) -> bool:
        """Whether `state` lies in the run's own folder."""
        return state is not None and same_place(state.path.parent, self.folder)

    def begin(self, state: TrainingState | None) -> None:
        """Make the folder this run's: leave nothing of another, write `config.yml` and the plan.

        The plan is written beside all weights that lie there: without it they could not be read.

        Args:
            state: what the run continues from; None for a fresh start.

        Raises:
            ArtifactError: it cannot be written to.
        """
        check_writable(self.folder)
        remove_leftovers(self.folder, f"{LATEST}*", f"{BEST}*", f"{_EPOCH}*", CURVES, CONFIG, TRIALS)
        if not self.owns(state) and self._own() is None:
            self._clear()
        self.config.save(self.folder / CONFIG)
        if self.plan is not None:
            weights = {path.stem for path in self._files() if path.suffix == WEIGHTS_SUFFIX}
            for stem in sorted({LATEST, *weights}):
                self.plan.save(self.folder / f"{stem}{PLAN_SUFFIX}")

    def _clear(self) -> None:
        # The state goes first: what a kill leaves behind must not look like a run that can go on.
        files = sorted(self._files(), key=lambda path: path.suffix != STATE_SUFFIX)
        try:
            for path in files:
                path.unlink()
        except OSError as error:
            raise write_error(self.folder, error) from error
        if any(path.suffix in (STATE_SUFFIX, WEIGHTS_SUFFIX) for path in files):
            logger.info("%s: the run that was there is deleted (Global.overwrite)", self.folder)

    def _files(self) -> set[Path]:
        return {
            path
            for stem in (LATEST, BEST, f"{_EPOCH}*")
            for suffix in (STATE_SUFFIX, WEIGHTS_SUFFIX, PLAN_SUFFIX, ".json")
            for path in self.folder.glob(f"{stem}{suffix}")
        } | {*self.folder.glob(CURVES), *self.folder.glob(f"{EVENTS}/{EVENT_LOGS}")}

    def save_best(self, model: nn.Layer, progress: Progress) -> None:
        """Write `best_accuracy.*` of `progress.best`: the plan first, as no weights may lie there without."""
        if self.plan is not None:
            self.plan.save(self.folder / f"{BEST}{PLAN_SUFFIX}")
        progress.best_weights = save_weights(self.folder / f"{BEST}{WEIGHTS_SUFFIX}", model)
        self._save_record(progress)

    def _save_record(self, progress: Progress) -> None:
        """Write `best_accuracy.json`; there must be a best."""
        assert progress.best is not None
        record = {
            "metric": self.metric,
            **progress.best.to_json(),
            "start": progress.history[0].to_json(),
            "weights": progress.best_weights,
            "plan": self.fingerprint["plan"],
            "fingerprint": hash_value(self.fingerprint),
            "origin": dict(self.origin),
        }
        write_json(self.folder / f"{BEST}.json", record)

    def save_epoch(self, model: nn.Layer, epoch: int) -> None:
        """Write `iter_epoch_N.*`, which PaddleOCR keeps every `Global.save_epoch_step` epochs."""
        if self.plan is not None:
            self.plan.save(self.folder / f"{_EPOCH}{epoch}{PLAN_SUFFIX}")
        save_weights(self.folder / f"{_EPOCH}{epoch}{WEIGHTS_SUFFIX}", model)

    def find_best(self, state: TrainingState) -> BestWeights | None:
        """Where the best weights of `state` lie: beside it; None if they are yet to be found.

        They are known by their hash: what lies there may be damaged, or other weights.
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

    def fetch_best(self, best: BestWeights, progress: Progress) -> None:
        """Complete `best_accuracy.*` here from the weights that `find_best` found."""
        target = self.folder / f"{BEST}{WEIGHTS_SUFFIX}"
        if not same_place(best.path, target):
            if self.plan is not None:
                self.plan.save(target.with_name(f"{BEST}{PLAN_SUFFIX}"))
            _copy(best.path, target)
        progress.best_weights = progress.best_weights or hash_arrays(read_weights(target))  # older states: none
        self._save_record(progress)


def _weights_fault(path: Path, digest: str | None) -> str | None:
    """Why `path` does not hold the weights of that hash (any weights for None); None if it does."""
    if not path.exists():
        return "not found"
    try:
        found = hash_arrays(read_weights(path))
    except WeightsError:
        return "damaged or unreadable"
    return None if digest in (None, found) else "it holds other weights than the run wrote there"


def check_source(config: Config) -> None:
    """Refuse to train in the folder whose own weights are the source, as they would be replaced.

    Raises:
        TrainingError: `Global.pretrain_weights` or `Global.init_backbone` names a file that the run writes.
    """
    sources = {
        "Global.pretrain_weights": config.weights,
        "Global.init_backbone": config.get("Global.init_backbone"),
    }
    for key, name in sources.items():
        if not name:
            continue
        path = _with_suffix(name, WEIGHTS_SUFFIX)
        ours = path.name.startswith((f"{LATEST}.", f"{BEST}.", _EPOCH))
        if ours and same_place(path.parent, config.save_model_dir):
            raise TrainingError(
                f"{key}: {path} lies in Global.save_model_dir and would be replaced by this run; expected "
                "another folder to write to: choose another -o Global.save_model_dir=..."
            )


def _with_suffix(name: str, suffix: str) -> Path:
    """A checkpoint's file by its name with or without one of its suffixes."""
    path = Path(name)
    stem = path.name
    for known in (WEIGHTS_SUFFIX, STATE_SUFFIX):
        stem = stem.removesuffix(known)
    return path.parent / f"{stem}{suffix}"


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as data, atomic_file(target) as stream:
        shutil.copyfileobj(data, stream, MIB)
