"""The network's channel graph, found by PaddleSlim's tracer.

The only file that knows PaddleSlim's tracer and the conditions it needs: Paddle's legacy program
representation, an alias for a guard that Paddle renamed, and dynamic mode switched on again afterwards.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import paddle
from paddle import nn

from ocrslim.graph.groups import ChannelGraph, Group, Member
from ocrslim.models.detector import DetectionModel

logger = logging.getLogger(__name__)

_NOT_FOLLOWED = "its channels meet an operator that the tracer does not follow (such as concat)"
_TRANSPOSED = "transposed convolution: the tracer does not prune its output channels"
_TRAINING_ONLY = "only training runs it, inference does not"


def trace(model: DetectionModel, input_shape: Sequence[int] = (1, 3, 64, 64)) -> ChannelGraph:
    """Return the channel graph of `model`, an unpruned network with its weights loaded.

    Args:
        model: traced as in training, so that branches which only training runs follow their source.
            Its mode and its weights are left as they are.
        input_shape: [N, C, H, W] of the dummy input.
    """
    keys = {p.name: key for key, p in model.named_parameters()}
    was_training = model.training
    model.train()
    try:
        collections = _collections(model, input_shape)
    finally:
        model.train() if was_training else model.eval()
    groups: dict[str, Group] = {}
    for collection in collections:
        group = _group(collection, keys, model)
        if not group.name.startswith(model.training_only):
            groups[group.name] = group
    return ChannelGraph(groups, _reasons(model, groups))


@contextlib.contextmanager
def _legacy_tracing() -> Iterator[None]:
    from paddle.base.dygraph import base

    if not hasattr(base, "_to_static_mode_guard_"):
        base._to_static_mode_guard_ = base.to_static_mode_guard
    with paddle.pir_utils.DygraphOldIrGuard():
        try:
            yield
        finally:
            paddle.disable_static()


@contextlib.contextmanager
def _quiet_paddleslim() -> Iterator[None]:
    """Its warnings become reasons of ours."""
    loggers = [logging.getLogger(n) for n in logging.root.manager.loggerDict if n.startswith("paddleslim")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels):
            one.setLevel(level)


def _collections(model: DetectionModel, input_shape: Sequence[int]) -> list[Any]:
    from paddleslim.dygraph.prune.var_group import DygraphPruningCollections

    with _legacy_tracing(), _quiet_paddleslim():
        return list(DygraphPruningCollections(model, list(input_shape)))


def _group(collection: Any, keys: dict[str, str], model: DetectionModel) -> Group:
    parameters = dict(model.named_parameters())
    members: dict[tuple[str, int], Member] = {}
    for detail in collection.all_pruning_details():
        if detail.name not in keys:  # an activation
            continue
        key = keys[detail.name]
        members[key, detail.axis] = Member(
            key=key,
            axis=detail.axis,
            size=parameters[key].shape[detail.axis],
            transforms=tuple(copy.deepcopy(detail.transform)),
            conv_groups=detail.op.attr("groups") or 1,
        )
    name = keys[collection.master_name]
    master = members.pop((name, collection.master_axis))
    return Group(name, master.size, (master, *members.values()))


def _reasons(model: DetectionModel, groups: dict[str, Group]) -> dict[str, str]:
    produced = {(m.key, m.axis) for group in groups.values() for m in group.members}
    reasons = {}
    for name, layer in model.named_sublayers():
        transposed = isinstance(layer, nn.Conv2DTranspose)
        if not transposed and not isinstance(layer, nn.Conv2D):
            continue
        key = f"{name}.weight"
        if key.startswith(model.training_only):
            reasons[key] = _TRAINING_ONLY
        elif transposed:
            reasons[key] = _TRANSPOSED
        elif (key, 0) not in produced:
            reasons[key] = _NOT_FOLLOWED
    return reasons
