"""Identity of a training run: everything its outcome depends on, and the saved state that it continues from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import TrainingError
from ocrslim.pruning import Plan
from ocrslim.training.checkpointing.layout import EPOCH, run_files, with_suffix
from ocrslim.training.checkpointing.state_file import (
    BEST,
    LATEST,
    STATE_SUFFIX,
    WEIGHTS_SUFFIX,
    TrainingState,
    first_difference,
    load_state,
    plain,
)
from ocrslim.training.optimization.amp import mixed
from ocrslim.utils import same_place

RANKS = "processes"  # in a fingerprint


@dataclass(frozen=True)
class Run:
    """One training run.

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
        """Find the state to continue from; None for a fresh start.

        `Global.checkpoints` names a state; the folder's own one wins once it has come further, so that
        the same command can be repeated. `Global.overwrite` gives up another run's folder or a finished
        run's; an unfinished one of the same fingerprint goes on, as starting it over would end the same.

        Raises:
            TrainingError: the folder, or `Global.checkpoints`, holds another run; or a state is damaged.
        """
        check_source(self.config)
        named = self._find_named()
        own = self._find_own()
        if own is None or (named is not None and named.progress.share > own.progress.share):
            return named
        return own

    def owns(self, state: TrainingState | None) -> bool:
        """Tell whether `state` is in the run's own folder."""
        return state is not None and same_place(state.path.parent, self.folder)

    def starts_over(self, state: TrainingState | None) -> bool:
        """Tell whether a run that continues from `state` has no use for the files that are in its folder."""
        return not self.owns(state) and self._find_own() is None

    def _find_own(self) -> TrainingState | None:
        """Find the state in the run's folder; None for none, or one that `Global.overwrite` gives up."""
        path = self.folder / f"{LATEST}{STATE_SUFFIX}"
        if not os.path.lexists(path):
            self._refuse_foreign_weights()
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

    def _find_named(self) -> TrainingState | None:
        """Find the state that `Global.checkpoints` names."""
        name = self.config.get("Global.checkpoints")
        if not name:
            return None
        state = load_state(with_suffix(name, STATE_SUFFIX))
        difference = self._difference(state)
        if difference:
            raise TrainingError(
                f"Global.checkpoints: {state.path} is of another training run: {difference}; use the "
                "configuration of that run (config.yml beside it), or start a new run from its weights with "
                f"-o Global.checkpoints= Global.pretrain_weights={state.path.with_suffix(WEIGHTS_SUFFIX)}"
            )
        return state

    def _difference(self, state: TrainingState) -> str | None:
        """Name what makes `state` one of another run; another number of processes does not."""
        return first_difference({**state.fingerprint, RANKS: None}, {**self.fingerprint, RANKS: None})

    def _refuse_foreign_weights(self) -> None:
        found = sorted(path.name for path in run_files(self.folder) if path.suffix == WEIGHTS_SUFFIX)
        if found and not self.config.overwrite:
            raise TrainingError(
                f"{self.folder}: holds {', '.join(found[:3])}, but no {LATEST}{STATE_SUFFIX} to continue "
                "from; choose another -o Global.save_model_dir=..., or replace them with -o Global.overwrite=true"
            )


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
        path = with_suffix(name, WEIGHTS_SUFFIX)
        ours = path.name.startswith((f"{LATEST}.", f"{BEST}.", EPOCH))
        if ours and same_place(path.parent, config.save_model_dir):
            raise TrainingError(
                f"{key}: {path} lies in Global.save_model_dir and would be replaced by this run; expected "
                "another folder to write to: choose another -o Global.save_model_dir=..."
            )
