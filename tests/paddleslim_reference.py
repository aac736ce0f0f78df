"""PaddleSlim's own tracer and its own pruners, in a process of their own: what ours are compared with.

    python tests/paddleslim_reference.py REQUEST.json      the last line on standard output is the answer, as JSON
    python tests/paddleslim_reference.py                   one such file for each line on standard input

Paddle reads the flag for its legacy programs when it is imported, so nothing of this can run beside the
tests. Only paddlepaddle 3.1.1 has both that representation and what PaddleSlim 2.6.0 needs of it.

The request: `network` (a name of `known_networks.py`), `options` (for its constructor), `weights` (a .pdparams, or
null), `input_shape`, `criteria`, `ratios`. The answer: `groups`, for each group's name its members as [key, axis];
`kept`, by group, criterion and ratio the indices that stay, in the order of the members; `macs_share`,
the share of the MACs of inference that lies in convolutions whose outputs are in a group.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112  (the name is Paddle's)

import numpy as np
import paddle
from known_networks import build
from paddle.base.dygraph import base

base._to_static_mode_guard_ = base.to_static_mode_guard  # the name that PaddleSlim knows it by
filter_pruner = importlib.import_module("paddleslim.dygraph.prune.filter_pruner")
TRACER = filter_pruner.DygraphPruningCollections
PRUNERS = {
    "fpgm": ("fpgm_pruner", "FPGMFilterPruner"),
    "l1": ("l1norm_pruner", "L1NormFilterPruner"),
    "l2": ("l2norm_pruner", "L2NormFilterPruner"),
}


def main() -> None:
    """Answer the requests, one after the other."""
    for path in sys.argv[1:] or sys.stdin:
        answer(json.loads(Path(path.strip()).read_text(encoding="utf-8")))


def answer(request: dict[str, Any]) -> None:
    """Print the answer to one request."""
    model = build(request["network"], **request.get("options", {}))
    if request.get("weights"):
        model.set_state_dict(paddle.load(request["weights"]))
    model.train()  # so that it sees branches that only training runs
    found = compare(model, request)
    found["macs_share"] = macs_share(model, request["input_shape"], found["groups"])
    print("\n" + json.dumps(found), flush=True)


def compare(model: paddle.nn.Layer, request: dict[str, Any]) -> dict[str, Any]:
    """Groups and kept indices by PaddleSlim's pruners, built after the weights were loaded."""
    trace_once()
    keys = {parameter.name: key for key, parameter in model.named_parameters()}
    groups: dict[str, list[Any]] = {}
    kept: dict[str, dict[str, dict[str, Any]]] = {}
    for criterion in request["criteria"]:
        module, name = PRUNERS[criterion]
        pruner = getattr(importlib.import_module(f"paddleslim.dygraph.prune.{module}"), name)(
            model, list(request["input_shape"])
        )
        silence_logs()
        for collection in pruner.collections:
            if collection.master_name in pruner.skip_vars:
                continue
            group = keys[collection.master_name]
            groups[group] = members(collection, keys)
            kept.setdefault(group, {})[criterion] = {
                str(ratio): indices(pruner, collection, ratio, keys, groups[group]) for ratio in request["ratios"]
            }
    return {"groups": groups, "kept": kept}


def trace_once() -> None:
    """Let the pruners share what PaddleSlim's tracer finds: it takes 4 s, and is the same for all of them."""
    found: list[Any] = []

    def collections(*arguments: Any, **options: Any) -> Any:
        if not found:
            found.append(TRACER(*arguments, **options))
        return found[0]

    filter_pruner.DygraphPruningCollections = collections


def members(collection: Any, keys: dict[str, str]) -> list[list[Any]]:
    """[state-dict key, axis] of each parameter in a collection; activations are in it too."""
    found = {(keys[d.name], d.axis): None for d in collection.all_pruning_details() if d.name in keys}
    return [list(place) for place in found]


def indices(pruner: Any, collection: Any, ratio: float, keys: dict[str, str], places: list[list[Any]]) -> list[Any]:
    """What stays of each member when PaddleSlim removes the fraction `ratio`."""
    plan = pruner.prune_var(collection.master_name, collection.master_axis, ratio, apply=None)
    masks = {
        (keys[name], mask.dims): np.flatnonzero(np.asarray(mask.mask)).tolist()
        for name, found in plan.masks.items()
        if name in keys
        for mask in found
    }
    return [masks[key, axis] for key, axis in places]


def macs_share(model: paddle.nn.Layer, input_shape: list[int], groups: dict[str, list[Any]]) -> float:
    """Counted by hooks, so that nothing of ours has part in it."""
    outputs = {key for places in groups.values() for key, axis in places if axis == 0}
    macs: dict[str, int] = {}

    def count(key: str, layer: paddle.nn.Layer, source: paddle.Tensor, out: paddle.Tensor) -> None:
        each = int(np.prod(layer.weight.shape[1:]))
        if isinstance(layer, paddle.nn.Linear):
            macs[key] = out.size * layer.weight.shape[0]
        elif isinstance(layer, paddle.nn.Conv2DTranspose):
            macs[key] = source.size * each
        else:
            macs[key] = out.size * each

    convolutions = set()
    for name, layer in model.named_sublayers():
        if isinstance(layer, (paddle.nn.Conv2D, paddle.nn.Conv2DTranspose, paddle.nn.Linear)):
            key = f"{name}.weight"
            layer.register_forward_post_hook(lambda one, i, o, key=key: count(key, one, i[0], o))
            if isinstance(layer, paddle.nn.Conv2D):
                convolutions.add(key)
    model.eval()
    with paddle.no_grad():
        model(paddle.zeros(input_shape))
    return sum(macs.get(key, 0) for key in outputs & convolutions) / sum(macs.values())


def silence_logs() -> None:
    """PaddleSlim logs every plan."""
    for name in logging.root.manager.loggerDict:
        if name.startswith("paddleslim"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
