"""Maps in another size.

Paddle's nearest entry is `floor(i / factor)`; ONNX has four ways to round and several to place the grid, of which those
are taken that come to the same for whole factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ocrslim.graph.frontends.onnx.network import FormError, Network, converter
from ocrslim.graph.frontends.onnx.node import Node
from ocrslim.graph.program import Value

# where the grid lies -> align_corners, align_mode
_LINEAR = {
    "half_pixel": (False, 0),
    "pytorch_half_pixel": (False, 0),
    "asymmetric": (False, 1),
    "align_corners": (True, 0),
}
_CUBIC = ("half_pixel", "pytorch_half_pixel", "align_corners")
_FREE: dict[str, Any] = {"data_format": "NCHW", "out_d": -1}


@converter("Resize", "Upsample")
def resize(node: Node, net: Network) -> Value:
    """Maps in another size."""
    x, mode = net.input(node, 0), str(node.attributes.get("mode", "nearest"))
    if (
        x.rank != 4
        or node.attributes.get("antialias", 0)
        or node.attributes.get("exclude_outside", 0)
        or "axes" in node.attributes
    ):
        raise FormError(f"{node.kind} of other than the last two of four axes, or with antialias")
    old = node.kind == "Upsample" or net.opset < 11
    grid = "asymmetric" if old else str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    size = _size(node, net, x, old)
    if mode != "nearest" and grid not in ("align_corners", "asymmetric") and _shrinks_to_one(x, net.made(node)):
        raise FormError(f"{node.kind} to one entry with mode={mode}, {grid}")
    if mode == "nearest":
        rounding = "floor" if old else str(node.attributes.get("nearest_mode", "round_prefer_floor"))
        return _nearest(node, net, x, size, f"{grid} {rounding}")
    if mode == "linear" and grid in _LINEAR:
        corners, aligned = _LINEAR[grid]
        settings = {"interp_method": "bilinear", "align_corners": corners, "align_mode": aligned}
        return net.emit("bilinear_interp", {"x": x, **size.inputs}, net.made(node), **settings, **size.settings)
    if mode == "cubic" and grid in _CUBIC and node.attributes.get("cubic_coeff_a", -0.75) == -0.75:
        settings = {"interp_method": "bicubic", "align_corners": grid == "align_corners", "align_mode": 0}
        return net.emit("bicubic_interp", {"x": x, **size.inputs}, net.made(node), **settings, **size.settings)
    raise FormError(f"{node.kind} with mode={mode}, {grid}")


def _shrinks_to_one(x: Value, made: Sequence[int]) -> bool:
    """Tell whether one entry is made of several, which Paddle takes from the first ones."""
    return any(new == 1 < old for old, new in zip((x.shape or ())[2:], made[2:]))


class _Size:
    """The size to make as Paddle's operators have it, inputs and attributes."""

    def __init__(self, inputs: dict[str, Value], factors: Sequence[float], height: int = -1, width: int = -1):
        self.inputs = inputs
        self.settings = {**_FREE, "scale": list(factors), "out_h": height, "out_w": width}


def _size(node: Node, net: Network, x: Value, old: bool) -> _Size:
    if (x.shape or ())[:2] != net.made(node)[:2]:
        raise FormError(f"{node.kind} of channels")
    place = 1 if old else 2
    if node.given(place) or "scales" in node.attributes:
        factors = net.numbers(node, place, "scales")
        if factors:
            return _Size({}, [float(one) for one in factors[2:]])
    if net.array(node.inputs[3]) is not None:
        return _Size({}, [], *net.made(node)[2:])
    settings = {"axes": [0], "starts": [2], "ends": [4], "infer_flags": [1], "decrease_axis": []}
    wanted = net.emit("slice", {"input": net.input(node, 3)}, (2,), **settings)
    return _Size({"out_size": wanted}, [])


def _nearest(node: Node, net: Network, x: Value, size: _Size, rule: str) -> Value:
    factors = [_whole(net.made(node)[axis] / (x.shape or ())[axis]) for axis in (2, 3)]
    if size.inputs:  # whole for this image, and maybe for no other
        factors = [None, None]
    shifted = rule == "asymmetric round_prefer_floor"
    exact = rule == "asymmetric floor"
    if not exact and (
        None in factors or rule not in ("half_pixel round_prefer_floor", "asymmetric round_prefer_floor")
    ):
        raise FormError(f"{node.kind} with mode=nearest, {rule}")
    settings = {"interp_method": "nearest", "align_corners": False, "align_mode": 1}
    made = net.emit("nearest_interp", {"x": x, **size.inputs}, net.made(node), **settings, **size.settings)
    for axis, factor in zip((2, 3), factors):
        by = ((factor or 1) + 1) // 2 - 1 if shifted else 0
        made = _moved_back(net, made, axis, by) if by else made
    return made


def _whole(factor: float) -> int | None:
    return int(factor) if factor == int(factor) else None


def _moved_back(net: Network, value: Value, axis: int, by: int) -> Value:
    """Return a map of which entry i is entry i + `by`, the last ones as they were.

    `round(i / factor)` is `floor((i + by) / factor)`, by = (factor - 1) // 2 with halves rounded down.
    """
    shape = list(value.shape or ())
    parts = []
    for start, size in ((by, shape[axis] - by), (-by, by)):
        settings = {"axes": [axis], "starts": [start], "ends": [(1 << 31) - 1], "infer_flags": [1], "decrease_axis": []}
        parts.append(net.emit("slice", {"input": value}, [*shape[:axis], size, *shape[axis + 1 :]], **settings))
    return net.emit("concat", {"x": net.listed(parts)}, shape, axis=axis)
