"""Criteria: pure functions from arrays to scores of channels; a higher score means more important.

Where PaddleSlim has a criterion, its own `cal_mask` chooses the channels of a group by the layer that names
it. The functions here rank exactly as it does, for code that needs scores.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np

from ocrslim.config import Criterion

Units = Sequence[Sequence[int]]

PADDLESLIM = {
    "fpgm": ("fpgm_pruner", "FPGMFilterPruner"),
    "l1": ("l1norm_pruner", "L1NormFilterPruner"),
    "l2": ("l2norm_pruner", "L2NormFilterPruner"),
}


def fpgm(values: np.ndarray) -> np.ndarray:
    """Sum of each channel's distances to all others; channels near the geometric median are redundant.

    He et al., "Filter Pruning via Geometric Median" (2019), arXiv 1811.00250.
    """
    flat = values.reshape(len(values), -1)
    return np.array([np.sqrt(np.square(flat - channel).sum(axis=-1)).sum() for channel in flat])


def l1(values: np.ndarray) -> np.ndarray:
    """Mean magnitude of each channel's weights; Li et al., "Pruning Filters" (2017), arXiv 1608.08710."""
    return np.mean(np.abs(values), axis=tuple(range(1, values.ndim)))


def l2(values: np.ndarray) -> np.ndarray:
    """Euclidean norm of each channel's weights."""
    return np.sqrt(np.sum(np.square(values), axis=tuple(range(1, values.ndim))))


def bn_scale(values: np.ndarray) -> np.ndarray:
    """|gamma| of the batch norm behind each channel; Liu et al., "Network Slimming" (2017), arXiv 1708.06519."""
    return np.abs(values)


def taylor(values: np.ndarray) -> np.ndarray:
    """Mean over batches of the squared first-order change of the training loss when a channel is removed.

    Molchanov et al., "Importance Estimation" (2019), arXiv 1906.10771, section 3.

    Args:
        values: [channels, batches], each the sum of gradient * weight over the channel's weights.
    """
    return np.mean(np.square(values), axis=1)


CRITERIA: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fpgm": fpgm,
    "l1": l1,
    "l2": l2,
    "bn_scale": bn_scale,
    "taylor": taylor,
}
RECONSTRUCTION = "reconstruction"  # `ocrslim.pruning.refit.reconstruction`
AUTO = "auto"  # of a configuration: no criterion, but a choice among them
DEFAULT = "fpgm"  # of a sensitivity table
NAMES: tuple[str, ...] = tuple(name for name in get_args(Criterion) if name != AUTO)  # of networks: and "random"
FALLBACKS = {"bn_scale": "l1", RECONSTRUCTION: "fpgm"}  # for groups that a criterion cannot score


def random_scores(seed: int, name: str, size: int) -> np.ndarray:
    """Draw `size` random scores, the control; they depend only on `seed` and the group's name."""
    return np.random.default_rng([seed, *name.encode("utf-8")]).random(size)


def unit_scores(criterion: str, values: np.ndarray, units: Units) -> np.ndarray:
    """Score each unit by the mean over its channels; for `taylor`, from the sum over all of its weights.

    Args:
        criterion: a key of `CRITERIA`.
        values: array to score, the channels along the first axis.
        units: positions along that axis, unit by unit.

    Returns:
        float64 [units]; NaN for a unit without a position.
    """
    sizes = [len(unit) for unit in units if unit]
    starts = np.cumsum([0, *sizes[:-1]])
    rows = values[[position for unit in units for position in unit]]
    if criterion == "taylor":
        found = taylor(np.add.reduceat(rows, starts, axis=0))
    else:
        found = np.add.reduceat(CRITERIA[criterion](rows), starts) / sizes
    scores = np.full(len(units), np.nan)
    scores[[index for index, unit in enumerate(units) if unit]] = found
    return scores


def lowest(scores: np.ndarray, ratio: float) -> list[int]:
    """Indices of the fraction `ratio` with the lowest scores, in PaddleSlim's rounding; at least one is kept."""
    count = min(len(scores) - 1, round(len(scores) * ratio))
    return sorted(int(index) for index in np.argsort(scores, kind="stable")[:count])


def paddleslim_lowest(criterion: str, values: np.ndarray, units: Units, ratio: float) -> list[int]:
    """Indices of the units that PaddleSlim's own `cal_mask` removes.

    Args:
        criterion: a key of `PADDLESLIM`.
        values: weights, the output channels along the first axis.
        units: positions along that axis; all units have the same number.
        ratio: fraction to remove; at least one unit is kept.
    """
    if len(units) == 1:  # to PaddleSlim one unit of several channels would be several units
        return []
    width = len(units[0])
    collection = SimpleNamespace(
        master_name="master",
        master_axis=0,
        values={"master": np.ascontiguousarray(values[[position for unit in units for position in unit]])},
        all_pruning_details=lambda: [_detail(len(units) if width > 1 else 1)],
    )
    mask = _paddleslim(criterion).cal_mask(ratio, collection, num_head=-1).reshape(len(units), width)
    return [int(index) for index in np.flatnonzero(mask[:, 0] == 0)]


def paddleslim_class(criterion: str) -> Any:
    """PaddleSlim's pruner class for a criterion; their base class where it has none."""
    module, name = PADDLESLIM.get(criterion, ("filter_pruner", "FilterPruner"))
    return getattr(importlib.import_module(f"paddleslim.dygraph.prune.{module}"), name)


@functools.cache
def _paddleslim(criterion: str) -> Any:
    pruner = paddleslim_class(criterion)
    return pruner.__new__(pruner)  # its constructor would trace the network, which scoring does not need


def _detail(groups: int) -> SimpleNamespace:
    """Entry that makes `cal_mask` average over consecutive channels; `groups` is the number of units."""
    return SimpleNamespace(axis=1, op=SimpleNamespace(attr={"groups": groups}.get))
