"""Operators along axes: sums, norms, recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paddle
from paddle.nn import functional as F

from ocrslim.graph import Op
from ocrslim.models.imported.operators.table import Arguments, first, operator

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(paddle, name) for name in ("mean", "sum", "max", "min", "prod", "amax", "amin")}
}


@operator(*_REDUCTIONS)
def _reduce(op: Op, given: Arguments) -> Any:
    axes = op.ints("axis", op.attributes.get("dims", []))
    everything = not axes or bool(op.attributes.get("reduce_all"))
    keeps = bool(op.attributes.get("keepdim", op.attributes.get("keep_dim", False)))
    return _REDUCTIONS[op.name](first(given), axis=None if everything else axes, keepdim=keeps)


@operator("argmax", "argmin")
def _extreme(op: Op, given: Arguments) -> Any:
    function = paddle.argmax if op.name == "argmax" else paddle.argmin
    axis = None if op.attributes.get("flatten") else op.ints("axis", -1)[0]
    return function(given["x"], axis, bool(op.attributes.get("keepdims")), op.attributes.get("dtype", "int64"))


@operator("layer_norm")
def _layer_norm(op: Op, given: Arguments) -> Any:
    x = given["x"]
    shape = x.shape[int(op.attributes["begin_norm_axis"]) :]
    scale, bias = (None if (one := given.get(name)) is None else one.reshape([-1]) for name in ("scale", "bias"))
    return F.layer_norm(x, shape, scale, bias, float(op.attributes["epsilon"]))


@operator("instance_norm")
def _instance_norm(op: Op, given: Arguments) -> Any:
    return F.instance_norm(
        given["x"], weight=given.get("scale"), bias=given.get("bias"), eps=float(op.attributes["epsilon"])
    )


@operator("group_norm")
def _group_norm(op: Op, given: Arguments) -> Any:
    return F.group_norm(
        given["x"], int(op.attributes["groups"]), float(op.attributes["epsilon"]), given.get("scale"), given.get("bias")
    )


@operator("rnn")
def _recur(op: Op, given: Arguments) -> Any:
    """An LSTM, GRU or simple RNN, without dropout between its layers; from zeros on, where there is no first state."""
    x, weights, mode = given["x"], given["weight_list"], str(op.attributes["mode"])
    sizes = (int(weights[0].shape[1]), int(weights[1].shape[1]), int(op.attributes["num_layers"]))
    both = bool(op.attributes["is_bidirec"])
    zeros = paddle.zeros([sizes[2] * (2 if both else 1), x.shape[1], sizes[1]], x.dtype)
    states = given.get("pre_state") or [zeros] * (2 if mode == "LSTM" else 1)
    chance, forward_only = paddle.zeros([1], "uint8"), not paddle.is_grad_enabled()
    lengths = given.get("sequence_length")
    out, _, last = paddle._C_ops.rnn(x, states, weights, lengths, chance, 0.0, both, *sizes, mode, 0, forward_only)
    return [out, chance, last]
