"""Loading a network from a configuration, pruned where a plan lies beside the checkpoint."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from ocrslim.config import Config
from ocrslim.errors import ConfigError, PlanError
from ocrslim.formats import EXPORTED, PLAN_SUFFIX, is_exported, named_network, resolve_checkpoint
from ocrslim.models import build_model, load_weights
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import apply_plan, forget_pruning
from ocrslim.utils import hash_value

logger = logging.getLogger(__name__)

_PROGRAM = "program"  # of an architecture: the file that the network came from
CHECKPOINTS, WEIGHTS = "Global.checkpoints", "Global.pretrained_model"


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    Attributes:
        model: in eval mode.
        plan: the plan it was pruned by; None for an unpruned network.
        source: the file of its weights.
    """

    model: nn.Layer
    plan: Plan | None
    source: str


def untrained(config: Config) -> Config:
    """Return `config` for a command that trains nothing: `Global.checkpoints`, if set, names the weights.

    PaddleOCR reads `checkpoints` first in that case. Where `Global.pretrained_model` names other weights,
    `choose_weights_key` decides.

    Raises:
        ConfigError: `Global.checkpoints` and `Global.pretrained_model` name different weights in the same place.
    """
    checkpoint, weights = config.get(CHECKPOINTS), config.weights
    if not checkpoint or (weights and _stem(checkpoint) == _stem(weights)):
        return config
    if weights and choose_weights_key(config, CHECKPOINTS, WEIGHTS) == WEIGHTS:
        return config
    return config.changed({WEIGHTS: checkpoint})


def choose_weights_key(config: Config, one: str, other: str) -> str:
    """Choose between two keys that name different weights: the one given with `-o`; log which is not read.

    Raises:
        ConfigError: both or none were given with `-o`.
    """
    chosen = [key for key in (one, other) if key in config.given]
    if len(chosen) != 1:
        raise ConfigError(
            f"{config.path}: {one} is {config.get(one)} and {other} is {config.get(other)}, expected one of them: "
            f"clear the other with -o {other}= or -o {one}="
        )
    unread = other if chosen[0] == one else one
    logger.info(
        "%s: %s is used, as -o names it; %s: %s is not read",
        chosen[0],
        config.get(chosen[0]),
        unread,
        config.get(unread),
    )
    return chosen[0]


def _stem(name: str) -> str:
    return os.path.realpath(name.removesuffix(".pdparams"))


def load_network(config: Config) -> Network:
    """Build the network of `config` and load `Global.pretrain_weights` into it, strictly.

    Raises:
        ConfigError: no weights are named.
        WeightsError: they are missing, damaged, or of another architecture.
        PlanError: the plan beside a checkpoint is not of this architecture.
    """
    source = config.weights
    if not source:
        raise ConfigError(
            f"{config.path}: Global.pretrain_weights is empty; expected a checkpoint, an inference folder "
            "or an ONNX file: name it with -o Global.pretrain_weights=PATH"
        )
    paddle.seed(config.seed)
    architecture = config.section("Architecture")
    model = build_model(architecture)
    plan = _plan_beside(source, architecture)
    if plan is not None:
        try:
            apply_plan(model, plan)
        except PlanError as error:
            raise PlanError(
                f"{_plan_path(source)}: {error}; restore the file that was written with the weights"
            ) from None
    if str(named_network(source)) != architecture.get("program"):  # which comes with its weights
        source = _load(model, source, architecture)
    model.eval()
    return Network(model, plan, source)


def _load(model: nn.Layer, source: str, architecture: Mapping[str, Any]) -> str:
    """Load weights; return their file."""
    if "program" in architecture and is_exported(source):
        raise ConfigError(
            f"{WEIGHTS}: {source} is an exported network, and so is Architecture.program, {architecture['program']}: "
            "expected a checkpoint of the latter, or one and the same network"
        )
    return str(load_weights(model, source).source)


def load_base_network(config: Config) -> Network:
    """Load the network that a new plan is made for; one that is pruned already can be pruned further.

    Raises:
        ConfigError, WeightsError, PlanError: as `load_network`.
    """
    network = load_network(config)
    forget_pruning(network.model)
    return network


def refuse_pruned(source: Path) -> None:
    """Refuse a pruned checkpoint.

    Raises:
        PlanError: a plan lies beside it.
    """
    path = _plan_path(source)
    if path is not None and path.is_file():
        raise PlanError(
            f"{source}: this checkpoint is pruned already ({path.name} lies beside it); "
            "expected an unpruned one: name it instead"
        )


def _plan_path(source: Path | str) -> Path | None:
    """Path of a checkpoint's plan; None for sources that cannot have one."""
    with contextlib.suppress(OSError):  # the reader reports the fault
        if Path(source).is_dir() or Path(source).suffix in EXPORTED:
            return None
    checkpoint = resolve_checkpoint(source)
    return checkpoint.with_name(checkpoint.name.removesuffix(".pdparams") + PLAN_SUFFIX)


def _plan_beside(source: str, architecture: Mapping[str, Any]) -> Plan | None:
    path = _plan_path(source)
    if path is None or not path.is_file():
        return None
    plan = Plan.load(path)
    if _identity(plan.architecture) != _identity(architecture):
        given = (plan.architecture, architecture)
        if all(_PROGRAM in each for each in given):
            made_for, found = (f"{each[_PROGRAM]} (checksum {each.get('checksum')})" for each in given)
            raise PlanError(
                f"{path}: made for the network {made_for}, the checkpoint is of {found}: "
                "restore the plan that was written with these weights"
            )
        raise PlanError(
            f"{path}: made for the architecture {_short(plan.architecture)}, the configuration has "
            f"{_short(architecture)}: use the configuration it was pruned with (config.yml beside it)"
        )
    return plan


def _identity(architecture: Mapping[str, Any]) -> str:
    """Hash an architecture; of a network from a file what it holds, wherever it lies."""
    return hash_value({key: value for key, value in architecture.items() if key != "program"})


def _short(architecture: Mapping[str, Any]) -> str:
    parts = (architecture.get(part) or {} for part in ("Backbone", "Neck", "Head"))
    return " + ".join(
        f"{part.get('name')}({', '.join(f'{k}={v}' for k, v in part.items() if k != 'name')})" for part in parts
    )
