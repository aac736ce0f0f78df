"""The command `train`."""

from __future__ import annotations

import logging
from typing import Any

import paddle

from ocrslim.config import Config
from ocrslim.data import scan_both
from ocrslim.models import build_model, init_backbone, state_arrays
from ocrslim.pruning import WEIGHTS, Plan, load_network, which_counts
from ocrslim.training import TrainingJob, check_source, fit, wants_event_log
from ocrslim.utils import check_writable, hash_arrays, joined

logger = logging.getLogger(__name__)


_BACKBONE = "Global.init_backbone"


def run_train(config: Config) -> dict[str, Any]:
    """The training loop without pruning, from `Global.pretrain_weights`, a backbone, or nothing.

    A pruned checkpoint is trained on as it is, with its plan.
    """
    wants_event_log(config)
    config.require("Architecture", "Train", "Eval", "Loss", "Optimizer", "PostProcess")
    check_source(config)
    with joined() as ranks:
        if ranks.first:
            check_writable(config.save_model_dir)
        training, evaluation = scan_both(config)
        model, plan = _starting_network(config)
        origin = {"weights": hash_arrays(state_arrays(model))}
        result = fit(TrainingJob(model, config, training, evaluation, plan, origin, ranks=ranks))
        print(result.summary())
        return result.to_json()


def _starting_network(config: Config) -> tuple[paddle.nn.Layer, Plan | None]:
    """The network that `train` starts from, and the plan that it is pruned by, if it is."""
    backbone = config.get(_BACKBONE)
    if config.weights and not (backbone and which_counts(config, _BACKBONE, WEIGHTS) == _BACKBONE):
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
