"""PaddleSlim's pruners on our channel groups: they score, we decide and cut.

PaddleSlim's own constructor traces the network and copies its weights at once; here its classes get
the groups instead, and are therefore built after the checkpoint is loaded, from whatever traced them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from paddle import nn

from ocrslim.errors import ConfigError, PlanError
from ocrslim.graph.groups import ChannelGraph, Group, Member, keep_indices
from ocrslim.pruning.plan import Cut, combine

CRITERIA = {
    "fpgm": ("fpgm_pruner", "FPGMFilterPruner"),
    "l1": ("l1norm_pruner", "L1NormFilterPruner"),
    "l2": ("l2norm_pruner", "L2NormFilterPruner"),
}


class ChannelPruner:
    """Chooses the channels to keep by one of PaddleSlim's criteria.

    Scores come from the weights that `model` has when this is built.
    """

    def __init__(self, model: nn.Layer, graph: ChannelGraph, criterion: str):
        """
        Args:
            model: unpruned network, weights loaded.
            graph: its channel groups.
            criterion: a key of `CRITERIA`.

        Raises:
            ConfigError: unknown criterion.
        """
        self.graph = graph
        names = {key: p.name for key, p in model.named_parameters()}
        self._names = names
        values = {p.name: p.numpy().copy() for _, p in model.named_parameters()}
        collections = _Collections([_collection(g, names, values) for g in graph.groups.values()])
        self._pruner = _build(criterion, model, collections)
        self._keys = {name: key for key, name in names.items()}

    def cuts(self, ratios: Mapping[str, float]) -> tuple[Cut, ...]:
        """The cuts that remove the fraction `ratios[group]` of each named group's channels.

        PaddleSlim's rounding: round(n * ratio) channels go, and one at least stays.

        Raises:
            PlanError: an unknown group, or a ratio outside 0..1.
        """
        found: list[Cut] = []
        for name, ratio in ratios.items():
            if name not in self.graph.groups:
                raise PlanError(f"{name}: no channel group of this network has that name")
            if not 0 <= ratio < 1:
                raise PlanError(f"{name}: ratio {ratio} is outside 0..1")
            if ratio > 0:
                found += self._group_cuts(self.graph.groups[name], ratio)
        return combine(found)

    def _group_cuts(self, group: Group, ratio: float) -> list[Cut]:
        plan = self._pruner.prune_var(self._names[group.name], group.axis, ratio, apply=None)
        sizes = {(m.key, m.axis): m.size for m in group.members}
        return [
            Cut(self._keys[name], mask.dims, sizes[self._keys[name], mask.dims], keep_indices(mask.mask))
            for name, masks in plan.masks.items()
            for mask in masks
        ]


class _Collections:
    """Groups in the form in which PaddleSlim's pruners look them up."""

    def __init__(self, collections: list[SimpleNamespace]):
        self._by_master = {(c.master_name, c.master_axis): c for c in collections}

    def __iter__(self) -> Iterator[SimpleNamespace]:
        return iter(self._by_master.values())

    def find_collection_by_master(self, name: str, axis: int) -> SimpleNamespace | None:
        return self._by_master.get((name, axis))


def _collection(group: Group, names: Mapping[str, str], values: Mapping[str, np.ndarray]) -> SimpleNamespace:
    details = [_detail(member, names[member.key], values) for member in group.members]
    return SimpleNamespace(
        master_name=names[group.name],
        master_axis=group.axis,
        values=values,
        variables=lambda: [d.name for d in details],
        all_pruning_details=lambda: details,
    )


def _detail(member: Member, name: str, values: Mapping[str, np.ndarray]) -> SimpleNamespace:
    attributes = {"groups": member.conv_groups}
    return SimpleNamespace(
        name=name,
        axis=member.axis,
        transform=list(member.transforms),
        op=SimpleNamespace(attr=attributes.get),
        var=SimpleNamespace(shape=lambda: list(values[name].shape)),
    )


def _build(criterion: str, model: nn.Layer, collections: _Collections) -> Any:
    import importlib

    from paddleslim.dygraph.prune.filter_pruner import FilterPruner
    from paddleslim.dygraph.prune.pruner import Pruner

    if criterion not in CRITERIA:
        raise ConfigError(
            f"Prune.criterion: {criterion!r} is not one of {', '.join(CRITERIA)}: choose one with -o Prune.criterion="
        )
    module, name = CRITERIA[criterion]
    base: type[FilterPruner] = getattr(importlib.import_module(f"paddleslim.dygraph.prune.{module}"), name)
    logging.getLogger("paddleslim.dygraph.prune.filter_pruner").setLevel(logging.WARNING)

    class OnGroups(base):
        def __init__(self) -> None:
            Pruner.__init__(self, model, [])
            self.collections = collections
            self.num_head = -1
            self.prune_type = "conv"
            self.skip_vars: list[str] = []

    return OnGroups()
