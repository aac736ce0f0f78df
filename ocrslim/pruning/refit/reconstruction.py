"""The criterion `reconstruction`: remove first the channels that a refit of their readers replaces best.

Removing input j of a linear map W whose inputs have the covariance H, and refitting the others, adds the squared error

    |W_j|^2 / [H^-1]_jj,    or for a block B of inputs    trace(W_B' ([H^-1]_BB)^-1 W_B),

to its output; the best refit is W - H^-1_:B ([H^-1]_BB)^-1 W_B, and the inverse without B follows from the inverse
with it. Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon" (NIPS 1992, section
3); for blocks, one after the other, Kurtic, Frantar and Alistarh, "ZipLM" (arXiv 2302.04089, section 3.1). Channels
are removed one by one, each time the one that adds the least error after a refit of the others. A channel that is a
linear combination of others adds none, however large its weights; criteria that score each channel alone miss this.

An error e of a reader's output counts twice: a times relative to the variance v of that output, e'e / v, and b times by
how much it changes the output of the network, e'Me (`output_metric`). With a I / v + b M as its metric,
W (a I / v + b M)^(1/2) takes the place of W. Relative to their variance alone, errors of different layers cannot be
compared; which a and b are best differs from one network to another (docs/selection.md), so there are several.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from paddle import Tensor, nn
from scipy.linalg import cho_solve, cholesky, solve_triangular

from ocrslim.errors import TrainingError
from ocrslim.graph import INPUT, ChannelGraph, Group
from ocrslim.pruning.refit.affine import AffineLayer, count_positions, matrix, obstacle, rows
from ocrslim.pruning.refit.observer import AFFINE, Hook, observing, sample_positions, view
from ocrslim.pruning.refit.output_metric import Output, output_metrics
from ocrslim.utils import progress_bar

POSITIONS = 16384  # sampled positions of a layer, all images together
_RIDGE = 1e-4  # relative to each input's variance and added to it, as equal channels make the covariance singular


class ErrorWeights(NamedTuple):
    """What an error is the sum of.

    Attributes:
        variance: weight of the error relative to the variance of the layer's output.
        divergence: weight of the change of the network's output.
    """

    variance: float
    divergence: float


ERROR_WEIGHTS = (ErrorWeights(1, 4), ErrorWeights(0.01, 4))  # the first where only one is tried


@dataclass(frozen=True)
class Reader:
    """A layer that reads the channels of a group.

    Attributes:
        covariance: of its inputs, float64 [inputs, inputs].
        weight: float64 [inputs, outputs].
        columns: for each unit of the group, the inputs that it removes; none where it does not reach the layer.
        metric: M, what errors of its outputs are worth to the network's output, float64 [outputs, outputs], or W M W'
            of a layer with fewer inputs than outputs, as `output_metrics` gives it; None where that is not known: then
            only the variance counts.
    """

    covariance: np.ndarray
    weight: np.ndarray
    columns: tuple[tuple[int, ...], ...]
    metric: np.ndarray | None = None

    @functools.cached_property
    def used(self) -> np.ndarray:
        """The inputs of all units, int64 [used], unit by unit."""
        return np.array([column for columns in self.columns for column in columns], dtype=np.int64)

    @functools.cached_property
    def inverse(self) -> np.ndarray:
        """The inverse of the covariance, with a ridge, at the inputs `used`."""
        return _inverse_of(self.covariance, self.used)

    @functools.cached_property
    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """What errors in orthogonal directions of the outputs are worth by the metric, and these directions."""
        assert self.metric is not None
        values, vectors = np.linalg.eigh(self.metric)
        return np.maximum(values, 0), vectors

    def measured(self, weights: ErrorWeights) -> np.ndarray:
        """Return weights with outputs whose squared errors add up to what they are worth, float64 [inputs, outputs].

        Errors depend on the products of the rows alone: with fewer inputs than outputs, as many outputs as inputs will
        do, which are the root of W (a I / v + b M) W'.
        """
        variance = np.einsum("io,ij,jo->", self.weight, self.covariance, self.weight, optimize=True)
        relative = 1 / max(float(variance), float(np.finfo(np.float32).tiny))
        inputs, outputs = self.weight.shape
        if inputs < outputs:
            products = weights.variance * relative * (self.weight @ self.weight.T)
            products = products if self.metric is None else products + weights.divergence * self.metric
            values, vectors = np.linalg.eigh(products)
            return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
        if self.metric is None:
            return np.asarray(self.weight * np.sqrt(relative))
        values, vectors = self.directions
        worth = weights.divergence * values + weights.variance * relative
        return np.asarray(self.weight @ (vectors * np.sqrt(worth)))


@dataclass(frozen=True)
class Removal:
    """Order of removal for the units of a group.

    Attributes:
        order: all units, first to remove first; the last one is kept.
        errors: error after removing 1, 2, .. units: that of the refitted readers' outputs by their metrics, summed over
            the readers; float64 [units - 1].
    """

    order: tuple[int, ...]
    errors: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Position of each unit in the order, float64 [units]: the score of the criterion."""
        return np.argsort(self.order).astype(np.float64)

    @property
    def losses(self) -> dict[float, float]:
        """The errors by ratio, in the form of a sensitivity table's losses."""
        return {count / len(self.order): float(error) for count, error in enumerate(self.errors, 1)}


def removal(readers: Sequence[Reader], weights: ErrorWeights = ERROR_WEIGHTS[0]) -> Removal:
    """Find the order that adds the least error at each step.

    Args:
        readers: at least one, all with columns for the same number of units.
    """
    states = [_State(reader, weights) for reader in readers]
    left = np.ones(len(readers[0].columns), dtype=bool)
    order: list[int] = []
    errors: list[float] = []
    while len(order) < len(left) - 1:
        added = np.where(left, np.sum([state.errors() for state in states], axis=0), np.inf)
        unit = int(np.argmin(added))
        errors.append(float(added[unit]))
        order.append(unit)
        left[unit] = False
        for state in states:
            state.remove(unit)
    return Removal((*order, *np.flatnonzero(left).tolist()), np.cumsum(errors))


@dataclass(frozen=True)
class _Alike:
    """The units of a reader with the same number of inputs.

    Attributes:
        units: int64 [units].
        columns: their inputs, among those `used`, int64 [units, width].
        blocks: on the diagonal of the inverse, float64 [units, width, width].
    """

    units: np.ndarray
    columns: np.ndarray
    blocks: np.ndarray


class _State:
    """A reader after the removals so far.

    Removals subtract products from the inverse. Written out, each would touch all of it, for the neck of PP-OCRv3's
    recogniser 4,608 inputs square, 512 times. So the factors are kept, and the inverse is worked out where it is asked
    for: in the blocks on its diagonal, and in the columns of the unit that goes next.
    """

    def __init__(self, reader: Reader, weights: ErrorWeights):
        self._inverse, self._weight = reader.inverse, reader.measured(weights)[reader.used]
        self._factors, self._known = np.empty_like(self._inverse), 0
        widths = np.array([len(columns) for columns in reader.columns])
        self._ends, self._widths = np.cumsum(widths), widths
        self._alike = [self._of(width) for width in sorted({*widths.tolist()} - {0})]

    def _of(self, width: int) -> _Alike:
        units = np.flatnonzero(self._widths == width)
        columns = self._ends[units, None] - width + np.arange(width)
        return _Alike(units, columns, self._inverse[columns[:, :, None], columns[:, None, :]])

    def errors(self) -> np.ndarray:
        """Error added by removing each unit alone and refitting the rest, float64 [units]; 0 if it is removed."""
        found = np.zeros(len(self._widths))
        for alike in self._alike:
            weights = self._weight[alike.columns]
            found[alike.units] = np.einsum("ubo,ubo->u", weights, np.linalg.solve(alike.blocks, weights))
        return found

    def remove(self, unit: int) -> None:
        """Remove a unit's inputs and refit the others."""
        columns = np.arange(self._ends[unit] - self._widths[unit], self._ends[unit])
        if not len(columns):
            return
        before, after = self._known, self._known + len(columns)
        across = self._inverse[:, columns] - self._factors[:, :before] @ self._factors[columns, :before].T
        root = np.linalg.cholesky(across[columns])
        factor = self._factors[:, before:after] = solve_triangular(root, across.T, lower=True).T
        self._weight -= factor @ solve_triangular(root, self._weight[columns], lower=True)
        self._weight[columns] = 0
        self._known = after
        for alike in self._alike:
            alike.blocks[...] -= factor[alike.columns] @ factor[alike.columns].swapaxes(1, 2)
            alike.blocks[alike.units == unit] = np.eye(alike.columns.shape[1])


def _inverse_of(covariance: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The inverse, with the ridge, at the inputs `used`: where these are last, it needs the end of the root alone."""
    variances = np.diag(covariance)
    silent = np.where(variances > 0, 0.0, variances.mean() or 1.0)  # constant inputs
    order = np.concatenate([np.setdiff1d(np.arange(len(covariance)), used), used])
    ridged = covariance[np.ix_(order, order)]
    ridged[np.diag_indices_from(ridged)] += (_RIDGE * variances + silent)[order]
    first = len(order) - len(used)
    root = cholesky(ridged, lower=True, overwrite_a=True)[first:, first:]
    return np.asarray(cho_solve((root, True), np.eye(len(used))))


def removals(
    model: nn.Layer,
    graph: ChannelGraph,
    batch: np.ndarray,
    *,
    seed: int,
    positions: int = POSITIONS,
    output: Output = lambda result: result,
    weights: Sequence[ErrorWeights] = ERROR_WEIGHTS[:1],
) -> dict[ErrorWeights, dict[str, Removal]]:
    """Find the order of removal for each group by its name, for each of `weights`.

    Groups are left out if all their readers run more than once, work on each channel alone, or cannot be written as
    a matrix, and if not only layers read their channels (`Group.summed`).

    Args:
        model: unpruned network; only run, in eval mode.
        batch: float32 [N, 3, H, W], such as 40 crops of training images.
        seed: for sampling positions, and the signs of gradients.
        positions: number of positions of each layer, all images together.
        output: picks of what the network returns what inference returns (`Task.output`).
        weights: of an error; what the network does is measured once for all of them.

    Raises:
        TrainingError: a layer reads numbers that are not finite.
    """
    layers = dict(model.named_sublayers())
    readers = {name: _reading(group, layers) for name, group in graph.groups.items() if not group.summed}
    wanted = {layer for found in readers.values() for layer in found}
    seen = _covariances(model, sorted(wanted), batch, seed, positions)
    metrics = output_metrics(model, sorted(seen), batch, output, seed)
    found: dict[ErrorWeights, dict[str, Removal]] = {one: {} for one in weights}
    for name, reading in progress_bar(readers.items(), total=len(readers), desc="reconstruction", unit="group"):
        known = [
            Reader(*seen[layer], _columns(units, size, len(seen[layer][0])), metrics.get(layer))
            for layer, (units, size) in reading.items()
            if layer in seen
        ]
        for one in weights if known else ():
            found[one][name] = removal(known, one)
    return found


_Units = tuple[tuple[int, ...], ...]


def _reading(group: Group, layers: Mapping[str, nn.Layer]) -> dict[str, tuple[_Units, int]]:
    """The layers that mix a group's channels, each with the positions of the units and the size of its input axis."""
    found = {}
    for member in group.members:
        name = member.key.removesuffix(".weight")
        layer = layers.get(name)
        if member.role == INPUT and isinstance(layer, AFFINE) and not obstacle(layer) and _mixes(layer):
            found[name] = member.units, member.size
    return found


def _mixes(layer: AffineLayer) -> bool:
    return getattr(layer, "_groups", 1) == 1


def _columns(units: _Units, size: int, inputs: int) -> _Units:
    """Rows of the layer's matrix for each unit; a convolution has a row for each entry of its kernel."""
    taps = inputs // size
    return tuple(tuple(place * taps + tap for place in unit for tap in range(taps)) for unit in units)


def _covariances(
    model: nn.Layer, names: Sequence[str], batch: np.ndarray, seed: int, positions: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Covariance of each layer's inputs and its weights, by name, for layers that run once."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    several: set[str] = set()
    each = max(1, positions // len(batch))

    def hook(name: str) -> Hook:
        def call(layer: AffineLayer, x: Tensor, y: Tensor) -> None:
            if name in found:
                several.add(name)
                return
            read = []
            for index, (one, made) in enumerate(zip(view(x), view(y))):
                count = count_positions(layer, one.shape, made.shape)
                read.append(rows(layer, one, sample_positions(name, index, count, each, seed))[0])
            samples = np.concatenate(read).astype(np.float64)
            if not np.isfinite(samples).all():
                raise TrainingError(
                    f"Prune.criterion: reconstruction: {name} reads numbers that are not finite: check the weights "
                    "with ocrslim eval, and the training images"
                )
            samples -= samples.mean(axis=0)  # a bias replaces the mean
            found[name] = samples.T @ samples / len(samples), matrix(layer)[0]

        return call

    with observing(model, "reconstruction: inputs of layers", {}, {name: hook(name) for name in names}) as run:
        run(batch)
    return {name: pair for name, pair in found.items() if name not in several}
