"""Scores of candidate plans: the pruned network, refitted, on the evaluation images before training."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import EvalSet, LabelledSet
from ocrslim.errors import ArtifactError
from ocrslim.evaluation import Scorer
from ocrslim.inference import AutoEngine
from ocrslim.models import state_arrays
from ocrslim.pruning import Network, Plan, apply_plan, calibration_inputs, load_base_network, refit_layers
from ocrslim.training import TRIALS
from ocrslim.utils import Field, check_writable, hash_arrays, hash_value, read_json, write_json

logger = logging.getLogger(__name__)

_TRAININGS = "trials"
_PARTS = 4  # in which a refit that hurts is tried: an evaluation each


class CandidateScores:
    """Refits and scores candidate plans; scores are stored in `trials.json`, so that each is computed once.

    Args:
        config: the configuration of the whole pruning; its `Global.save_model_dir` holds the file.
        teacher: the network before any pruning.
        data: the images to refit on and those to evaluate on.
        keep: True to write the file; a dry run writes nothing.
    """

    def __init__(self, config: Config, teacher: Network, data: tuple[LabelledSet, LabelledSet], keep: bool = True):
        self._config, self._teacher, self._keep = config, teacher, keep
        self._training, self._evaluation = data
        self._path = config.save_model_dir / TRIALS
        self._request = self._identity()
        self._refitted: dict[str, dict[str, np.ndarray]] = {}  # weights by the plan's hash

    @property
    def trainings(self) -> Path:
        """Folder of trainings that candidates are compared by, beside the file of the scores."""
        return self._path.parent / _TRAININGS

    def inputs(self) -> list[np.ndarray]:
        """Return the inputs that layers are refitted on, cropped once: float32 [1, C, H, W] each, all of one size."""
        return self._inputs

    @functools.cached_property
    def _inputs(self) -> list[np.ndarray]:
        return calibration_inputs(self._config, self._training, self._teacher.model)

    def refit(self, student: nn.Layer, plan: Plan) -> None:
        """Refit the layers of a pruned network in place; do nothing if `Prune.recover` is off.

        Args:
            student: the network pruned by `plan`, not refitted; an earlier refit by the same plan is reused.
            plan: the whole plan, from the unpruned network on.
        """
        if not self._config.prune.recover:
            return
        if plan.hash() in self._refitted:
            student.set_state_dict(self._refitted[plan.hash()])
            return
        cut = plan.since(self._teacher.plan)
        found = refit_layers(self._teacher.model, student, cut, self._inputs, seed=self._config.seed)
        logger.info(found.summary())
        self._refitted[plan.hash()] = state_arrays(student)

    def refit_what_helps(self, student: nn.Layer, plan: Plan) -> None:
        """Refit a pruned network in place as `refit` does, but keep of it only what the network does not score less by.

        A refit follows each layer's outputs on calibration images, and may fail on others. The cut network and the
        refitted one are scored on the evaluation images; where the refit loses, it is taken over by a quarter of its
        layers after another, as far as each of them raises the score.

        Args:
            student, plan: as for `refit`.
        """
        before = {key: array.copy() for key, array in state_arrays(student).items()}
        self.refit(student, plan)
        after = state_arrays(student)
        layers = _changed_layers(before, after)
        if not layers:
            return
        refitted, cut = (self._score_of(student, arrays) for arrays in (after, before))
        if refitted >= cut:
            student.set_state_dict(after)
            return
        kept, best, count = dict(before), cut, 0
        for part in np.array_split(np.arange(len(layers)), _PARTS):
            keys = [key for place in part for key in layers[place]]
            tried = {**kept, **{key: after[key] for key in keys}}
            score = self._score_of(student, tried)
            if keys and score > best:
                kept, best, count = tried, score, count + len(part)
        student.set_state_dict(kept)
        logger.warning(
            "refitted, the network scores %s %.4f, and %.4f as it was cut: of %d layers the refit of %d is kept (%.4f)",
            *(self._config.main_indicator, refitted, cut, len(layers), count, best),
        )

    def _score_of(self, student: nn.Layer, arrays: Mapping[str, np.ndarray]) -> float:
        """Score a network with these weights, which it has afterwards."""
        student.set_state_dict(dict(arrays))
        return self._score(hash_value([self._request, "weights", hash_arrays(arrays)]), lambda: student)

    def score(self, current: Config, plan: Plan) -> float:
        """Score `plan`: the main indicator of the network of `current` after pruning and refit, 0..1."""
        network = load_base_network(current)
        key = hash_value([self._request, hash_arrays(state_arrays(network.model)), plan.hash()])

        def refitted() -> nn.Layer:
            apply_plan(network.model, plan)
            self.refit(network.model, plan.after(network.plan))
            return network.model

        return self._score(key, refitted)

    def score_as_kept(self, current: Config, plan: Plan) -> float:
        """Score the network of `current`, pruned by `plan`, with what helps of its refit, as a run starts: 0..1."""
        network = load_base_network(current)

        def score() -> float:
            apply_plan(network.model, plan)
            self.refit_what_helps(network.model, plan.after(network.plan))
            return self._score_of(network.model, state_arrays(network.model))

        key = hash_value([self._request, "as kept", hash_arrays(state_arrays(network.model)), plan.hash()])
        return self._known(key, score)

    def trained(self, plan: Plan, epochs: int, train: Callable[[Path], float]) -> float:
        """Return the score of `plan` after a training of some epochs, which `train` does in a folder: 0..1.

        The folder is removed when the score is known.
        """
        learning = [self._config.section(name) for name in ("Optimizer", "Loss", "Train", "Prune.distill")]
        key = hash_value([self._request, "trained", epochs, plan.hash(), learning])
        stored = self._stored()
        if key not in stored:
            folder = check_writable(self.trainings / key[:16])
            found = train(folder)
            write_json(self._path, stored := {**self._stored(), key: found})
            shutil.rmtree(folder, ignore_errors=True)
        return stored[key]

    def unpruned(self) -> float:
        """Score the network before any pruning: its main indicator, 0..1."""
        return self._score(hash_value([self._request, "unpruned"]), lambda: self._teacher.model)

    def _score(self, key: str, made: Callable[[], nn.Layer]) -> float:
        """Look up the score of `key`, or score the network that `made` returns and store it."""

        def score() -> float:
            images = EvalSet(self._evaluation, self._config)
            with AutoEngine(made(), self._config.task).engine(images) as engine:
                found = Scorer(self._config)(engine, images)
            return found[self._config.main_indicator]

        return self._known(key, score)

    def _known(self, key: str, score: Callable[[], float]) -> float:
        """Look up the score of `key`, or compute it with `score` and store it."""
        stored = self._stored()
        if key not in stored:
            found = score()
            stored = {**self._stored(), key: found}  # `score` may have stored others
            if self._keep:
                write_json(self._path, stored)
        return stored[key]

    def _identity(self) -> str:
        config = self._config
        recovery = [config.prune.recover, config.prune.recover_images, config.seed, self._training.fingerprint()]
        scored = [self._evaluation.fingerprint(), config.section("PostProcess"), config.section("Metric")]
        return hash_value([hash_arrays(state_arrays(self._teacher.model)), recovery, scored])

    def _stored(self) -> dict[str, float]:
        """Read the stored scores; {} if the file is missing or damaged, as they can be computed again."""
        if not os.path.lexists(self._path):
            return {}
        try:
            return {key: value.number(0, 1) for key, value in Field(read_json(self._path, "ocrslim prune")).items()}
        except (ArtifactError, ValueError) as fault:
            logger.warning("%s: damaged, scored anew: %s", self._path, fault)
            return {}


def _changed_layers(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Return the keys of each layer whose weights differ, in the order of the network."""
    layers: dict[str, list[str]] = {}
    for key in after:
        layers.setdefault(key.rpartition(".")[0], []).append(key)
    return [keys for keys in layers.values() if any(not np.array_equal(before[key], after[key]) for key in keys)]
