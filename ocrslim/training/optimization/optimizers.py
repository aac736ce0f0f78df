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
    return _half_cosine(float(options["learning_rate"]), span.steps)


def _half_cosine(rate: float, steps: int, lowest: float = 0.0) -> Rate:
    return lambda step: lowest + (rate - lowest) * (1 + math.cos(math.pi * step / max(steps, 1))) / 2


def _two_step_cosine(options: Mapping[str, Any], span: Span) -> Rate:
    """A cosine that would end after `TWO_STEP` epochs, and from there on that of the whole run."""
    rate, first = float(options["learning_rate"]), span.steps_per_epoch * _TWO_STEP
    early, late = _half_cosine(rate, first), _half_cosine(rate, span.steps)
    return lambda step: early(step) if step <= first else late(step)


def _cyclical_cosine(options: Mapping[str, Any], span: Span) -> Rate:
    cycle = round(float(options["cycle"]) * span.steps_per_epoch)
    rate = _half_cosine(float(options["learning_rate"]), cycle)
    return lambda step: rate(step % max(cycle, 1))


def _linear_warmup_cosine(options: Mapping[str, Any], span: Span) -> Rate:
    """A cosine down to `min_lr`; its warm-up is `_warmup`'s."""
    return _half_cosine(float(options["learning_rate"]), span.steps, float(options.get("min_lr", 1e-8)))


def _piecewise(options: Mapping[str, Any], span: Span) -> Rate:
    """`values[i]` from the epoch `decay_epochs[i - 1]` on."""
    boundaries = [span.steps_per_epoch * epoch for epoch in options["decay_epochs"]]
    values = [float(value) for value in options["values"]]
    return lambda step: values[bisect_right(boundaries, step)]


def _multi_step(options: Mapping[str, Any], span: Span) -> Rate:
    """The rate, times `gamma` from each epoch of `milestones` on."""
    boundaries = [span.steps_per_epoch * epoch for epoch in options["milestones"]]
    rate, gamma = float(options["learning_rate"]), float(options["gamma"])
    return lambda step: rate * gamma ** bisect_right(boundaries, step)


def _step(options: Mapping[str, Any], span: Span) -> Rate:
    """The rate, times `gamma` every `step_size` epochs."""
    size = span.steps_per_epoch * int(options["step_size"])
    rate, gamma = float(options["learning_rate"]), float(options["gamma"])
    return lambda step: rate * gamma ** (step // size)


def _polynomial(rate: float, span: Span, power: float, lowest: float) -> Rate:
    """lowest + (rate - lowest) * (1 - step / steps) ** power."""
    return lambda step: lowest + (rate - lowest) * (1 - min(step, span.steps) / max(span.steps, 1)) ** power


def _linear(options: Mapping[str, Any], span: Span) -> Rate:
    power, lowest = float(options.get("power", 1)), float(options.get("end_lr", 0))
    return _polynomial(float(options["learning_rate"]), span, power, lowest)


def _decay_learning_rate(options: Mapping[str, Any], span: Span) -> Rate:
    return _polynomial(float(options["learning_rate"]), span, float(options.get("factor", 0.9)), 0.0)


def _one_cycle(options: Mapping[str, Any], span: Span) -> Rate:
    """Up to `max_lr` and down to almost nothing; Smith and Topin, "Super-Convergence" (2018).

    Phases of (last step, rate there); the cycle starts at `max_lr` / 25 and ends at 1 / 10000 of that.
    """
    highest, up, end = float(options["max_lr"]), 0.3 * span.steps - 1, span.steps - 1
    start = highest / 25
    phases = [(up, highest), (end, start / 1e4)]
    if options.get("three_phase"):
        phases.insert(1, (2 * 0.3 * span.steps - 2, start))
    linear = options.get("anneal_strategy") == "linear"

    def rate(step: int) -> float:
        begun, before = 0.0, start
        for last, after in phases[:-1]:
            if step <= last:
                break
            begun, before = last, after
        else:
            last, after = phases[-1]
        part = (step - begun) / (last - begun)
        return before + (after - before) * (part if linear else (1 - math.cos(math.pi * part)) / 2)

    return rate


_TWO_STEP = 200  # epochs, as PaddleOCR has it
_SCHEDULES = {
    "Const": _const,
    "Cosine": _cosine,
    "CyclicalCosine": _cyclical_cosine,
    "DecayLearningRate": _decay_learning_rate,
    "Linear": _linear,
    "LinearWarmupCosine": _linear_warmup_cosine,
    "MultiStepDecay": _multi_step,
    "OneCycle": _one_cycle,
    "Piecewise": _piecewise,
    "Step": _step,
    "TwoStepCosine": _two_step_cosine,
}


def build_schedule(options: Mapping[str, Any], span: Span) -> Schedule:
    """Build the schedule of an `Optimizer.lr` section: Const (also without a name), Cosine, Piecewise and others.

    With `warmup_epoch` the rate first rises linearly from 0 at step 0 to the schedule's own rate at
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
    first, warmup = _warmup(options, span)
    if not warmup:
        return Schedule(rate)
    peak = float(options.get("max_lr", rate(0)))  # a single cycle starts below it
    return Schedule(lambda step: first + (peak - first) * step / warmup if step < warmup else rate(step - warmup))


def _warmup(options: Mapping[str, Any], span: Span) -> tuple[float, int]:
    """Return the rate that a warm-up starts at, and its steps."""
    if options.get("name") == "LinearWarmupCosine":
        return float(options.get("start_lr", 1e-5)), int(options.get("warmup_steps", 5000))
    return 0.0, round((options.get("warmup_epoch") or 0) * span.steps_per_epoch)


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


def _l2_or(options: Mapping[str, Any]) -> Any:
    """Build the decay of an optimizer: its regularizer, else its `weight_decay`."""
    return _decay(options.get("regularizer") or {"name": "L2", "factor": options.get("weight_decay")})


def _known(options: Mapping[str, Any], *names: str) -> dict[str, float]:
    return {name: float(options[name]) for name in names if name in options}


def _adam(options: Mapping[str, Any], **common: Any) -> Optimizer:
    known = _known(options, "beta1", "beta2", "epsilon")
    return paddle.optimizer.Adam(weight_decay=_l2_or(options), **known, **common)


def _adamw(options: Mapping[str, Any], **common: Any) -> Optimizer:
    """Build AdamW, whose decay is a number: an L2 regularizer's factor, else `weight_decay`, else 0.01."""
    regularizer = options.get("regularizer") or {}
    if str(regularizer.get("name", "L2")).removesuffix("Decay") != "L2":
        raise ConfigError(
            f"Optimizer.regularizer.name: {regularizer['name']!r}, expected L2: AdamW decays the weights themselves"
        )
    factor = regularizer.get("factor", options.get("weight_decay", 0.01))
    known = _known(options, "beta1", "beta2", "epsilon")
    return paddle.optimizer.AdamW(weight_decay=float(factor), **known, **common)


def _momentum(options: Mapping[str, Any], **common: Any) -> Optimizer:
    momentum = float(options.get("momentum", 0.9))
    return paddle.optimizer.Momentum(momentum=momentum, weight_decay=_l2_or(options), **common)


def _rmsprop(options: Mapping[str, Any], **common: Any) -> Optimizer:
    known = _known(options, "momentum", "rho", "epsilon")
    return paddle.optimizer.RMSProp(weight_decay=_l2_or(options), **known, **common)


def _adadelta(options: Mapping[str, Any], **common: Any) -> Optimizer:
    known = {"epsilon": 1e-8, **_known(options, "rho", "epsilon")}  # PaddleOCR's default is not Paddle's
    return paddle.optimizer.Adadelta(weight_decay=_l2_or(options), **known, **common)


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


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "Adadelta": _adadelta,
    "Adam": _adam,
    "AdamW": _adamw,
    "Momentum": _momentum,
    "RMSProp": _rmsprop,
}


# of a run that only scores and saves, whose configuration may have none
_WITHOUT_STEPS: dict[str, Any] = {"name": "Adam", "lr": {"name": "Const", "learning_rate": 0.0}}


def build_optimizer(
    config: Config, parameters: Iterable[tuple[str, paddle.Tensor]], span: Span
) -> tuple[Optimizer, Schedule]:
    """Build the optimizer of the section `Optimizer` over the trainable ones of `parameters`.

    Args:
        parameters: with their state-dict keys, as `Layer.named_parameters` gives them.

    Returns:
        The optimizer and the schedule that drives it; call `schedule.step(n)` before optimizer step n.

    Raises:
        ConfigError: an unknown optimizer, schedule or regularizer.
    """
    options = config.section("Optimizer") if span.steps else _WITHOUT_STEPS
    name = options.get("name") or "Adam"
    if name not in _OPTIMIZERS:
        raise ConfigError(f"Optimizer.name: {name!r}, expected one of {', '.join(_OPTIMIZERS)}")
    schedule = build_schedule(options.get("lr") or {}, span)
    trainable = [(key, parameter) for key, parameter in parameters if not parameter.stop_gradient]
    common: dict[str, Any] = {"learning_rate": schedule, "parameters": [parameter for _, parameter in trainable]}
    if name == "AdamW":
        common["apply_decay_param_fun"] = _decayed(options, trainable)
    return _OPTIMIZERS[name](options, grad_clip=_clip(options), **common), schedule


def _decayed(
    options: Mapping[str, Any], parameters: Iterable[tuple[str, paddle.Tensor]]
) -> Callable[[str], bool] | None:
    """Return the choice of parameters that AdamW decays, by Paddle's names; None where it is all of them."""
    parts, vectors = (
        str(options.get("no_weight_decay_name") or "").split(),
        options.get("one_dim_param_no_weight_decay"),
    )
    spared = {
        parameter.name
        for key, parameter in parameters
        if any(part in key for part in parts) or (vectors and len(parameter.shape) == 1)
    }
    return (lambda name: name not in spared) if spared else None
