"""What the operators of a program compute, in dygraph: one table from operator to function.

Each function takes the operator and its arguments, tensors and lists of tensors, and returns its first outputs: one, or
several as a list. An output that is a list is alone in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
from paddle.nn import functional as F

from ocrslim.graph import Op

Arguments = Mapping[str, Any]
Function = Callable[[Op, Arguments], Any]

FUNCTIONS: dict[str, Function] = {}


def _operator(*names: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return register


# -- one tensor, entry by entry ---------------------------------------------------------------------------------------

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


def _first(arguments: Arguments) -> Any:
    return next(value for value in arguments.values() if value is not None)


@_operator(*_ALONE)
def _alone(op: Op, given: Arguments) -> Any:
    return _ALONE[op.name](_first(given))


@_operator(*_WITH_SETTINGS)
def _with_settings(op: Op, given: Arguments) -> Any:
    function, names = _WITH_SETTINGS[op.name]
    return function(_first(given), **{argument: op.attributes[name] for name, argument in names.items()})


@_operator("scale")
def _scale(op: Op, given: Arguments) -> Any:
    factor = op.attributes.get("scale", given.get("scale"))
    return paddle.scale(given["x"], factor, op.attributes["bias"], op.attributes["bias_after_scale"])


@_operator("clip")
def _clip(op: Op, given: Arguments) -> Any:
    return paddle.clip(given["x"], *(op.attributes.get(name, given.get(name)) for name in ("min", "max")))


@_operator("dropout")
def _dropout(op: Op, given: Arguments) -> Any:
    """As an exported network has it: without chance, also while it trains."""
    keeps = op.attributes["mode"] == "upscale_in_train"
    return given["x"] if keeps else given["x"] * (1.0 - float(op.attributes["p"]))


# -- several tensors --------------------------------------------------------------------------------------------------

_PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: getattr(paddle, name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "bmm")},
    **{name: getattr(paddle, name) for name in ("floor_divide", "remainder", "equal", "not_equal", "less_than")},
    **{name: getattr(paddle, name) for name in ("less_equal", "greater_than", "greater_equal", "logical_and")},
    **{"logical_or": paddle.logical_or, "elementwise_pow": paddle.pow},
}


@_operator(*_PAIRS)
def _pair(op: Op, given: Arguments) -> Any:
    return _PAIRS[op.name](given["x"], given["y"])


@_operator("matmul")
def _matmul(op: Op, given: Arguments) -> Any:
    turned = (bool(op.attributes.get(name)) for name in ("transpose_x", "transpose_y"))
    return paddle.matmul(given["x"], given["y"], *turned)


@_operator("where")
def _where(op: Op, given: Arguments) -> Any:
    return paddle.where(given["condition"], given["x"], given["y"])


@_operator("concat")
def _concat(op: Op, given: Arguments) -> Any:
    return paddle.concat(given["x"], op.ints("axis", 0)[0])


@_operator("stack")
def _stack(op: Op, given: Arguments) -> Any:
    return paddle.stack(given["x"], op.ints("axis", 0)[0])


@_operator("add_n")
def _sum_of_list(op: Op, given: Arguments) -> Any:
    return paddle.add_n(given["inputs"])


@_operator("combine")
def _list(op: Op, given: Arguments) -> Any:
    return [list(given.values())]


@_operator("builtin_split")
def _all_of_list(op: Op, given: Arguments) -> Any:
    return list(_first(given))


@_operator("builtin_slice")
def _one_of_list(op: Op, given: Arguments) -> Any:
    return _first(given)[int(op.attributes["index"])]


@_operator("gather")
def _gather(op: Op, given: Arguments) -> Any:
    return paddle.gather(given["x"], given["index"], op.ints("axis", 0)[0])


@_operator("embedding")
def _embedding(op: Op, given: Arguments) -> Any:
    return F.embedding(given["x"], given["weight"])


# -- constants --------------------------------------------------------------------------------------------------------


@_operator("full")
def _full(op: Op, given: Arguments) -> Any:
    return paddle.full(op.ints("shape"), op.attributes["value"], op.attributes["dtype"])


@_operator("full_int_array")
def _full_int_array(op: Op, given: Arguments) -> Any:
    return paddle.to_tensor(op.ints("value"), op.attributes["dtype"])


@_operator("full_like")
def _full_like(op: Op, given: Arguments) -> Any:
    dtype = op.attributes.get("dtype", "undefined")
    value = op.attributes.get("value", given.get("value"))
    return paddle.full_like(given["x"], value, None if dtype == "undefined" else dtype)


@_operator("assign_value")
def _assign_value(op: Op, given: Arguments) -> Any:
    return paddle.to_tensor(list(op.attributes["values"]), op.attributes["dtype"]).reshape(op.ints("shape"))


@_operator("full_with_tensor")
def _full_with_tensor(op: Op, given: Arguments) -> Any:
    shape = op.attributes.get("shape", given.get("shape"))
    return paddle.full(shape, op.attributes.get("value", given.get("value")), op.attributes["dtype"])


# -- shapes -----------------------------------------------------------------------------------------------------------


@_operator("shape", "shape64")
def _shape(op: Op, given: Arguments) -> Any:
    return paddle.shape(_first(given)).astype("int64" if op.name == "shape64" else "int32")


@_operator("reshape")
def _reshape(op: Op, given: Arguments) -> Any:
    return paddle.reshape(given["x"], _numbers(op, given, "shape"))


@_operator("expand")
def _expand(op: Op, given: Arguments) -> Any:
    return paddle.expand(given["x"], _numbers(op, given, "shape"))


@_operator("tile")
def _tile(op: Op, given: Arguments) -> Any:
    return paddle.tile(given["x"], _numbers(op, given, "repeat_times"))


@_operator("squeeze")
def _squeeze(op: Op, given: Arguments) -> Any:
    return paddle.squeeze(given["x"], op.ints("axis", []) or None)


@_operator("unsqueeze")
def _unsqueeze(op: Op, given: Arguments) -> Any:
    return paddle.unsqueeze(given["x"], op.ints("axis"))


@_operator("slice")
def _slice(op: Op, given: Arguments) -> Any:
    ranges = (_numbers(op, given, name) for name in ("starts", "ends"))
    return _dropped(op, paddle.slice(given["input"], op.ints("axes"), *ranges))


@_operator("strided_slice")
def _strided_slice(op: Op, given: Arguments) -> Any:
    ranges = (_numbers(op, given, name) for name in ("starts", "ends", "strides"))
    return _dropped(op, paddle.strided_slice(_first(given), op.ints("axes"), *ranges))


def _dropped(op: Op, made: Any) -> Any:
    """Without the axes at which one index was taken; older programs keep the axis of a single number."""
    axes = op.ints("decrease_axis", [])
    return paddle.squeeze(made, axes) if axes and made.ndim > op.outputs[0].rank else made


@_operator("split")
def _split(op: Op, given: Arguments) -> Any:
    return [paddle.split(given["x"], op.ints("sections"), op.ints("axis", 0)[0])]


@_operator("split_with_num")
def _split_evenly(op: Op, given: Arguments) -> Any:
    return [paddle.split(given["x"], int(op.attributes["num"]), op.ints("axis", 0)[0])]


@_operator("unbind")
def _unbind(op: Op, given: Arguments) -> Any:
    return [paddle.unbind(_first(given), op.ints("axis", 0)[0])]


def _numbers(op: Op, given: Arguments, name: str) -> Any:
    """Return a shape or range: as the program has it, or as it was computed."""
    constant = op.attributes.get(name)
    return given[name] if constant is None else _list_of(constant)


def _list_of(numbers: Any) -> Any:
    return [int(number) for number in numbers] if isinstance(numbers, Sequence) else int(numbers)


# -- along axes -------------------------------------------------------------------------------------------------------

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(paddle, name) for name in ("mean", "sum", "max", "min", "prod", "amax", "amin")}
}


@_operator(*_REDUCTIONS)
def _reduce(op: Op, given: Arguments) -> Any:
    axes = op.ints("axis", op.attributes.get("dims", []))
    everything = not axes or bool(op.attributes.get("reduce_all"))
    keeps = bool(op.attributes.get("keepdim", op.attributes.get("keep_dim", False)))
    return _REDUCTIONS[op.name](_first(given), axis=None if everything else axes, keepdim=keeps)


@_operator("argmax", "argmin")
def _extreme(op: Op, given: Arguments) -> Any:
    function = paddle.argmax if op.name == "argmax" else paddle.argmin
    axis = None if op.attributes.get("flatten") else op.ints("axis", -1)[0]
    return function(given["x"], axis, bool(op.attributes.get("keepdims")), op.attributes.get("dtype", "int64"))


# -- maps -------------------------------------------------------------------------------------------------------------


@_operator("conv2d", "depthwise_conv2d")
def _convolve(op: Op, given: Arguments) -> Any:
    """A convolution whose weight is computed; others are layers."""
    settings = {"stride": op.ints("strides"), "padding": padding_of(op), "dilation": op.ints("dilations")}
    return F.conv2d(given["input"], given["filter"], groups=int(op.attributes["groups"]), **settings)


@_operator("pool2d")
def _pool(op: Op, given: Arguments) -> Any:
    x, average, layout = given["x"], op.attributes["pooling_type"] == "avg", op.attributes.get("data_format", "NCHW")
    size = op.ints("kernel_size", [1, 1])
    if op.attributes.get("adaptive") or op.attributes.get("global_pooling"):
        size = [1, 1] if op.attributes.get("global_pooling") else size
        return F.adaptive_avg_pool2d(x, size, layout) if average else F.adaptive_max_pool2d(x, size)
    window = {"kernel_size": size, "stride": op.ints("strides"), "padding": padding_of(op)}
    ceil = bool(op.attributes["ceil_mode"])
    if average:
        exclusive = bool(op.attributes["exclusive"])
        return F.avg_pool2d(x, **window, ceil_mode=ceil, exclusive=exclusive, data_format=layout)
    return F.max_pool2d(x, **window, ceil_mode=ceil, data_format=layout)


@_operator("max_pool2d_with_index")
def _pool_with_places(op: Op, given: Arguments) -> Any:
    size = op.ints("kernel_size")
    if op.attributes.get("global_pooling") or op.attributes.get("adaptive"):
        size = [1, 1] if op.attributes.get("global_pooling") else size
        return list(F.adaptive_max_pool2d(given["x"], size, return_mask=True))
    window = {
        "stride": op.ints("strides"),
        "padding": op.ints("paddings"),
        "ceil_mode": bool(op.attributes["ceil_mode"]),
    }
    return list(F.max_pool2d(given["x"], size, return_mask=True, **window))


def padding_of(op: Op) -> Any:
    """Return the padding of a convolution or pooling as Paddle's functions take it."""
    algorithm = op.attributes.get("padding_algorithm", "EXPLICIT")
    return op.ints("paddings") if algorithm == "EXPLICIT" else algorithm


@_operator("nearest_interp", "bilinear_interp", "bicubic_interp")
def _resize(op: Op, given: Arguments) -> Any:
    factors = [float(factor) for factor in op.attributes.get("scale") or []]
    size = given.get("size_tensor") or given.get("out_size")
    if size is None and not factors:
        size = [int(op.attributes[name]) for name in ("out_h", "out_w")]
    return F.interpolate(
        given["x"],
        size=size,
        scale_factor=None if size is not None else factors,
        mode=op.name.partition("_")[0],
        align_corners=bool(op.attributes.get("align_corners")),
        align_mode=int(op.attributes.get("align_mode", 1)),
        data_format=op.attributes.get("data_format", "NCHW"),
    )


@_operator("pad")
def _pad(op: Op, given: Arguments) -> Any:
    value = op.attributes.get("pad_value", given.get("pad_value", 0.0))
    return F.pad(given["x"], op.ints("paddings"), value=float(value), pad_from_left_axis=True)


@_operator("pad3d")
def _pad_map(op: Op, given: Arguments) -> Any:
    settings = {"mode": op.attributes["mode"], "value": float(op.attributes.get("pad_value", 0.0))}
    return F.pad(given["x"], op.ints("paddings"), data_format=op.attributes["data_format"], **settings)


# -- norms ------------------------------------------------------------------------------------------------------------


@_operator("layer_norm")
def _layer_norm(op: Op, given: Arguments) -> Any:
    x = given["x"]
    shape = x.shape[int(op.attributes["begin_norm_axis"]) :]
    scale, bias = (None if (one := given.get(name)) is None else one.reshape(shape) for name in ("scale", "bias"))
    return F.layer_norm(x, shape, scale, bias, float(op.attributes["epsilon"]))


@_operator("instance_norm")
def _instance_norm(op: Op, given: Arguments) -> Any:
    return F.instance_norm(
        given["x"], weight=given.get("scale"), bias=given.get("bias"), eps=float(op.attributes["epsilon"])
    )


@_operator("group_norm")
def _group_norm(op: Op, given: Arguments) -> Any:
    return F.group_norm(
        given["x"], int(op.attributes["groups"]), float(op.attributes["epsilon"]), given.get("scale"), given.get("bias")
    )


# -- sequences --------------------------------------------------------------------------------------------------------


@_operator("rnn")
def _recur(op: Op, given: Arguments) -> Any:
    """An LSTM, GRU or simple RNN, without dropout between its layers; the weights say how large it is."""
    weights = given["weight_list"]
    sizes = (int(weights[0].shape[1]), int(weights[1].shape[1]), int(op.attributes["num_layers"]))
    kind = (bool(op.attributes["is_bidirec"]), *sizes, str(op.attributes["mode"]))
    chance = paddle.zeros([1], "uint8")
    forward_only = not paddle.is_grad_enabled()
    out, _, states = paddle._C_ops.rnn(
        given["x"], given["pre_state"], weights, given.get("sequence_length"), chance, 0.0, *kind, 0, forward_only
    )
    return [out, chance, states]
