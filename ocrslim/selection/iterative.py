"""Pruning in rounds: a part of the target, refit, the table measured anew on what is left, and again.

Han et al., "Learning both Weights and Connections" (arXiv 1506.02626, section 3.4): prune a little and let the network
recover before it loses more. What a layer can lose depends on what the others have lost, which one table of the whole
network does not know; a table of the refitted network does.
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
from ocrslim.formats import read_sensitivities
from ocrslim.models import save_checkpoint
from ocrslim.pruning import RECONSTRUCTION, SUFFIX, PrunableNetwork, apply_plan, load_prunable_network
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import choose_plan, table_of
from ocrslim.sensitivity import measure, share_of
from ocrslim.utils import Field, check_writable, hash_value, read_json, write_json

logger = logging.getLogger(__name__)

_WEIGHTS, _RECORD = "pruned.pdparams", "round.json"
_LEAST = 1e-3  # of the cost, to be removed in a round where the one before has removed too much already

_SMALLEST, _LARGEST = 1e-9, 10.0  # of a cost, that a round can have left


@dataclass(frozen=True)
class LastRound:
    """What the last round starts from.

    Attributes:
        config: names its weights and its table, and has what is left of the target.
        origin: hashes of the plans so far; {} for a single round.
        before: `macs_before` and `params_before`, before the first round; {} for a single one.
    """

    config: Config
    origin: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)


def early_rounds(config: Config, training: LabelledSet, trials: CandidateScores) -> LastRound:
    """Do all of `Prune.rounds` but the last, in folders `round_1`, .. of `Global.save_model_dir`.

    Round k of n leaves (1 - target)^(k / n) of the cost. What is done is not done again: an interrupted round goes on.

    Args:
        training: the images that the criteria `taylor` and `reconstruction` look at.
        trials: tries plans, and refits what they leave.

    Raises:
        ConfigError: several rounds under Paddle's launcher.
        ArtifactError: the folder of a round holds another one.
        PlanError: what is left of the target cannot be reached.
    """
    if config.prune.rounds == 1:
        return LastRound(config)
    if share_of(None).count > 1:
        raise ConfigError(
            f"Prune.rounds: {config.prune.rounds} under paddle.distributed.launch; expected one process: run the "
            "command without it until training begins, interrupt it, and start it with the launcher: it goes on"
        )
    current, records = _aimed(config, config, 1, 1.0), []
    for number in range(1, config.prune.rounds):
        folder = check_writable(config.save_model_dir / f"round_{number}")
        records.append(_round(current, training, trials, folder))
        ours = {"Global.pretrained_model": str(folder / _WEIGHTS), "Global.save_model_dir": str(folder)}
        refitted = config.changed({**ours, "Prune.sen_file": None})
        if config.prune.criterion != RECONSTRUCTION:
            measure(refitted).draw()
        current = _aimed(config, refitted, number + 1, math.prod(record["left"] for record in records))
    before = {f"{cost}_before": records[0][cost] for cost in ("macs", "params")}
    plans = {f"round {number}": record["plan"] for number, record in enumerate(records, 1)}
    return LastRound(current, plans, before)


def _aimed(config: Config, current: Config, number: int, left: float) -> Config:
    """`current` with what round `number` of `config` has to remove for its target.

    Args:
        left: of the cost, after the rounds before.
    """
    ((kind, fraction),) = (config.prune.target or {}).items()
    rounds = config.prune.rounds
    step = max(_LEAST, 1 - (1 - fraction) ** (number / rounds) / left)
    logger.info("round %d of %d: %.1f %% of the %s that are left go", number, rounds, 100 * step, kind)
    return current.changed({"Prune.target": {kind: step}})


def _round(config: Config, training: LabelledSet, trials: CandidateScores, folder: Path) -> dict[str, Any]:
    """Choose, cut and refit -> a checkpoint with its plan in `folder`; what is recorded of it there."""
    scored = load_prunable_network(config, training)
    request = _request(scored, training)
    done = _done(folder / _RECORD, request, config.overwrite)
    if done is not None:
        logger.info("%s: done already", folder)
        return done
    choice = choose_plan(scored, partial(trials.score, config))
    logger.info(choice.summary)
    plan = choice.plan.after(scored.plan)
    apply_plan(scored.model, choice.plan)
    trials.refit(scored.model, plan)
    plan.save(folder / f"{Path(_WEIGHTS).stem}{SUFFIX}")
    save_checkpoint(scored.model, folder / _WEIGHTS)
    before = {"macs": choice.before.macs, "params": choice.before.params}
    (kind,) = config.prune.target or {}
    record = {"request": request, "plan": plan.hash(), "left": choice.left(kind), **before}
    write_json(folder / _RECORD, record)  # last: without it the round is done again
    return record


def _request(scored: PrunableNetwork, training: LabelledSet) -> str:
    """Hash of everything that a round depends on."""
    config = scored.config
    sections = [config.section(name) for name in ("Prune", "Eval.dataset.transforms")]
    table = {} if scored.by_reconstruction else read_sensitivities(table_of(config))
    return hash_value([scored.hashes(), sections, config.seed, table, training.fingerprint()])


def _done(path: Path, request: str, overwrite: bool) -> dict[str, Any] | None:
    """The record of a round that is done; None where it is to be done.

    Raises:
        ArtifactError: it is of another one.
    """
    if not os.path.lexists(path):
        return None
    try:
        record = read_json(path, "ocrslim prune")
        _check_record(Field(record))
    except (ArtifactError, ValueError) as fault:
        logger.warning("%s: damaged, the round is done anew: %s", path, fault)
        return None
    if record["request"] == request:
        return record
    if overwrite:
        return None
    raise ArtifactError(
        f"{path}: a round of another run (other weights, table, images or settings); choose another "
        "-o Global.save_model_dir=, or do it anew with -o Global.overwrite=true"
    )


def _check_record(record: Field) -> None:
    for name in ("request", "plan"):
        record[name].text()
    record["left"].number(_SMALLEST, _LARGEST)
    for name in ("macs", "params"):
        record[name].whole(1)
