"""When a training run has gone wrong: losses or gradients that are not finite, or losses that have run away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import paddle
from paddle import Tensor

from ocrslim.snapshots import NonFinite

_LATEST = 8  # losses whose median is held against that of those before: three batches of rubbish do not count
_KNOWN = 24  # losses before these that it takes
_DIVERGED, _CALM = 3.0, 1.5  # times the median before


class Diverged(NonFinite):
    """Training has left the weights that it could go on from."""


def check_maps(maps: Tensor) -> None:
    """Raise `Diverged` if the network's output is not finite."""
    if not bool(paddle.isfinite(maps).all()):
        raise Diverged("the network's output is not finite")


def check_loss(parts: Mapping[str, Tensor]) -> float:
    """The sum `loss` as a number; raises `Diverged`, with all parts, if it is not finite."""
    loss = float(parts["loss"])
    if not math.isfinite(loss):
        listed = ", ".join(f"{name} {float(part):g}" for name, part in parts.items() if name != "loss")
        raise Diverged(f"the loss is {loss} ({listed})")
    return loss


def agreed_loss(said: Sequence[tuple[float, str]]) -> float:
    """The mean of the ranks' losses; raises `Diverged` if one of the ranks has a fault.

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
    """Raise `Diverged` if the latest of `losses` lie far above those before."""
    ratio = excess(losses)
    if ratio > _DIVERGED:
        before, now = _medians(losses)
        raise Diverged(f"the loss has risen to {now:.4g}, {ratio:.1f} times its running median of {before:.4g}")


def calm(losses: Sequence[float]) -> bool:
    """Whether the state that `losses` lead to is worth going back to."""
    return excess(losses) <= _CALM


def excess(losses: Sequence[float]) -> float:
    """Median of the latest losses over that of those before; 1 where too few are known to tell."""
    if len(losses) < _KNOWN + _LATEST:
        return 1.0
    before, now = _medians(losses)
    return now / before if before > 0 else 1.0


def _medians(losses: Sequence[float]) -> tuple[float, float]:
    return median(losses[:-_LATEST]), median(losses[-_LATEST:])
