"""Optimizers and learning-rate schedules as PaddleOCR's `Optimizer` section describes them.

A schedule is a function of the step alone. So it has no state to save: a resumed run sets the step
and has the rate that an uninterrupted run has.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import paddle
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from ocrslim.config import Config
from ocrslim.errors import ConfigError
from ocrslim.training.span import Span

Rate = Callable[[int], float]


class Schedule(LRScheduler):
    """A learning rate by step: `step(n)` sets the optimizer's rate to that of step n (0-based), times `factor`."""

    def __init__(self, rate: Rate):
        self.rate = rate
        self.factor = 1.0
        super().__init__(learning_rate=rate(0))

    def get_lr(self) -> float:
        return self.factor * self.rate(self.last_epoch)


def _const(options: Mapping[str, Any], span: Span) -> Rate:
    rate = float(options["learning_rate"])
    return lambda step: rate


def _cosine(options: Mapping[str, Any], span: Span) -> Rate:
    """rate * (1 + cos(pi * step / steps)) / 2; Loshchilov and Hutter, SGDR (2017), without restarts."""
    rate = float(options["learning_rate"])
    return lambda step: rate * (1 + math.cos(math.pi * step / max(span.steps, 1))) / 2


def _piecewise(options: Mapping[str, Any], span: Span) -> Rate:
    """`values[i]` from the epoch `decay_epochs[i - 1]` on."""
    boundaries = [span.steps_per_epoch * epoch for epoch in options["decay_epochs"]]
    values = [float(value) for value in options["values"]]
    return lambda step: values[bisect_right(boundaries, step)]


_SCHEDULES = {"Const": _const, "Cosine": _cosine, "Piecewise": _piecewise}


def build_schedule(options: Mapping[str, Any], span: Span) -> Schedule:
    """Build the schedule of an `Optimizer.lr` section: Const (also without a name), Cosine or Piecewise.

    With `warmup_epoch` the rate first rises linearly from 0 at step 0 to the schedule's first rate at
    step w = round(warmup_epoch * steps_per_epoch); after that the schedule's own steps count from w.
    It is not compressed: a cosine over all epochs after a warm-up is cut off before it reaches 0, as in
    PaddleOCR. (PaddleOCR ignores the warm-up of a section without a name; here it counts.)

    Raises:
        ConfigError: an unknown schedule.
    """
    name = options.get("name") or "Const"
    if name not in _SCHEDULES:
        raise ConfigError(f"Optimizer.lr.name: {name!r}, expected one of {', '.join(_SCHEDULES)}")
    rate = _SCHEDULES[name](options, span)
    warmup = round((options.get("warmup_epoch") or 0) * span.steps_per_epoch)
    if not warmup:
        return Schedule(rate)
    peak = rate(0)
    return Schedule(lambda step: peak * step / warmup if step < warmup else rate(step - warmup))


def _decay(options: Mapping[str, Any] | None) -> Any:
    """Build the L1 or L2 decay of an `Optimizer.regularizer` section; None without one, or with a factor of 0."""
    factor = float((options or {}).get("factor") or 0)
    if not options or not factor:
        return None
    kinds = {"L1": paddle.regularizer.L1Decay, "L2": paddle.regularizer.L2Decay}
    name = str(options.get("name")).removesuffix("Decay")  # PaddleOCR takes L2Decay for L2
    if name not in kinds:
        raise ConfigError(f"Optimizer.regularizer.name: {options.get('name')!r}, expected L1 or L2")
    return kinds[name](factor)


def _adam(options: Mapping[str, Any], **common: Any) -> Optimizer:
    known = {key: float(options[key]) for key in ("beta1", "beta2", "epsilon") if key in options}
    return paddle.optimizer.Adam(weight_decay=_decay(options.get("regularizer")), **known, **common)


def _adamw(options: Mapping[str, Any], **common: Any) -> Optimizer:
    """Build AdamW, whose decay is a number: an L2 regularizer's factor, else `weight_decay`, else 0.01."""
    regularizer = options.get("regularizer") or {}
    if str(regularizer.get("name", "L2")).removesuffix("Decay") != "L2":
        raise ConfigError(
            f"Optimizer.regularizer.name: {regularizer['name']!r}, expected L2: AdamW decays the weights themselves"
        )
    factor = regularizer.get("factor", options.get("weight_decay", 0.01))
    known = {key: float(options[key]) for key in ("beta1", "beta2", "epsilon") if key in options}
    return paddle.optimizer.AdamW(weight_decay=float(factor), **known, **common)


def _momentum(options: Mapping[str, Any], **common: Any) -> Optimizer:
    regularizer = options.get("regularizer") or {"name": "L2", "factor": options.get("weight_decay")}
    momentum = float(options.get("momentum", 0.9))
    return paddle.optimizer.Momentum(momentum=momentum, weight_decay=_decay(regularizer), **common)


def _clip(options: Mapping[str, Any]) -> Any:
    """Build the gradient clipping, by PaddleOCR's keys; `clip_norm` wins over `clip_norm_global`, as there.

    `clip_norm` limits the L2 norm of each parameter's gradient by itself; `clip_norm_global` that of all together
    (Pascanu, Mikolov and Bengio, arXiv 1211.5063, algorithm 1), which keeps the step's direction.
    """
    if options.get("clip_norm"):
        return paddle.nn.ClipGradByNorm(float(options["clip_norm"]))
    if options.get("clip_norm_global"):
        return paddle.nn.ClipGradByGlobalNorm(float(options["clip_norm_global"]))
    return None


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"Adam": _adam, "AdamW": _adamw, "Momentum": _momentum}


def build_optimizer(config: Config, parameters: Iterable[paddle.Tensor], span: Span) -> tuple[Optimizer, Schedule]:
    """Build the optimizer of the section `Optimizer` over the trainable ones of `parameters`.

    Returns:
        The optimizer (Adam, AdamW or Momentum) and the schedule that drives it; call
        `schedule.step(n)` before optimizer step n.

    Raises:
        ConfigError: an unknown optimizer, schedule or regularizer.
    """
    options = config.section("Optimizer")
    name = options.get("name") or "Adam"
    if name not in _OPTIMIZERS:
        raise ConfigError(f"Optimizer.name: {name!r}, expected one of {', '.join(_OPTIMIZERS)}")
    schedule = build_schedule(options.get("lr") or {}, span)
    trainable = [parameter for parameter in parameters if not parameter.stop_gradient]
    common: dict[str, Any] = {"learning_rate": schedule, "parameters": trainable, "grad_clip": _clip(options)}
    return _OPTIMIZERS[name](options, **common), schedule
