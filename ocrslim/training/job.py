"""A training job: everything that a training run is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from paddle import nn

from ocrslim.config import Config
from ocrslim.data import EvalSet, LabelledSet
from ocrslim.evaluation import Scorer
from ocrslim.inference import AutoEngine
from ocrslim.pruning import Plan
from ocrslim.training.distillation import Distillation
from ocrslim.utils import Ranks

Scores = dict[str, float]


@dataclass(frozen=True)
class TrainingJob:
    """A network to train, and all that decides what becomes of it.

    Attributes:
        model: with its starting weights, pruned if there is a plan.
        config: the configuration; `Global.save_model_dir` is where the run is written, or continued.
        training: the images to train on.
        evaluation: the images to score on.
        plan: what the model was pruned by, saved beside every checkpoint; None for an unpruned one.
        origin: hashes of what the run starts from, beside the images. A folder with a run of others is refused.
        distillation: what the model learns from beside the labels; name it in `origin`, as the run depends on it.
        ranks: the processes that train together, each with a job of its own.
    """

    model: nn.Layer
    config: Config
    training: LabelledSet
    evaluation: LabelledSet
    plan: Plan | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    distillation: Distillation | None = None
    ranks: Ranks = field(default_factory=Ranks)

    def full_origin(self) -> dict[str, str]:
        """Return `origin` with the hashes of the images."""
        images = {"training data": self.training.fingerprint(), "evaluation data": self.evaluation.fingerprint()}
        return {**self.origin, **images}

    def scoring(self) -> Callable[[], Scores]:
        """Return a function that scores the model as it is when called."""
        images, scorer = EvalSet(self.evaluation, self.config), Scorer(self.config)
        engines = AutoEngine(self.model, self.config.task)

        def score() -> Scores:
            with engines.engine(images) as engine:
                return scorer(engine, images)

        return score
