"""Refit (layer-wise reconstruction): restore the outputs of a pruned network's layers by least squares.

He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (arXiv 1707.06168, section 3.2), and
ThiNet (Luo, Wu and Lin, arXiv 1707.06342, section 3.3): the target of a layer is its output in the unpruned network,
and linear regression on a few images gives the weights of its remaining inputs. The regression reads the inputs that
the pruned network itself feeds the layer, so that each layer also corrects the errors of those before it (the
whole-model version of the former paper, from Zhang et al., arXiv 1505.06798).

It takes one pass through each network. The pass through the unpruned one records outputs at random positions; in the
pruned one, each layer is refitted just before it runs, and runs with its new weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Union

import numpy as np
from paddle import Tensor, nn

from ocrslim.errors import DataError, TrainingError
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.refit.affine import AffineLayer, matrix, offset_of, rows, set_matrix
from ocrslim.pruning.refit.least_squares import Change, NormalEquations
from ocrslim.pruning.refit.observer import NORMS, Hook, LayerTargets, Reference, moments, observe, observing, view

MIN_INPUTS = 4
POSITIONS = 16384
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
Inputs = Union[Sequence[np.ndarray], Callable[[], Iterable[np.ndarray]]]
_HELD_BACK = 10  # every tenth input is held out, to validate the refits
_NEGLIGIBLE = 1e-9  # a relative error up to this is rounding


@dataclass(frozen=True)
class LayerRefit:
    """Refit result of one layer.

    Attributes:
        name: of the layer.
        before: squared error of its output before the refit, on the held-out inputs, relative to the variance
            of the unpruned layer's output; NaN where it was not measured.
        after: the same after the refit.
        skipped: the reason why the layer was not refitted; "" if it was.
        ridge: the chosen strength of the penalty.
    """

    name: str
    before: float = float("nan")
    after: float = float("nan")
    skipped: str = ""
    ridge: float = float("nan")


@dataclass(frozen=True)
class RefitResult:
    """Refit results of the layers, in the order in which they run, and the time in seconds."""

    layers: tuple[LayerRefit, ...]
    seconds: float

    @property
    def refitted(self) -> tuple[LayerRefit, ...]:
        """The refitted layers."""
        return tuple(layer for layer in self.layers if not layer.skipped)

    def summary(self) -> str:
        """Summarise the refit in a line."""
        refitted = self.refitted
        if not refitted:
            return f"refit: no layer improved ({self.seconds:.0f} s)"
        before, after = (median(getattr(layer, name) for layer in refitted) for name in ("before", "after"))
        return (
            f"refit: {len(refitted)} of {len(self.layers)} layers refitted in {self.seconds:.0f} s; median error "
            f"of their outputs {before:.1%} of the variance before, {after:.1%} after"
        )


def refit_layers(
    teacher: nn.Layer,
    student: nn.Layer,
    plan: Plan,
    inputs: Inputs,
    *,
    seed: int,
    positions: int = POSITIONS,
    ridges: Sequence[float] = RIDGES,
) -> RefitResult:
    """Refit `student` in place, so that the outputs of its layers approximate those of `teacher`.

    Convolutions, transposed convolutions whose kernels do not overlap, and linear layers are refitted, in the order
    in which they run in eval mode; a depthwise convolution channel by channel. A change of a layer's offset is added
    to its bias, else to the running mean of the batch norm behind it; without either the offset is fixed. A tenth of
    the inputs is held out; a layer whose error on them does not fall keeps its weights.

    Batch norms get the statistics of the inputs, with scale and shift changed so that their outputs stay the same.
    In training, which normalises by the statistics of each batch, the network then starts as it is in eval mode.

    Args:
        teacher: the network before pruning; only run.
        student: the same network pruned by `plan`, with the teacher's remaining weights.
        plan: the plan that `student` was pruned by.
        inputs: float32 [1, 3, H, W] each, all of one shape, such as 40 crops of training images of 480x480; or a
            function that returns them. They run through the networks in one batch: memory grows with their pixels.
        seed: for sampling positions.
        positions: sampled positions of each layer's output, all inputs together; memory and time grow with it.
        ridges: candidate strengths of the pull towards the present weights, relative to the mean square of the
            inputs; each layer takes the one with the least error on the held-out inputs.

    Raises:
        DataError: fewer than `MIN_INPUTS` inputs, or inputs of several shapes.
        TrainingError: an input or output of a layer is not finite, or the networks have different architectures.
    """
    start = time.monotonic()
    batch = _batch(inputs)
    reference = observe(teacher, plan, batch, positions, seed)
    refitting = _Refitting(student, reference, ridges)
    with observing(student, "refit: pruned network", refitting.hooks()) as run:
        run(batch)
    skipped = (LayerRefit(name, skipped=reason) for name, reason in reference.skipped.items())
    return RefitResult((*refitting.done, *skipped), time.monotonic() - start)


def _batch(inputs: Inputs) -> np.ndarray:
    """Concatenate the inputs to float32 [N, 3, H, W]."""
    arrays = list(inputs() if callable(inputs) else inputs)
    if len(arrays) < MIN_INPUTS:
        raise DataError(
            f"refit: {len(arrays)} calibration image{'s' * (len(arrays) != 1)}, expected at least {MIN_INPUTS}, "
            "better 40: name more images in Train.dataset.label_file_list, or set Prune.recover to false"
        )
    shapes = sorted({tuple(array.shape) for array in arrays})
    if len(shapes) > 1:
        raise DataError(f"refit: calibration images of the shapes {shapes[0]} and {shapes[-1]}: crop them to one size")
    return np.concatenate(arrays).astype(np.float32, copy=False)


class _Refitting:
    """Hooks that refit the layers of a pruned network while it runs; `done` collects the results."""

    def __init__(self, student: nn.Layer, reference: Reference, ridges: Sequence[float]):
        self.done: list[LayerRefit] = []
        self._layers = dict(student.named_sublayers())
        self._reference = reference
        self._ridges = ridges
        missing = reference.targets.keys() - self._layers.keys()
        if missing:
            raise TrainingError(
                f"refit: the pruned network has no layer {min(missing)}, which the unpruned one has: "
                "expected the same architecture; load the weights that the plan was made for"
            )

    def hooks(self) -> dict[str, Hook]:
        """Make the hooks to call before layers run, by layer name."""
        norms = {name: _rebase for name, layer in self._layers.items() if isinstance(layer, NORMS)}
        return {**norms, **{name: partial(self._refit, target) for name, target in self._reference.targets.items()}}

    def _refit(self, reference: LayerTargets, layer: AffineLayer, x: Tensor) -> None:
        if reference.targets[0].shape[1] != len(offset_of(layer)):
            self.done.append(LayerRefit(reference.name, skipped="its number of outputs does not match the plan"))
            return
        samples = _Samples(layer, x, reference)
        norm = self._layers.get(reference.norm)
        before = samples.error()
        if before <= _NEGLIGIBLE:
            self.done.append(LayerRefit(reference.name, before, before, skipped="its output is unchanged"))
            return
        movable = layer.bias is not None or norm is not None
        found = [(ridge, samples.equations.solve(ridge, movable, samples.taps)) for ridge in self._ridges]
        after, ridge, change = min(((samples.error(c), r, c) for r, c in found), key=lambda entry: entry[0])
        if not after < before:
            skipped = "a refit makes it worse on the held-out inputs"
            self.done.append(LayerRefit(reference.name, before, after, skipped, ridge))
            return
        _apply(layer, norm, change)
        self.done.append(LayerRefit(reference.name, before, after, ridge=ridge))


def _rebase(norm: nn.Layer, x: Tensor) -> None:
    """Set a batch norm's statistics to those of `x`, [N, C, ...], with scale and shift such that its output stays."""
    if norm.weight is None or norm.bias is None:  # no scale and shift to change
        return
    mean, variance = moments(x)
    slope = norm.weight.numpy() / np.sqrt(norm._variance.numpy() + norm._epsilon)
    shift = norm.bias.numpy() + slope * (mean - norm._mean.numpy())
    norm.weight.set_value((slope * np.sqrt(variance + norm._epsilon)).astype(np.float32))
    norm.bias.set_value(shift.astype(np.float32))
    norm._mean.set_value(mean.astype(np.float32))
    norm._variance.set_value(variance.astype(np.float32))


class _Samples:
    """Inputs and residuals of one layer: as sums for the fit, and as samples for the held-out inputs."""

    def __init__(self, layer: AffineLayer, x: Tensor, reference: LayerTargets):
        weight, offset = matrix(layer), offset_of(layer)
        self.taps = reference.targets[0].shape[2]
        self.equations = NormalEquations(*weight.shape)
        held, targets = [], []
        with np.errstate(invalid="ignore"):  # reported below, with the layer's name
            for index, (one, picks, target) in enumerate(zip(view(x), reference.picks, reference.targets)):
                read = rows(layer, one, picks)
                wanted = (target - offset[:, None]).reshape(len(picks), len(weight), -1).transpose(1, 0, 2)
                residual = wanted - read @ weight
                targets.append(wanted)
                if index % _HELD_BACK:
                    self.equations.add(read, residual)
                else:
                    held.append((read, residual))
        self._read, self._residual = (np.concatenate(parts, axis=1) for parts in zip(*held))
        if not (self.equations.finite and np.isfinite(self._residual).all()):
            raise TrainingError(
                f"refit: {reference.name} reads or makes numbers that are not finite: check the weights with "
                "ocrslim eval, and the calibration images"
            )
        self._variance = _spread(np.concatenate(targets, axis=1)) * self._residual.shape[1]

    def error(self, change: Change | None = None) -> float:
        """Squared error on the held-out inputs, relative to the variance of the target output."""
        residual = self._residual
        if change is not None:
            residual = residual - self._read @ change.weight - change.offset[:, None]
        return float(np.square(residual).sum()) / self._variance


def _spread(outputs: np.ndarray) -> float:
    """Return the variance of `outputs`, [taps, samples, channels], summed over channels; constant ones: the square."""
    variance = float(outputs.var(axis=1).sum())
    return variance or float(np.square(outputs).mean(axis=1).sum()) or 1.0


def _apply(layer: AffineLayer, norm: nn.Layer | None, change: Change) -> None:
    before = offset_of(layer)
    set_matrix(layer, matrix(layer) + change.weight)
    offset = change.offset.reshape(len(before), -1)[:, 0]
    if layer.bias is not None:
        layer.bias.set_value((before + offset).astype(np.float32))
    elif norm is not None:  # norm(y + c) is the norm with c taken off its mean
        norm._mean.set_value((norm._mean.numpy() - offset).astype(np.float32))
