"""How far a smaller model finds what the unpruned one finds, and how sure that is.

The interval is the percentile bootstrap over images (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13): images are drawn anew, with replacement, and the score is computed of each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data import EvalSet, scan_evaluation
from ocrslim.evaluation import Scorer
from ocrslim.inference import Engine
from ocrslim.tasks import Counts, Task

_RESAMPLES, _SEED = 2000, 0
_TAILS = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Agreement:
    """A score over images with its 95 % interval.

    Attributes:
        metric: its name.
        value, low, high: 0..1.
        images: it was computed on.
    """

    metric: str
    value: float
    low: float
    high: float
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def score_counts(engine: Engine, config: Config, labels: Path, desc: str) -> list[Counts]:
    """Return what is counted of each image of a label file.

    Raises:
        DataError: the labels or images cannot be read.
    """
    config = config.changed({"Eval.dataset.label_file_list": [str(labels)], "Eval.dataset.ratio_list": 1.0})
    counts: list[Counts] = []
    Scorer(config)(engine, EvalSet(scan_evaluation(config), config), desc, counts)
    return counts


def agreement_of(counts: Sequence[Counts], config: Config) -> Agreement:
    """Return the agreement by the counts of each image, against labels that the unpruned model found."""
    task = config.task
    value, low, high = interval(counts, task, task.main_indicator)
    return Agreement(task.agreement, value, low, high, len(counts))


def score_record(config: Config, before: Sequence[Counts], after: Sequence[Counts]) -> dict[str, Any]:
    """Return the scores of two networks on the same labelled images."""
    metric, task = config.main_indicator, config.task
    scores = (task.scores(counts)[metric] for counts in (before, after))
    return {"metric": metric, **dict(zip(("before", "after"), scores)), "images": len(before)}


def interval(counts: Sequence[Counts], task: Task, metric: str) -> tuple[float, float, float]:
    """Return a score of images and the ends of its 95 % interval."""
    rng = np.random.default_rng(_SEED)
    draws = rng.integers(len(counts), size=(_RESAMPLES, len(counts)))
    scores = [task.scores([counts[place] for place in draw])[metric] for draw in draws.tolist()]
    low, high = np.percentile(scores, _TAILS)
    return task.scores(counts)[metric], float(low), float(high)
