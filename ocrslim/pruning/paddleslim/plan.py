"""PaddleSlim's pruning plan, applied and undone by ocrslim's surgery."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from ocrslim.pruning.plan import Cut
from ocrslim.pruning.surgery.cutting import Backup, cut, named_tensors
from ocrslim.pruning.surgery.optimizer_state import assign

_PLAIN_OP = SimpleNamespace(attr=lambda name: None)  # PaddleSlim's masks name an operator for its `groups`


def empty_plan(model: nn.Layer) -> Any:
    """Make a PaddleSlim `PruningPlan` without masks whose `apply` and `restore` use ocrslim's surgery."""
    return _plan_class()(model.full_name())


@functools.cache
def _plan_class() -> Any:
    from paddleslim.dygraph.prune.pruning_plan import PruningPlan

    return type("GroupsPlan", (_BySurgery, PruningPlan), {})


class _BySurgery:
    """What differs from PaddleSlim's plan, of which it needs the other methods: `add` and `masks`, by parameter."""

    masks: dict[str, list[Any]]
    add: Callable[[str, Any], None]

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._undo: list[Backup] = []

    def add_mask(self, name: str, axis: int, mask: np.ndarray, ratio: float) -> None:
        """Add the mask of one axis; merge it with an earlier one: an entry is kept if both keep it."""
        from paddleslim.dygraph.prune.pruning_plan import PruningMask

        self.add(name, PruningMask(axis, mask, ratio, _PLAIN_OP))

    def apply(
        self, model: nn.Layer, lazy: bool = False, opt: Optimizer | None = None, prune_type: str = "conv"
    ) -> None:
        """Cut `model`; with `lazy`, only set the removed entries to zero."""
        if lazy:
            self.lazy_apply(model)
        else:
            self.imperative_apply(model, opt)

    def imperative_apply(self, model: nn.Layer, opt: Optimizer | None = None, prune_type: str = "conv") -> None:
        """Cut `model` and the state of `opt`; raises `PlanError` where a plan is applied already."""
        self._undo.append(cut(model, list(self._cuts(model)), opt))

    def lazy_apply(self, model: nn.Layer) -> None:
        """Set the removed entries to zero; shapes are unchanged."""
        tensors = _by_name(model)
        masked = [tensors[name] for name in self.masks if name in tensors]
        self._undo.append(Backup(model, masked))
        for tensor in masked:
            assign(tensor, _masked(tensor, self.masks[tensor.name]))

    def restore(self, model: nn.Layer, opt: Optimizer | None = None) -> None:
        """Undo `apply` bit for bit, in the optimizer too; do nothing if the plan is not applied."""
        while self._undo:
            self._undo.pop().restore()

    def _cuts(self, model: nn.Layer) -> Iterator[Cut]:
        keys = {tensor.name: key for key, tensor in named_tensors(model)}
        for name, masks in self.masks.items():
            for mask in masks:
                keep = tuple(int(index) for index in np.flatnonzero(mask.mask))
                yield Cut(keys.get(name, name), mask.dims, len(mask.mask), keep)


def _by_name(model: nn.Layer) -> dict[str, Tensor]:
    return {tensor.name: tensor for _, tensor in named_tensors(model)}


def _masked(tensor: Tensor, masks: Collection[Any]) -> np.ndarray:
    value = tensor.numpy()
    for mask in masks:
        np.moveaxis(value, mask.dims, 0)[np.asarray(mask.mask) == 0] = 0
    return value
