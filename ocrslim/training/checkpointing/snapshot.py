"""Snapshots of a training run: everything that changes in a step, taken as arrays and put back."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn
from paddle.optimizer import Optimizer

from ocrslim.errors import TrainingError
from ocrslim.models import state_arrays
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimization.ema import WeightAverage

Arrays = dict[str, np.ndarray]


class NonFinite(TrainingError):
    """NaN or infinity where a checkpoint should have been written."""


@dataclass(frozen=True)
class Snapshot:
    """A training run at one step, complete.

    Attributes:
        progress: a copy of its own.
        weights: the model's arrays by state-dict key.
        optimizer: the optimizer's arrays by `state-dict key/accumulator`.
        average: the averaged weights by state-dict key; empty where weights are not averaged.
    """

    progress: Progress
    weights: Arrays
    optimizer: Arrays
    average: Arrays

    @property
    def scored(self) -> Arrays:
        """The weights that are evaluated and kept where they are best."""
        return self.average or self.weights


def take(model: nn.Layer, optimizer: Optimizer, average: WeightAverage | None, progress: Progress) -> Snapshot:
    """Take a snapshot.

    Raises:
        NonFinite: a weight or an optimizer value is NaN or infinite.
    """
    averaged = average.arrays() if average is not None else {}
    found = Snapshot(copy.deepcopy(progress), state_arrays(model), optimizer_arrays(model, optimizer), averaged)
    for arrays in (found.weights, found.optimizer, found.average):
        check_finite(arrays)
    return found


def put_back(snapshot: Snapshot, model: nn.Layer, optimizer: Optimizer, average: WeightAverage | None) -> None:
    """Give model, optimizer and average the values of `snapshot`; the progress is the caller's to take.

    Args:
        optimizer: one that has not made a step yet: its arrays, which a snapshot from before the first step lacks,
            cannot be removed again.

    Raises:
        TrainingError: the snapshot's optimizer state is of another network.
    """
    model.set_state_dict(snapshot.weights)
    _restore_optimizer(snapshot.optimizer, model, optimizer)
    model.set_state_dict(snapshot.weights)  # making room for the optimizer's state has moved them
    if average is not None and snapshot.average:
        average.load(snapshot.average)


# Paddle names an optimizer's arrays after its automatic parameter names, which depend on what was built
# before in the process: `conv2d_57.w_0_moment1_0`. State-dict keys mean the same in every process.
_ACCUMULATOR = re.compile(r"(.+)_(moment1|moment2|moment2_max|beta1_pow_acc|beta2_pow_acc|velocity)_\d+")


def optimizer_arrays(model: nn.Layer, optimizer: Optimizer) -> Arrays:
    """Return the optimizer's state by `state-dict key/accumulator`; empty before its first step."""
    tensors = optimizer.state_dict()
    return {place: np.array(tensors[name]) for name, place in _places(model, optimizer)}


def _places(model: nn.Layer, optimizer: Optimizer) -> Iterator[tuple[str, str]]:
    """Yield Paddle's name of each optimizer array in this process, and ours."""
    keys = {parameter.name: key for key, parameter in model.state_dict().items()}
    for name in optimizer.state_dict():
        if name == "LR_Scheduler":  # a function of the step, not a state: see optimizers.py
            continue
        match = _ACCUMULATOR.fullmatch(name)
        if match is None or match[1] not in keys:
            raise ValueError(f"optimizer array {name}: no parameter of the model has it")
        yield name, f"{keys[match[1]]}/{match[2]}"


def _restore_optimizer(arrays: Arrays, model: nn.Layer, optimizer: Optimizer) -> None:
    if not arrays:
        return
    with_state = {place.rsplit("/", 1)[0] for place in arrays}
    parameters = [parameter for key, parameter in model.state_dict().items() if key in with_state]
    # Paddle creates the arrays in the first step, under names that nobody can foretell: so make a step
    # with gradients of zero, then fill what it created.
    paddle.add_n([(parameter * 0).sum() for parameter in parameters]).backward()
    optimizer.step()
    optimizer.clear_grad()
    current = optimizer.state_dict()
    for name, place in _places(model, optimizer):
        if place not in arrays or tuple(arrays[place].shape) != tuple(current[name].shape):
            raise TrainingError(
                f"optimizer state of {place} is missing or of another shape: the run cannot be continued "
                "exactly; start over with -o Global.overwrite=true"
            )
        current[name] = paddle.to_tensor(arrays[place])
    optimizer.set_state_dict(current)


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse NaN and infinity.

    Raises:
        NonFinite: naming the first array that has one.
    """
    for name, array in arrays.items():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise NonFinite(f"{name}: {bad} of {array.size} values are NaN or infinite")
