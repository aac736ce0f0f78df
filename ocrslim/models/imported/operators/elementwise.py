"""Operators that work on each entry alone, of one tensor or of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ocrslim.graph import Op
from ocrslim.models.imported.operators.table import Arguments, first, operator

_ALONE: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(paddle, name) for name in ("abs", "ceil", "cos", "erf", "exp", "floor", "log", "logical_not")},
    **{name: getattr(paddle, name) for name in ("reciprocal", "round", "rsqrt", "sign", "sin", "sqrt", "square")},
    **{name: getattr(paddle, name) for name in ("assign", "neg", "tanh")},
    **{"hardswish": F.hardswish, "logsigmoid": F.log_sigmoid, "relu": F.relu, "relu6": F.relu6},
    **{"selu": F.selu, "sigmoid": F.sigmoid, "silu": F.silu, "softsign": F.softsign, "swish": F.swish},
    "share_data": paddle.assign,
    "mish": F.mish,
}
# function of the tensor and of attributes: operator -> function, {attribute: its name in the function}
_WITH_SETTINGS: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "elu": (F.elu, {"alpha": "alpha"}),
    "gelu": (F.gelu, {"approximate": "approximate"}),
    "hardsigmoid": (F.hardsigmoid, {"slope": "slope", "offset": "offset"}),
    "hardtanh": (F.hardtanh, {"t_min": "min", "t_max": "max"}),
    "leaky_relu": (F.leaky_relu, {"negative_slope": "negative_slope"}),
    "log_softmax": (F.log_softmax, {"axis": "axis"}),
    "softmax": (F.softmax, {"axis": "axis"}),
    "softplus": (F.softplus, {"beta": "beta", "threshold": "threshold"}),
    "transpose": (paddle.transpose, {"perm": "perm"}),
    "flatten": (paddle.flatten, {"start_axis": "start_axis", "stop_axis": "stop_axis"}),
    "pow": (paddle.pow, {"y": "y"}),
    "cast": (paddle.cast, {"dtype": "dtype"}),
    "flip": (paddle.flip, {"axis": "axis"}),
}


@operator(*_ALONE)
def _alone(op: Op, given: Arguments) -> Any:
    return _ALONE[op.name](first(given))


@operator(*_WITH_SETTINGS)
def _with_settings(op: Op, given: Arguments) -> Any:
    function, names = _WITH_SETTINGS[op.name]
    return function(first(given), **{argument: op.attributes[name] for name, argument in names.items()})


@operator("scale")
def _scale(op: Op, given: Arguments) -> Any:
    factor = op.attributes.get("scale", given.get("scale"))
    return paddle.scale(given["x"], factor, op.attributes["bias"], op.attributes["bias_after_scale"])


@operator("clip")
def _clip(op: Op, given: Arguments) -> Any:
    return paddle.clip(given["x"], *(op.attributes.get(name, given.get(name)) for name in ("min", "max")))


@operator("dropout")
def _dropout(op: Op, given: Arguments) -> Any:
    """As an exported network has it: without chance, also while it trains."""
    keeps = op.attributes["mode"] == "upscale_in_train"
    return given["x"] if keeps else given["x"] * (1.0 - float(op.attributes["p"]))


_PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: getattr(paddle, name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "bmm")},
    **{name: getattr(paddle, name) for name in ("floor_divide", "remainder", "equal", "not_equal", "less_than")},
    **{name: getattr(paddle, name) for name in ("less_equal", "greater_than", "greater_equal", "logical_and")},
    **{"logical_or": paddle.logical_or, "elementwise_pow": paddle.pow},
}


@operator(*_PAIRS)
def _pair(op: Op, given: Arguments) -> Any:
    x, y = given["x"], given["y"]
    if op.name != "bmm" and isinstance(x, Tensor) and isinstance(y, Tensor):
        x, y = _without_batch(x, y), _without_batch(y, x)
    return _PAIRS[op.name](x, y)


def _without_batch(x: Tensor, other: Tensor) -> Tensor:
    """Leave out a leading 1 that is broadcast: Paddle takes twice as long with [1, C, 1, 1] as with [C, 1, 1]."""
    return x.squeeze(0) if x.ndim == other.ndim > 1 and x.shape[0] == 1 < other.shape[0] else x


@operator("matmul")
def _matmul(op: Op, given: Arguments) -> Any:
    turned = (bool(op.attributes.get(name)) for name in ("transpose_x", "transpose_y"))
    return paddle.matmul(given["x"], given["y"], *turned)


@operator("where")
def _where(op: Op, given: Arguments) -> Any:
    return paddle.where(given["condition"], given["x"], given["y"])
