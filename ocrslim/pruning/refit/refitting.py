"""Accuracy back after pruning without training: every layer behind a cut is refitted by least squares.

He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (arXiv 1707.06168, section 3.2), and
ThiNet (Luo, Wu and Lin, arXiv 1707.06342, section 3.3): what a layer should give is what it gave in the unpruned
network, and the weights of its remaining inputs are chosen for that by linear regression on a few images. The
regression reads what the pruned network itself feeds the layer, so that each layer also makes up for the errors of
those before it (the whole-model version of the former paper, from Zhang et al., arXiv 1505.06798).

It takes one pass through each network. The unpruned one leaves the outputs of its layers at places drawn at random;
in the pruned one each layer is refitted at the moment when it is about to run, and then runs with its new weights.
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
from ocrslim.pruning.refit.observer import NORMS, Hook, Reference, LayerTargets, moments, observe, observing, view

MIN_INPUTS = 4
POSITIONS = 16384
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
Inputs = Union[Sequence[np.ndarray], Callable[[], Iterable[np.ndarray]]]
_HELD_BACK = 10  # one input of so many judges the refits
_NEGLIGIBLE = 1e-9  # relative error that is rounding


@dataclass(frozen=True)
class LayerRefit:
    """What became of one layer.

    Attributes:
        name: of the layer.
        before: squared error of its output before the refit, on the inputs held back, relative to the variance
            of the unpruned layer's output; NaN where it was not measured.
        after: the same after it.
        left: why the layer was not refitted; "" where it was.
        ridge: the strength that was chosen.
    """

    name: str
    before: float = float("nan")
    after: float = float("nan")
    left: str = ""
    ridge: float = float("nan")


@dataclass(frozen=True)
class RefitResult:
    """What `recover` did, layer by layer in the order in which they run, and the seconds it took."""

    layers: tuple[LayerRefit, ...]
    seconds: float

    @property
    def refitted(self) -> tuple[LayerRefit, ...]:
        """The layers that have new weights."""
        return tuple(layer for layer in self.layers if not layer.left)

    def summary(self) -> str:
        """What the refit did, in a line or two."""
        refitted = self.refitted
        if not refitted:
            return f"recovery: no layer gains by a refit ({self.seconds:.0f} s)"
        before, after = (median(getattr(layer, name) for layer in refitted) for name in ("before", "after"))
        return (
            f"recovery: {len(refitted)} of {len(self.layers)} layers refitted in {self.seconds:.0f} s; the middle "
            f"one's output was off by {before:.1%} of its variance, and is by {after:.1%}"
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
    """Refit `student` in place so that its layers give what those of `teacher` do.

    Convolutions, transposed convolutions whose kernels do not overlap, and linear layers are refitted, in the order
    in which they run in eval mode; a depthwise convolution channel by channel. A change of a layer's offset goes to
    its bias, else to the running mean of the batch norm behind it; without either there is none. A tenth of the
    inputs is held back, and a layer that does worse on those than before keeps its weights.

    The statistics of batch norms become those of the inputs, and scale and shift make up for it, so that each does what
    it did: in training, where statistics are those of each batch, the network then begins as it is in eval mode.

    Args:
        teacher: the network before pruning; it is only run.
        student: the same network pruned by `plan`, its weights the teacher's that are left.
        plan: what `student` was pruned by.
        inputs: float32 [1, 3, H, W] each, all of one shape, such as 40 crops of training images of 480x480; or a
            function that gives them. All of them run through the networks at once: memory grows with their pixels.
        seed: of the places that take part.
        positions: places of each layer's output that take part, all inputs together; memory and time grow with it.
        ridges: strengths of the pull towards the weights as they are, relative to the mean square of the inputs; each
            layer takes the one with the least error on the inputs held back.

    Raises:
        DataError: fewer than `MIN_INPUTS` inputs, or not of one shape.
        TrainingError: a layer reads or makes numbers that are not finite, or the networks are of another
            architecture each.
    """
    start = time.monotonic()
    batch = _batch(inputs)
    reference = observe(teacher, plan, batch, positions, seed)
    refitting = _Refitting(student, reference, ridges)
    with observing(student, "recovery: refitting", refitting.hooks()) as run:
        run(batch)
    left = (LayerRefit(name, left=reason) for name, reason in reference.left.items())
    return RefitResult((*refitting.done, *left), time.monotonic() - start)


def _batch(inputs: Inputs) -> np.ndarray:
    """The inputs in one array, float32 [N, 3, H, W]."""
    arrays = list(inputs() if callable(inputs) else inputs)
    if len(arrays) < MIN_INPUTS:
        raise DataError(
            f"recovery: {len(arrays)} calibration image{'s' * (len(arrays) != 1)}, expected at least {MIN_INPUTS} and "
            "better 40: name more images in Train.dataset.label_file_list, or set Prune.recover to false"
        )
    shapes = sorted({tuple(array.shape) for array in arrays})
    if len(shapes) > 1:
        raise DataError(f"recovery: calibration images of the shapes {shapes[0]} and {shapes[-1]}: cut them to one")
    return np.concatenate(arrays).astype(np.float32, copy=False)


class _Refitting:
    """The hooks that refit the layers of a pruned network while it runs; `done` fills up with what became of them."""

    def __init__(self, student: nn.Layer, reference: Reference, ridges: Sequence[float]):
        self.done: list[LayerRefit] = []
        self._layers = dict(student.named_sublayers())
        self._reference = reference
        self._ridges = ridges
        missing = reference.seen.keys() - self._layers.keys()
        if missing:
            raise TrainingError(
                f"recovery: the pruned network has no layer {min(missing)}, which the unpruned one has: "
                "expected the same architecture; load the weights that the plan was made for"
            )

    def hooks(self) -> dict[str, Hook]:
        """What to call before a layer runs, by its name."""
        norms = {name: _rebase for name, layer in self._layers.items() if isinstance(layer, NORMS)}
        return {**norms, **{name: partial(self._refit, seen) for name, seen in self._reference.seen.items()}}

    def _refit(self, seen: LayerTargets, layer: AffineLayer, x: Tensor) -> None:
        if seen.targets[0].shape[1] != len(offset_of(layer)):
            self.done.append(LayerRefit(seen.name, left="its outputs are not those that the plan leaves it"))
            return
        samples = _Samples(layer, x, seen)
        norm = self._layers.get(seen.norm)
        before = samples.error()
        if before <= _NEGLIGIBLE:
            self.done.append(LayerRefit(seen.name, before, before, left="gives what it gave"))
            return
        movable = layer.bias is not None or norm is not None
        found = [(ridge, samples.equations.solve(ridge, movable, samples.taps)) for ridge in self._ridges]
        after, ridge, change = min(((samples.error(c), r, c) for r, c in found), key=lambda entry: entry[0])
        if not after < before:
            left = "a refit makes it worse on the inputs held back"
            self.done.append(LayerRefit(seen.name, before, after, left, ridge))
            return
        _apply(layer, norm, change)
        self.done.append(LayerRefit(seen.name, before, after, ridge=ridge))


def _rebase(norm: nn.Layer, x: Tensor) -> None:
    """Make a batch norm's statistics those of what it reads here, [N, C, ...]; what it gives stays the same."""
    if norm.weight is None or norm.bias is None:  # nothing could make up for it
        return
    mean, variance = moments(x)
    slope = norm.weight.numpy() / np.sqrt(norm._variance.numpy() + norm._epsilon)
    shift = norm.bias.numpy() + slope * (mean - norm._mean.numpy())
    norm.weight.set_value((slope * np.sqrt(variance + norm._epsilon)).astype(np.float32))
    norm.bias.set_value(shift.astype(np.float32))
    norm._mean.set_value(mean.astype(np.float32))
    norm._variance.set_value(variance.astype(np.float32))


class _Samples:
    """What one layer reads and what its output lacks: as sums, and as they are for the inputs held back."""

    def __init__(self, layer: AffineLayer, x: Tensor, seen: LayerTargets):
        weight, offset = matrix(layer), offset_of(layer)
        self.taps = seen.targets[0].shape[2]
        self.equations = NormalEquations(*weight.shape)
        held = []
        with np.errstate(invalid="ignore"):  # said below, with the layer's name
            for index, (one, picks, target) in enumerate(zip(view(x), seen.picks, seen.targets)):
                read = rows(layer, one, picks)
                wanted = (target - offset[:, None]).reshape(len(picks), len(weight), -1).transpose(1, 0, 2)
                lacking = wanted - read @ weight
                if index % _HELD_BACK:
                    self.equations.add(read, lacking)
                else:
                    held.append((read, lacking, wanted))
        self._read, self._lacking, wanted = (np.concatenate(parts, axis=1) for parts in zip(*held))
        self._power = float(wanted.var(axis=1).sum()) * wanted.shape[1]
        if not (self.equations.finite and np.isfinite(self._lacking).all()):
            raise TrainingError(
                f"recovery: {seen.name} reads or makes numbers that are not finite: check the weights with "
                "ocrslim eval, and the calibration images"
            )

    def error(self, change: Change | None = None) -> float:
        """Squared error on the inputs held back, relative to the variance of the wanted output."""
        lacking = self._lacking
        if change is not None:
            lacking = lacking - self._read @ change.weight - change.offset[:, None]
        return float(np.square(lacking).sum()) / max(self._power, np.finfo(np.float32).tiny)


def _apply(layer: AffineLayer, norm: nn.Layer | None, change: Change) -> None:
    before = offset_of(layer)
    set_matrix(layer, matrix(layer) + change.weight)
    offset = change.offset.reshape(len(before), -1)[:, 0]
    if layer.bias is not None:
        layer.bias.set_value((before + offset).astype(np.float32))
    elif norm is not None:  # norm(y + c) is the norm with c taken off its mean
        norm._mean.set_value((norm._mean.numpy() - offset).astype(np.float32))
