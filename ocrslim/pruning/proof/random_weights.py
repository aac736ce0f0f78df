"""Random weights, with which a network is run so that the result depends on its code alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from ocrslim.graph import as_it_was
from ocrslim.pruning.proof.runs import Run
from ocrslim.pruning.surgery.cutting import named_tensors
from ocrslim.pruning.surgery.optimizer_state import assign
from ocrslim.utils import postponed

_LEAST_VARIANCE = 0.01  # of maps with a single position, whose variance is 0


@contextmanager
def random_weights(model: nn.Layer, run: Run) -> Iterator[None]:
    """Use random weights inside the block, of a scale that keeps values in range through many layers."""
    rng = np.random.default_rng(0)
    before = [(tensor, tensor.numpy().copy()) for _, tensor in named_tensors(model)]
    try:
        for key, tensor in model.named_parameters():
            tensor.set_value(_random(key, tensor.shape, rng).astype(tensor.numpy().dtype))
        _set_statistics(model, run)
        yield
    finally:
        for tensor, values in before:
            assign(tensor, values)


def _set_statistics(model: nn.Layer, run: Run) -> None:
    """Set the statistics of the batch norms to what one run meets.

    Of branches that are added up each would add to the scale otherwise, and a deep network's output be saturated.
    """
    norms = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, (_BatchNormBase, nn.BatchNorm))]
    with postponed(), as_it_was(model, training=False):
        for norm in norms:
            norm.training, norm._momentum = True, 0.0
        run.call(model, run.inputs)
    for norm in norms:
        norm._variance.set_value(norm._variance + _LEAST_VARIANCE)


def _random(key: str, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    if len(shape) < 2:
        scale = key.endswith(("_variance", "weight", "scale"))
        return rng.uniform(0.5, 1.5, shape) if scale else rng.normal(0, 0.1, shape)
    fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
    return rng.normal(0, math.sqrt(2 / fan_in), shape)
