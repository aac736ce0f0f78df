"""Which channels the layers that read them can make up for, as far as least squares can.

Removing input j of a linear map W whose inputs have the covariance H, and refitting the others, adds the squared error

    |W_j|^2 / [H^-1]_jj,    or for a block B of inputs    trace(W_B' ([H^-1]_BB)^-1 W_B),

to its output; the best refit is W - H^-1_:B ([H^-1]_BB)^-1 W_B, and the inverse without B follows from the inverse
with it. Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon" (NIPS 1992, section
3); for blocks, one after the other, Kurtic, Frantar and Alistarh, "ZipLM" (arXiv 2302.04089, section 3.1). So channels
go one by one, each time the one that costs least when the others have been refitted: a copy or a mixture of others
costs nothing, however large it is, which no criterion sees that looks at each channel by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from paddle import Tensor, nn

from ocrslim.errors import TrainingError
from ocrslim.graph import INPUT, ChannelGraph, Group
from ocrslim.pruning.refit.affine import AffineLayer, matrix, obstacle, count_positions, rows
from ocrslim.pruning.refit.observer import AFFINE, Hook, observing, sample_positions, view
from ocrslim.utils import progress_bar

POSITIONS = 16384  # places that a layer reads at, all images together
_RIDGE = 1e-4  # of each input's variance, added to it: copies would make the covariance singular


@dataclass(frozen=True)
class Reader:
    """A layer that reads the channels of a group.

    Attributes:
        covariance: of its inputs, float64 [inputs, inputs].
        weight: float64 [inputs, outputs].
        columns: of each unit of the group, the inputs that go with it; none where it does not reach the layer.
    """

    covariance: np.ndarray
    weight: np.ndarray
    columns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Removal:
    """How the units of a group go.

    Attributes:
        order: all units; the last one stays.
        errors: what has come together when so many have gone, from one on: squared error of the refitted readers'
            outputs, relative to their variance, added up over the readers; float64 [units - 1].
    """

    order: tuple[int, ...]
    errors: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Each unit's place in the order, float64 [units]: the criterion's score."""
        return np.argsort(self.order).astype(np.float64)

    @property
    def losses(self) -> dict[float, float]:
        """The errors by the fraction of the units that is gone, as a sensitivity table has its losses."""
        return {count / len(self.order): float(error) for count, error in enumerate(self.errors, 1)}


def removal(readers: Sequence[Reader]) -> Removal:
    """The order in which each unit costs least.

    Args:
        readers: one at least, all with the columns of as many units.
    """
    states = [_State(reader) for reader in readers]
    left = list(range(len(readers[0].columns)))
    order: list[int] = []
    errors: list[float] = []
    while len(left) > 1:
        added = np.sum([state.errors(left) for state in states], axis=0)
        least = int(np.argmin(added))
        errors.append(float(added[least]))
        order.append(left.pop(least))
        for state in states:
            state.remove(order[-1])
    return Removal((*order, *left), np.cumsum(errors))


class _State:
    """What is left of a reader."""

    def __init__(self, reader: Reader):
        variances = np.diag(reader.covariance)
        silent = np.where(variances > 0, 0.0, variances.mean() or 1.0)  # inputs that are always the same
        self._inverse = np.linalg.inv(reader.covariance + np.diag(_RIDGE * variances + silent))
        self._weight = reader.weight.copy()
        power = float(np.einsum("io,ij,jo->", reader.weight, reader.covariance, reader.weight))
        self._power = max(power, float(np.finfo(np.float32).tiny))
        self._columns = [np.array(columns, dtype=np.int64) for columns in reader.columns]

    def errors(self, units: Sequence[int]) -> np.ndarray:
        """What removing each of `units` alone, and refitting the rest, adds."""
        found = np.zeros(len(units))
        widths = np.array([len(self._columns[unit]) for unit in units])
        for width in set(widths.tolist()) - {0}:
            at = np.flatnonzero(widths == width)
            columns = np.stack([self._columns[units[index]] for index in at])
            blocks, weights = self._inverse[columns[:, :, None], columns[:, None, :]], self._weight[columns]
            found[at] = np.einsum("ubo,ubo->u", weights, np.linalg.solve(blocks, weights))
        return found / self._power

    def remove(self, unit: int) -> None:
        """Take a unit's inputs out and refit the others."""
        columns = self._columns[unit]
        if not len(columns):
            return
        across = self._inverse[:, columns]
        gain = np.linalg.solve(self._inverse[np.ix_(columns, columns)], np.eye(len(columns)))
        self._weight -= across @ gain @ self._weight[columns]
        self._inverse -= across @ gain @ across.T


def removals(
    model: nn.Layer, graph: ChannelGraph, batch: np.ndarray, *, seed: int, positions: int = POSITIONS
) -> dict[str, Removal]:
    """How each group loses its units, by the group's name.

    Groups whose readers run more than once, or work on each channel alone, or cannot be written as a matrix, have none.

    Args:
        model: unpruned; it is only run, in eval mode.
        batch: float32 [N, 3, H, W], such as 40 cut-outs of training images.
        seed: of the places that are looked at.
        positions: how many of each layer, all images together.

    Raises:
        TrainingError: a layer reads numbers that are not finite.
    """
    layers = dict(model.named_sublayers())
    readers = {name: _reading(group, layers) for name, group in graph.groups.items()}
    wanted = {layer for found in readers.values() for layer in found}
    seen = _covariances(model, sorted(wanted), batch, seed, positions)
    found = {}
    for name, reading in progress_bar(readers.items(), total=len(readers), desc="reconstruction", unit="group"):
        known = [
            Reader(*seen[layer], _columns(units, size, len(seen[layer][0])))
            for layer, (units, size) in reading.items()
            if layer in seen
        ]
        if known:
            found[name] = removal(known)
    return found


_Units = tuple[tuple[int, ...], ...]


def _reading(group: Group, layers: Mapping[str, nn.Layer]) -> dict[str, tuple[_Units, int]]:
    """The layers that mix the channels of a group, each with the units' positions and the size of its input axis."""
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
    """Rows of the layer's matrix that belong to each unit: a convolution has one for each entry of its kernel."""
    taps = inputs // size
    return tuple(tuple(place * taps + tap for place in unit for tap in range(taps)) for unit in units)


def _covariances(
    model: nn.Layer, names: Sequence[str], batch: np.ndarray, seed: int, positions: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Covariance of what each layer reads, and its weights, by name; of those that run once."""
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
            samples -= samples.mean(axis=0)  # a constant is a bias's to make up for
            found[name] = samples.T @ samples / len(samples), matrix(layer)[0]

        return call

    with observing(model, "reconstruction: what layers read", {}, {name: hook(name) for name in names}) as run:
        run(batch)
    return {name: pair for name, pair in found.items() if name not in several}
