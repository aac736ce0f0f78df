"""Iterative pruning: each round prunes a part of the target, refits, and measures a new sensitivity table.

Han et al., "Learning both Weights and Connections" (arXiv 1506.02626, section 3.4): alternate pruning with restoring
the accuracy. The loss of a layer depends on the channels that other layers have lost; a table of the refitted network
includes this, one of the unpruned network does not.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.errors import ArtifactError, ConfigError
from ocrslim.formats import PLAN_SUFFIX, read_sensitivities
from ocrslim.models import save_checkpoint
from ocrslim.pruning import (
    AUTO,
    RECONSTRUCTION,
    PrunableNetwork,
    apply_plan,
    load_prunable_network,
    require_training,
)
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import choose_plan
from ocrslim.selection.recipes import table_of
from ocrslim.sensitivity import measure, share_of
from ocrslim.utils import Field, check_writable, hash_value, read_json, write_json

logger = logging.getLogger(__name__)

_WITHOUT_TABLE = (AUTO, RECONSTRUCTION)  # of later rounds: a table of the first is of another network
_WEIGHTS, _RECORD = "pruned.pdparams", "round.json"
_LEAST = 1e-3  # least fraction of the cost that a round removes, even if earlier rounds removed too much

_SMALLEST, _LARGEST = 1e-9, 10.0  # valid range of the remaining fraction of a cost


@dataclass(frozen=True)
class LastRound:
    """Start of the last round.

    Attributes:
        config: names its weights and its table, and has the remaining target.
        origin: hashes of the plans so far; {} for a single round.
        before: `macs_before` and `params_before` of the first round; {} for a single round.
    """

    config: Config
    origin: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)


def early_rounds(config: Config, training: LabelledSet, scores: CandidateScores) -> LastRound:
    """Do all of `Prune.rounds` except the last, in folders `round_1`, .. of `Global.save_model_dir`.

    Round k of n leaves (1 - target)^(k / n) of the cost. Finished rounds are not repeated, and an
    interrupted one continues.

    Args:
        training: the training images, for refits and for the criteria `taylor` and `reconstruction`.
        scores: scores candidate plans, and refits the pruned network.

    Raises:
        ConfigError: several rounds under Paddle's launcher.
        ArtifactError: the folder of a round holds one of another run.
        PlanError: the remaining target cannot be reached.
    """
    if config.prune.rounds == 1:
        return LastRound(config)
    if share_of(None).count > 1:
        raise ConfigError(
            f"Prune.rounds: {config.prune.rounds} under paddle.distributed.launch; expected one process: run the "
            "command without it until training begins, interrupt it, and continue it with the launcher"
        )
    current, records = _aimed(config, config, 1, 1.0), []
    for number in range(1, config.prune.rounds):
        folder = check_writable(config.save_model_dir / f"round_{number}")
        records.append(_round(current, training, scores, folder))
        ours = {"Global.pretrained_model": str(folder / _WEIGHTS), "Global.save_model_dir": str(folder)}
        refitted = config.changed({**ours, "Prune.sen_file": None})
        if config.prune.criterion not in _WITHOUT_TABLE:
            measure(refitted).draw()
        current = _aimed(config, refitted, number + 1, math.prod(record["left"] for record in records))
    before = {f"{cost}_before": records[0][cost] for cost in ("macs", "params")}
    plans = {f"round {number}": record["plan"] for number, record in enumerate(records, 1)}
    return LastRound(current, plans, before)


def _aimed(config: Config, current: Config, number: int, left: float) -> Config:
    """Set the target of round `number` of `config` in `current`.

    Args:
        left: the remaining fraction of the cost after the rounds before.
    """
    ((kind, fraction),) = (config.prune.target or {}).items()
    rounds = config.prune.rounds
    step = max(_LEAST, 1 - (1 - fraction) ** (number / rounds) / left)
    logger.info("round %d of %d: target %.1f %% of the remaining %s", number, rounds, 100 * step, kind)
    return current.changed({"Prune.target": {kind: step}})


def _round(config: Config, training: LabelledSet, scores: CandidateScores, folder: Path) -> dict[str, Any]:
    """Choose a plan, prune and refit; write a checkpoint with its plan to `folder`; return the record of the round."""
    network = load_prunable_network(config, training, inputs=scores.inputs)
    require_training(network.graph)
    request = _request(network, training)
    done = _done(folder / _RECORD, request, config.overwrite)
    if done is not None:
        logger.info("%s: finished already", folder)
        return done
    choice = choose_plan(network, partial(scores.score, config))
    logger.info(choice.summary)
    plan = choice.plan.after(network.plan)
    apply_plan(network.model, choice.plan)
    scores.refit(network.model, plan)
    plan.save(folder / f"{Path(_WEIGHTS).stem}{PLAN_SUFFIX}")
    save_checkpoint(network.model, folder / _WEIGHTS)
    before = {"macs": choice.before.macs, "params": choice.before.params}
    (kind,) = config.prune.target or {}
    record = {"request": request, "plan": plan.hash(), "left": choice.left(kind), **before}
    write_json(folder / _RECORD, record)  # last: without it the round is done again
    return record


def _request(network: PrunableNetwork, training: LabelledSet) -> str:
    """Hash of all inputs of a round."""
    config = network.config
    sections = [config.section(name) for name in ("Prune", "Eval.dataset.transforms")]
    table = {} if network.by_reconstruction else read_sensitivities(table_of(config))
    return hash_value([network.hashes(), sections, config.seed, table, training.fingerprint()])


def _done(path: Path, request: str, overwrite: bool) -> dict[str, Any] | None:
    """Read the record of a finished round; None if the round is not finished.

    Raises:
        ArtifactError: the record is of another run.
    """
    if not os.path.lexists(path):
        return None
    try:
        record = read_json(path, "ocrslim prune")
        _check_record(Field(record))
    except (ArtifactError, ValueError) as fault:
        logger.warning("%s: damaged, the round is repeated: %s", path, fault)
        return None
    if record["request"] == request:
        return record
    if overwrite:
        return None
    raise ArtifactError(
        f"{path}: a round of another run (other weights, table, images or settings); choose another "
        "-o Global.save_model_dir=, or start over with -o Global.overwrite=true"
    )


def _check_record(record: Field) -> None:
    for name in ("request", "plan"):
        record[name].text()
    record["left"].number(_SMALLEST, _LARGEST)
    for name in ("macs", "params"):
        record[name].whole(1)
