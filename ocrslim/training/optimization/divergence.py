"""Divergence of a training run: losses or gradients that are not finite, and losses that run away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import paddle
from paddle import Tensor

from ocrslim.config import Config
from ocrslim.errors import TrainingError
from ocrslim.training.checkpointing.snapshot import NonFinite
from ocrslim.training.checkpointing.state_file import BEST, LATEST, WEIGHTS_SUFFIX

_LATEST = 8  # losses whose median is held against that of those before: three batches of rubbish do not count
_KNOWN = 24  # losses before these that it takes
_DIVERGED, _STABLE = 3.0, 1.5  # times the median before


class Diverged(NonFinite):
    """Training has left the weights that it could go on from."""


def check_predictions(predictions: Mapping[str, Any]) -> None:
    """Raise `Diverged` if an output of the network is not finite."""
    for tensor in predictions.values():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not bool(paddle.isfinite(tensor).all()):
            raise Diverged("the network's output is not finite")


def check_loss(parts: Mapping[str, Tensor]) -> float:
    """Return the sum `loss` as a number; raise `Diverged`, with all parts, if it is not finite."""
    loss = float(parts["loss"])
    if not math.isfinite(loss):
        listed = ", ".join(f"{name} {float(part):g}" for name, part in parts.items() if name != "loss")
        raise Diverged(f"the loss is {loss} ({listed})")
    return loss


def agreed_loss(said: Sequence[tuple[float, str]]) -> float:
    """Return the mean of the ranks' losses; raise `Diverged` if one of the ranks has a fault.

    Args:
        said: loss and fault ("" for none) of every rank.
    """
    faults = [(rank, fault) for rank, (_, fault) in enumerate(said) if fault]
    if faults:
        rank, fault = faults[0]
        raise Diverged(fault if len(said) == 1 else f"rank {rank}: {fault}")
    return sum(loss for loss, _ in said) / len(said)


def check_gradients(parameters: Iterable[Tensor]) -> None:
    """Raise `Diverged` if a gradient is not finite: one step with it and the weights are lost."""
    sizes = [parameter.grad.abs().sum() for parameter in parameters if parameter.grad is not None]
    if sizes and not math.isfinite(float(paddle.add_n(sizes))):
        raise Diverged("the gradients are not finite")


def check_losses(losses: Sequence[float]) -> None:
    """Raise `Diverged` if the latest of `losses` are far above those before."""
    ratio = loss_ratio(losses)
    if ratio > _DIVERGED:
        before, now = _medians(losses)
        raise Diverged(f"the loss has risen to {now:.4g}, {ratio:.1f} times its running median of {before:.4g}")


def is_stable(losses: Sequence[float]) -> bool:
    """Tell whether the state that `losses` lead to is worth going back to."""
    return loss_ratio(losses) <= _STABLE


def loss_ratio(losses: Sequence[float]) -> float:
    """Return the median of the latest losses over that of those before; 1 where too few are known to tell."""
    if len(losses) < _KNOWN + _LATEST:
        return 1.0
    before, now = _medians(losses)
    return now / before if before > 0 else 1.0


def _medians(losses: Sequence[float]) -> tuple[float, float]:
    return median(losses[:-_LATEST]), median(losses[-_LATEST:])


def divergence_error(config: Config, folder: Path, where: str, rollbacks: int, what: str) -> TrainingError:
    """Build the error that says what happened, where the last good weights are, and what to try."""
    rate = config.section("Optimizer").get("lr") or {}
    key = "values" if rate.get("name") == "Piecewise" else "learning_rate"
    again = f", although the learning rate was halved {rollbacks} times" if rollbacks else ""
    return TrainingError(
        f"training diverged after {where}{again}: {what}; the last good weights are "
        f"{folder / (LATEST + WEIGHTS_SUFFIX)} and {BEST}{WEIGHTS_SUFFIX}; start over with "
        f"a lower -o Optimizer.lr.{key}= (now {rate.get(key)}) and -o Global.overwrite=true; if that "
        "is not enough, limit the gradients as well, with -o Optimizer.clip_norm_global=5"
    )
