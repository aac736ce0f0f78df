"""Convolutions, pools, norms and linear layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocrslim.graph.frontends.onnx.network import FormError, Network, converter
from ocrslim.graph.frontends.onnx.node import Node
from ocrslim.graph.program import Value


@converter("Conv")
def convolution(node: Node, net: Network) -> Value:
    """A convolution over a map, its bias added behind it."""
    x, weight = net.input(node, 0), net.input(node, 1)
    groups = int(node.attributes.get("group", 1))
    settings = {**_window(node, weight.shape or (), x.rank), "groups": groups, "data_format": "NCHW"}
    name = "depthwise_conv2d" if 1 < groups == (x.shape or ())[1] and not net.made(node)[1] % groups else "conv2d"
    made = net.emit(name, {"input": x, "filter": weight}, net.made(node), **settings)
    return _with_bias(node, net, made)


@converter("ConvTranspose")
def transposed_convolution(node: Node, net: Network) -> Value:
    """A transposed convolution, its bias added behind it."""
    x, weight = net.input(node, 0), net.input(node, 1)
    groups = int(node.attributes.get("group", 1))
    settings = {**_window(node, weight.shape or (), x.rank), "groups": groups, "data_format": "NCHW"}
    if (
        settings["padding_algorithm"] != "EXPLICIT"
        or len(settings["paddings"]) != 2
        or "output_shape" in node.attributes
    ):
        raise FormError("ConvTranspose with auto_pad, an output shape or uneven pads")
    extra = [int(one) for one in node.attributes.get("output_padding", [])]
    if weight.parameter is None:
        raise FormError("ConvTranspose with computed weights")
    settings.update(output_padding=extra if any(extra) else [], output_size=[])
    name = "depthwise_conv2d_transpose" if 1 < groups == (x.shape or ())[1] else "conv2d_transpose"
    made = net.emit(name, {"x": x, "filter": weight}, net.made(node), **settings)
    return _with_bias(node, net, made)


def _with_bias(node: Node, net: Network, made: Value) -> Value:
    if not node.given(2):
        return made
    bias, width = net.input(node, 2), (made.shape or ())[1]
    column = net.emit("reshape", {"x": bias}, (1, width, 1, 1), shape=[1, -1, 1, 1])
    return net.emit("add", {"x": made, "y": column}, made.shape or ())


def _window(node: Node, weight: Sequence[int], rank: int) -> dict[str, Any]:
    """Return strides, dilations and padding of a convolution or pool as Paddle has them."""
    if rank != 4:
        raise FormError(f"{node.kind} of a value of {rank} axes")
    kernel = [int(one) for one in node.attributes.get("kernel_shape", weight[2:])]
    strides, dilations = ([int(one) for one in node.attributes.get(k, [1, 1])] for k in ("strides", "dilations"))
    settings: dict[str, Any] = {"strides": strides, "dilations": dilations}
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic == "SAME_UPPER" and dilations == [1, 1]:
        if any(stride > size + 1 for stride, size in zip(strides, kernel)):  # ONNX Runtime starts within the map then
            raise FormError(f"{node.kind} with auto_pad={automatic} and a stride beyond the window")
        return {**settings, "paddings": [0, 0], "padding_algorithm": "SAME"}
    pads = [int(one) for one in node.attributes.get("pads", [0, 0, 0, 0])]
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(node.kind, automatic, kernel, strides, dilations)
    elif automatic == "VALID":
        pads = [0, 0, 0, 0]
    top, left, bottom, right = pads
    even = (top, left) == (bottom, right)
    return {
        **settings,
        "paddings": [top, left] if even else [top, bottom, left, right],
        "padding_algorithm": "EXPLICIT",
    }


def _same(
    kind: str, automatic: str, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Return the pads that keep the size of a map, which do not depend on it where the window moves by one."""
    if list(strides) != [1, 1]:
        raise FormError(f"{kind} with auto_pad={automatic} and strides")
    total = [dilation * (size - 1) for dilation, size in zip(dilations, kernel)]
    less, more = [one // 2 for one in total], [one - one // 2 for one in total]
    return [*less, *more] if automatic == "SAME_UPPER" else [*more, *less]


_POOL: Mapping[str, Any] = {"ceil_mode": False, "data_format": "NCHW", "global_pooling": False, "adaptive": False}


@converter("MaxPool", "AveragePool")
def pool(node: Node, net: Network) -> Value:
    """The largest or the mean in each window."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise FormError("MaxPool with indices")
    x = net.input(node, 0)
    window = _window(node, (), x.rank)
    if window.pop("dilations") != [1, 1]:
        raise FormError(f"{node.kind} with dilations")
    average, ceil = node.kind == "AveragePool", bool(node.attributes.get("ceil_mode", 0))
    counts = average and bool(node.attributes.get("count_include_pad", 0))
    size = [int(one) for one in node.attributes["kernel_shape"]]
    if ceil and _may_start_behind(window, size):
        raise FormError(f"{node.kind} with ceil_mode=1 and windows that may start behind the map")
    even = window["padding_algorithm"] == "EXPLICIT" and len(window["paddings"]) == 2
    whole = ceil and net.opset < 19  # a window that leaves the pads counts all of its places up to then
    if counts and (whole or not even):
        raise FormError("AveragePool with count_include_pad=1 and uneven pads, auto_pad or ceil_mode=1")
    settings = {
        **_POOL,
        **window,
        "kernel_size": size,
        "ceil_mode": ceil,
        "exclusive": not counts,
        "pooling_type": "avg" if average else "max",
    }
    return net.emit("pool2d", {"x": x}, net.made(node), **settings)


def _may_start_behind(window: Mapping[str, Any], kernel: Sequence[int]) -> bool:
    """Tell whether the last window of a pool, its count rounded up, may hold pads alone: ONNX leaves that one out."""
    pads = window["paddings"]
    behind = pads if len(pads) == 2 else pads[1::2]
    return any(pad + stride > size for pad, stride, size in zip(behind, window["strides"], kernel))


@converter("GlobalAveragePool", "GlobalMaxPool")
def pool_all(node: Node, net: Network) -> Value:
    """The mean or the largest of each map."""
    x = net.input(node, 0)
    if x.rank != 4:
        raise FormError(f"{node.kind} of a value of {x.rank} axes")
    kind = "avg" if node.kind == "GlobalAveragePool" else "max"
    window = {"kernel_size": [1, 1], "strides": [1, 1], "paddings": [0, 0], "padding_algorithm": "EXPLICIT"}
    settings = {**_POOL, **window, "adaptive": True, "exclusive": True, "pooling_type": kind}
    return net.emit("pool2d", {"x": x}, net.made(node), **settings)


@converter("BatchNormalization")
def batch_norm(node: Node, net: Network) -> Value:
    """A batch norm with the statistics of its training."""
    if node.attributes.get("training_mode", 0) or sum(map(bool, node.outputs)) > 1:
        raise FormError("BatchNormalization in training mode")
    places = {"x": 0, "mean": 3, "variance": 4, "scale": 1, "bias": 2}
    inputs = {name: net.input(node, place) for name, place in places.items()}
    if any(value.parameter is None for name, value in inputs.items() if name != "x"):
        raise FormError("BatchNormalization with computed statistics or weights")
    settings = {"is_test": True, "data_format": "NCHW", "use_global_stats": False, "trainable_statistics": False}
    numbers = {
        name: float(node.attributes.get(name, default)) for name, default in (("epsilon", 1e-5), ("momentum", 0.9))
    }
    return net.emit("batch_norm", inputs, net.made(node), **settings, **numbers)


@converter("LayerNormalization")
def layer_norm(node: Node, net: Network) -> Value:
    """A norm over the last axes."""
    if sum(map(bool, node.outputs)) > 1:
        raise FormError("LayerNormalization with its statistics")
    names = [name for place, name in enumerate(("x", "scale", "bias")) if node.given(place)]
    inputs = {name: net.input(node, place) for place, name in enumerate(names)}
    axis = int(node.attributes.get("axis", -1)) % inputs["x"].rank
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return net.emit("layer_norm", inputs, net.made(node), begin_norm_axis=axis, epsilon=epsilon)


@converter("InstanceNormalization")
def instance_norm(node: Node, net: Network) -> Value:
    """A norm over each map."""
    inputs = {name: net.input(node, place) for place, name in enumerate(("x", "scale", "bias"))}
    return net.emit("instance_norm", inputs, net.made(node), epsilon=float(node.attributes.get("epsilon", 1e-5)))


@converter("MatMul")
def product(node: Node, net: Network) -> Value:
    """A product of matrices."""
    inputs = {"x": net.input(node, 0), "y": net.input(node, 1)}
    return net.emit("matmul", inputs, net.made(node), transpose_x=False, transpose_y=False)


@converter("Gemm")
def linear(node: Node, net: Network) -> Value:
    """A linear layer: `alpha A B + beta C`."""
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    turned = {"transpose_x": bool(node.attributes.get("transA")), "transpose_y": bool(node.attributes.get("transB"))}
    inputs, shape = {"x": net.input(node, 0), "y": net.input(node, 1)}, net.made(node)
    made = _times(net, net.emit("matmul", inputs, shape, **turned), alpha)
    if not node.given(2):
        return made
    return net.emit("add", {"x": made, "y": _times(net, net.input(node, 2), beta)}, shape)


def _times(net: Network, value: Value, factor: float) -> Value:
    if factor == 1.0:
        return value
    return net.emit("scale", {"x": value}, value.shape or (), scale=factor, bias=0.0, bias_after_scale=True)
