"""How plans score: cut, refitted, and run on the evaluation images, as they would start training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

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
from ocrslim.utils import Field, hash_arrays, hash_value, read_json, write_json

logger = logging.getLogger(__name__)


class CandidateScores:
    """Refits and scores networks that plans leave; scores are kept in `trials.json`, so that none is found twice.

    Args:
        config: of the whole pruning; its `Global.save_model_dir` has the file.
        teacher: the network before any pruning.
        data: the images to calibrate on and those to score on.
        keep: whether the file is written; a dry run writes nothing.
    """

    def __init__(self, config: Config, teacher: Network, data: tuple[LabelledSet, LabelledSet], keep: bool = True):
        self._config, self._teacher, self._keep = config, teacher, keep
        self._training, self._evaluation = data
        self._path = config.save_model_dir / TRIALS
        self._request = self._identity()
        self._refitted: dict[str, dict[str, np.ndarray]] = {}  # weights by the hash of the plan

    def refit(self, student: nn.Layer, plan: Plan) -> None:
        """Get accuracy back before training, unless `Prune.recover` is off: refit the layers to what they were.

        Args:
            student: what `plan` has left of the network; a trial of the same plan has refitted its like already.
        """
        if not self._config.prune.recover:
            return
        if plan.hash() in self._refitted:
            student.set_state_dict(self._refitted[plan.hash()])
            return
        inputs = calibration_inputs(self._config, self._training)
        cut = plan.since(self._teacher.plan)
        found = refit_layers(self._teacher.model, student, cut, inputs, seed=self._config.seed)
        logger.info(found.summary())
        self._refitted[plan.hash()] = state_arrays(student)

    def score(self, current: Config, plan: Plan) -> float:
        """The main indicator of what `plan` leaves of the network of `current`, refitted."""
        network = load_base_network(current)
        key = hash_value([self._request, hash_arrays(state_arrays(network.model)), plan.hash()])

        def refitted() -> nn.Layer:
            apply_plan(network.model, plan)
            self.refit(network.model, plan.after(network.plan))
            return network.model

        return self._score(key, refitted)

    def unpruned(self) -> float:
        """The main indicator of the network before any pruning."""
        return self._score(hash_value([self._request, "unpruned"]), lambda: self._teacher.model)

    def _score(self, key: str, made: Callable[[], nn.Layer]) -> float:
        """What the network that `made` makes scores; kept by `key`."""
        known = self._known()
        if key not in known:
            images = EvalSet(self._evaluation, self._config)
            with AutoEngine(made(), self._config.task).engine(images) as engine:
                found = Scorer(self._config)(engine, images)
            known[key] = found[self._config.main_indicator]
            if self._keep:
                write_json(self._path, known)
        return known[key]

    def _identity(self) -> str:
        config = self._config
        recovery = [config.prune.recover, config.prune.recover_images, config.seed, self._training.fingerprint()]
        scored = [self._evaluation.fingerprint(), config.section("PostProcess"), config.section("Metric")]
        return hash_value([hash_arrays(state_arrays(self._teacher.model)), recovery, scored])

    def _known(self) -> dict[str, float]:
        """What the file has; {} where it is missing or damaged: it can be found again."""
        if not os.path.lexists(self._path):
            return {}
        try:
            return {key: value.number(0, 1) for key, value in Field(read_json(self._path, "ocrslim prune")).items()}
        except (ArtifactError, ValueError) as fault:
            logger.warning("%s: damaged, scored anew: %s", self._path, fault)
            return {}
