"""Training by a configuration, without pruning."""

from __future__ import annotations

import logging

import paddle

from ocrslim.config import Config, is_imported
from ocrslim.data import scan_both
from ocrslim.errors import ConfigError
from ocrslim.evaluation import with_predicted_labels
from ocrslim.models import build_model, init_backbone, state_arrays
from ocrslim.pruning import WEIGHTS, Plan, choose_weights_key, load_network
from ocrslim.training.checkpointing.run import check_source
from ocrslim.training.distillation import Distillation, build_distillation
from ocrslim.training.fitting import FitResult, fit
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.visualdl import wants_event_log
from ocrslim.training.settings import training_sections, with_training_settings
from ocrslim.training.span import epochs_of
from ocrslim.utils import check_writable, hash_arrays, join_launch

logger = logging.getLogger(__name__)

_BACKBONE = "Global.init_backbone"


def train(config: Config) -> FitResult:
    """Train from `Global.pretrain_weights`, a backbone, or nothing -> `best_accuracy.*` in `Global.save_model_dir`.

    A pruned checkpoint is trained on as it is, with its plan. Goes on with the run that the folder holds.

    Raises:
        ConfigError, DataError, WeightsError: something is missing or wrong.
        TrainingError: the folder holds another run, or training diverged.
    """
    wants_event_log(config)
    config = with_training_settings(config)
    config.require("Architecture", "Eval", "PostProcess", *training_sections(config))
    check_source(config)
    if not epochs_of(config):
        raise ConfigError(
            f"{config.path}: Global.epoch_num: found 0, which leaves nothing to train: expected 1 or more; without "
            "training networks are only pruned (ocrslim prune)"
        )
    with join_launch() as ranks:
        if ranks.first:
            check_writable(config.save_model_dir)
        config = ranks.share(with_predicted_labels(config) if ranks.first else None)
        training, evaluation = scan_both(config)
        model, plan = _starting_network(config)
        distillation = None if training.labelled else _learnt_from_file(config, model, plan)
        origin = {"weights": hash_arrays(state_arrays(model))}
        if distillation is not None:
            origin["distillation"] = distillation.settings
        return fit(TrainingJob(model, config, training, evaluation, plan, origin, distillation, ranks))


def _learnt_from_file(config: Config, model: paddle.nn.Layer, plan: Plan | None) -> Distillation | None:
    """Return the distillation of a training without labels: of a pruned network from the file that it was cut out of.

    Raises:
        ConfigError: there is no other network to learn from.
    """
    if plan is None or not is_imported(config.tree):
        raise ConfigError(
            f"{config.path}: Train.dataset.label_file_list: names no labels, and there is no unpruned network to learn "
            "from: name labels, or a checkpoint that was pruned from an exported file (ocrslim prune)"
        )
    return build_distillation(config, build_model(config.section("Architecture")), model, plan)


def _starting_network(config: Config) -> tuple[paddle.nn.Layer, Plan | None]:
    """The network that `train` starts from, and the plan that it is pruned by, if it is."""
    backbone = config.get(_BACKBONE)
    if config.weights and not (backbone and choose_weights_key(config, _BACKBONE, WEIGHTS) == _BACKBONE):
        network = load_network(config)
        return network.model, network.plan
    paddle.seed(config.seed)
    model = build_model(config.section("Architecture"))
    if backbone:
        taken = init_backbone(model, backbone)
        logger.info("%s: %d arrays taken, %d left out", backbone, len(taken.loaded), len(taken.left_out))
        for key, reason in taken.left_out:
            logger.info("  left out %s: %s", key, reason)
    return model, None
