"""PaddleSlim's way to prune: its own tracer and groups, its own pruner, one tolerance for all layers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from accuracy_part import Answer, keep

_TRACED = (1, 3, 640, 640)
_BISECTIONS = 25
Pruned = tuple[Any, Any, Answer]
_RATIOS = tuple(round(0.1 * step, 1) for step in range(1, 10))


def prune(config: Any) -> Answer:
    """Prune by the tolerance that removes the wished MACs -> `pruned.pdparams` and its plan.

    The losses are those of our table, whose points equal what `FPGMFilterPruner.sensitive` measures
    (benchmarks/sensitivity.md, "Equality with PaddleSlim's losses"). A layer that inference does not run loses
    nothing, as PaddleSlim measures too. No layer is left alone, and nothing is aligned: its defaults.
    """
    from ocrslim.pruning.prunable import load_prunable_network

    network = load_prunable_network(config)
    pruner = own_pruner(network.model)
    table = own_table(network, pruner)
    model, plan, own = prune_to(config, network, pruner, lambda loss: pruner._get_ratios_by_loss(table, loss))
    return {**keep(model, plan, config), **own}


def prune_to(config: Any, network: Any, pruner: Any, ratios_at: Callable[[float], Mapping[str, float]]) -> Pruned:
    """Prune to the wished MACs: the network, its plan, and how it was found.

    Args:
        network: unpruned, of `load_prunable_network`; pruned by PaddleSlim itself afterwards.
        pruner: PaddleSlim's, of that network.
        ratios_at: its ratios by Paddle's parameter names at a tolerance from 0 to 1.
    """
    from ocrslim.pruning.cost import measure_cost
    from ocrslim.pruning.loading import load_base_network
    from ocrslim.pruning.surgery.cutting import apply_plan

    began = time.monotonic()

    def cuts_at(tolerance: float) -> Any:
        return cuts_of(network.model, pruner.prune_vars(ratios_at(tolerance), 0, apply=None))

    def removed_by(cuts: Any) -> float:
        return 1 - measure_cost(network.graph, cuts).macs / measure_cost(network.graph).macs

    tolerance = closest_tolerance(lambda loss: removed_by(cuts_at(loss)), config.prune.target["macs"])
    cuts, ratios = cuts_at(tolerance), ratios_at(tolerance)
    plan = _plan(config, network, cuts, ratios)
    model = load_base_network(config).model
    apply_plan(model, plan)
    model.eval()
    pruner.prune_vars(ratios, 0)
    check_same(model, network.model)
    seconds = time.monotonic() - began
    own = {"tolerance": tolerance, "removed_macs": removed_by(cuts), "groups": len(ratios), "seconds": seconds}
    return model, plan, own


def own_pruner(model: Any, shape: Sequence[int] = _TRACED, training: bool = True) -> Any:
    """PaddleSlim's own `FPGMFilterPruner` with its own tracer; one alias makes that run on paddlepaddle 3.1.1.

    Args:
        shape: of the input that it traces.
        training: trace what runs in training, as PaddleOCR's script does.
    """
    import paddle
    from paddle.base.dygraph import base

    base._to_static_mode_guard_ = base.to_static_mode_guard  # the name that PaddleSlim knows it by
    from paddleslim.dygraph import FPGMFilterPruner

    (model.train if training else model.eval)()  # so that it sees the branch that only training runs
    with paddle.pir_utils.DygraphOldIrGuard():
        pruner = FPGMFilterPruner(model, list(shape))
    for name in logging.root.manager.loggerDict:
        if name.startswith("paddleslim"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # it logs every plan
    return pruner


def own_table(network: Any, pruner: Any) -> dict[str, dict[float, float]]:
    """Losses of PaddleSlim's groups by Paddle's parameter names."""
    from ocrslim.pruning.surgery.cutting import named_tensors
    from ocrslim.selection.chooser import table_of
    from ocrslim.sensitivity.results import table as loss_table

    config = network.config
    known = loss_table.load_table(
        table_of(config), network.graph, config.section("Architecture"), network.hashes(), config.prune.loss_tolerance
    )
    keys = {tensor.name: key for key, tensor in named_tensors(network.model)}
    return {name: _losses(keys[name], known, network.model.training_only) for name in group_names(pruner)}


def group_names(pruner: Any) -> list[str]:
    """Names of the parameters that PaddleSlim's groups go by."""
    return [one.master_name for one in pruner.collections if one.master_name not in pruner.skip_vars]


def _losses(key: str, known: Mapping[str, dict[float, float]], training_only: Any) -> dict[float, float]:
    if key in known:
        return known[key]
    if not key.startswith(tuple(training_only)):
        raise SystemExit(
            f"{key}: PaddleSlim prunes it and the table does not have it; measure it with Prune.layers=['*']"
        )
    return dict.fromkeys(_RATIOS, 0.0)


def closest_tolerance(removed: Callable[[float], float], fraction: float) -> float:
    """The tolerance (0..1) whose pruning removes closest to `fraction` of the MACs, by bisection.

    Args:
        removed: fraction of the MACs that go at a tolerance; does not fall with it.
    """
    low, high = 0.0, 1.0
    best = high, abs(removed(high) - fraction)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        share = removed(middle)
        best = min(best, (middle, abs(share - fraction)), key=lambda one: one[1])
        low, high = (middle, high) if share < fraction else (low, middle)
    return best[0]


def cuts_of(model: Any, plan: Any) -> tuple[Any, ...]:
    """PaddleSlim's plan as cuts by state-dict keys; its masks of activations are left out."""
    from ocrslim.pruning.plan import Cut, combine
    from ocrslim.pruning.surgery.cutting import named_tensors

    keys = {tensor.name: key for key, tensor in named_tensors(model)}
    return combine(
        Cut(keys[name], mask.dims, len(mask.mask), tuple(np.flatnonzero(np.asarray(mask.mask)).tolist()))
        for name, masks in plan.masks.items()
        if name in keys
        for mask in masks
    )


def _plan(config: Any, network: Any, cuts: Any, ratios: Mapping[str, float]) -> Any:
    from ocrslim.pruning.plan import Plan
    from ocrslim.pruning.surgery.cutting import named_tensors

    keys = {tensor.name: key for key, tensor in named_tensors(network.model)}
    named = {keys[name]: float(ratio) for name, ratio in ratios.items()}
    return Plan(config.section("Architecture"), cuts, named, {}, "fpgm", {**network.hashes(), "pruner": "PaddleSlim"})


def check_same(mine: Any, theirs: Any) -> None:
    """The network that PaddleSlim cuts itself has the same arrays as the one that its plan makes of ours.

    Raises:
        SystemExit: it has not.
    """
    from ocrslim.pruning.surgery.cutting import named_tensors

    found = {key: tensor.numpy() for key, tensor in named_tensors(theirs)}
    for key, tensor in named_tensors(mine):
        if not np.array_equal(tensor.numpy(), found[key]):
            raise SystemExit(f"{key}: PaddleSlim's own network has other values than its plan makes: see cuts_of")
