"""The training of a pruned network within some minutes, on labels where there are some, else on the unpruned one."""

from __future__ import annotations

import logging
from typing import Any

from ocrslim.compression.labels import LabelFiles
from ocrslim.config import Config
from ocrslim.selection import Choice, training_pace

logger = logging.getLogger(__name__)

_EVALUATIONS = 8  # of a training, beside the first
_ONE_EPOCH = 1


def training_config(config: Config, labels: LabelFiles | None, metric: dict[str, Any]) -> Config:
    """Return the configuration of a training: of one epoch, as long as nobody knows how many fit.

    Args:
        config: of the run, which prunes without labels; its target is set.
        labels: without them, or without any in the images to learn from, the unpruned network is learnt from.
        metric: section `Metric` for scores by labels.
    """
    changes: dict[str, Any] = {"Global.epoch_num": _ONE_EPOCH}
    if labels is not None and labels.calibration is not None:
        changes |= {"Train.dataset.label_file_list": [str(labels.calibration)], "Train.dataset.image_list": None}
    if labels is not None and labels.choice is not None:
        changes |= {"Eval.dataset.label_file_list": [str(labels.choice)], "Metric": metric}
    return config.changed(changes)


def epochs_within(config: Config, choice: Choice, minutes: float) -> dict[str, int]:
    """Measure how many epochs of a training fit into some minutes, and after how many steps to evaluate."""
    pace = training_pace(config, choice)
    epochs = pace.epochs_within(60 * minutes, _EVALUATIONS)
    steps = epochs * pace.steps_per_epoch
    logger.info(
        "training: %.1f s a step, %.0f s an evaluation: %d epochs of %d steps in %g minutes",
        *(pace.step, pace.evaluation, epochs, pace.steps_per_epoch, minutes),
    )
    return {"epochs": epochs, "every": max(1, steps // _EVALUATIONS)}


def of_length(config: Config, length: dict[str, int]) -> Config:
    """Return the configuration of a training of a length that `epochs_within` found."""
    return config.changed({"Global.epoch_num": length["epochs"], "Global.eval_batch_step": length["every"]})
