"""Operators on maps: convolution, pooling, interpolation, padding, slopes."""

from __future__ import annotations

from typing import Any

from paddle.nn import functional as F

from ocrslim.graph import Op
from ocrslim.models.imported.operators.table import Arguments, operator


@operator("conv2d", "depthwise_conv2d")
def _convolve(op: Op, given: Arguments) -> Any:
    """A convolution whose weight is computed; others are layers."""
    settings = {"stride": op.ints("strides"), "padding": padding_of(op), "dilation": op.ints("dilations")}
    return F.conv2d(given["input"], given["filter"], groups=int(op.attributes["groups"]), **settings)


@operator("pool2d")
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


@operator("max_pool2d_with_index")
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


@operator("nearest_interp", "bilinear_interp", "bicubic_interp")
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


@operator("pixel_shuffle")
def _to_space(op: Op, given: Arguments) -> Any:
    return F.pixel_shuffle(given["x"], int(op.attributes["upscale_factor"]), op.attributes.get("data_format", "NCHW"))


@operator("prelu")
def _prelu(op: Op, given: Arguments) -> Any:
    return F.prelu(given["x"], given["alpha"], op.attributes.get("data_format", "NCHW"))


@operator("pad")
def _pad(op: Op, given: Arguments) -> Any:
    value = op.attributes.get("pad_value", given.get("pad_value", 0.0))
    return F.pad(given["x"], op.ints("paddings"), value=float(value), pad_from_left_axis=True)


@operator("pad3d")
def _pad_map(op: Op, given: Arguments) -> Any:
    settings = {"mode": op.attributes["mode"], "value": float(op.attributes.get("pad_value", 0.0))}
    return F.pad(given["x"], op.ints("paddings"), data_format=op.attributes["data_format"], **settings)
