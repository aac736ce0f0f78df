"""What moves entries to other axes and places; sizes that depend on the image stay free."""

from __future__ import annotations

from collections.abc import Sequence

from ocrslim.formats import reshape_target
from ocrslim.graph.frontends.onnx.network import FormError, Network, converter
from ocrslim.graph.frontends.onnx.node import Node
from ocrslim.graph.program import Value

_MOST = (1 << 31) - 1  # the largest end of a slice in Paddle's formats; ONNX's files have larger ones for "to the end"


@converter("Reshape")
def reshape(node: Node, net: Network) -> Value:
    """The same entries in another shape."""
    if node.attributes.get("allowzero", 0):
        raise FormError("Reshape with allowzero=1")
    x, shape = net.input(node, 0), net.made(node)
    if x.parameter is not None and x.shape == shape:
        return x
    wanted = reshape_target(net.sizes, node.inputs[1], node.inputs[0])
    if wanted is None or None in wanted:
        return net.emit("reshape", {"x": x, "shape": net.input(node, 1)}, shape)
    return net.emit("reshape", {"x": x}, shape, shape=wanted)


@converter("Flatten")
def flatten(node: Node, net: Network) -> Value:
    """All axes from one on as one."""
    x = net.input(node, 0)
    if int(node.attributes.get("axis", 1)) % max(1, x.rank) != 1:
        raise FormError("Flatten with axis other than 1")
    return net.emit("flatten", {"x": x}, net.made(node), start_axis=1, stop_axis=x.rank - 1)


@converter("Transpose")
def transpose(node: Node, net: Network) -> Value:
    """Axes in another order."""
    x = net.input(node, 0)
    order = [int(axis) for axis in node.attributes.get("perm", range(x.rank)[::-1])]
    return net.emit("transpose", {"x": x}, net.made(node), perm=order)


@converter("Squeeze")
def squeeze(node: Node, net: Network) -> Value:
    """Without axes of size 1."""
    x = net.input(node, 0)
    axes = net.numbers(node, 1, "axes") or [axis for axis, size in enumerate(x.shape or ()) if size == 1]
    return net.emit("squeeze", {"x": x}, net.made(node), axis=[int(axis) % x.rank for axis in axes])


@converter("Unsqueeze")
def unsqueeze(node: Node, net: Network) -> Value:
    """With new axes of size 1."""
    shape = net.made(node)
    axes = sorted(int(axis) % len(shape) for axis in net.numbers(node, 1, "axes"))
    return net.emit("unsqueeze", {"x": net.input(node, 0)}, shape, axis=axes)


@converter("Concat")
def concat(node: Node, net: Network) -> Value:
    """Values one behind the other."""
    shape = net.made(node)
    items = net.listed([net.input(node, place) for place in range(len(node.inputs))])
    return net.emit("concat", {"x": items}, shape, axis=int(node.attributes["axis"]) % len(shape))


@converter("Split")
def split(node: Node, net: Network) -> Sequence[Value]:
    """Parts along an axis; equal ones by their number, which holds for other sizes too."""
    x = net.input(node, 0)
    axis = int(node.attributes.get("axis", 0)) % x.rank
    shapes = [net.shape(name) for name in node.outputs]
    if len(set(shapes)) == 1:
        return net.parts(net.emit_list("split_with_num", {"x": x}, num=len(shapes), axis=axis), shapes)
    return net.parts(net.emit_list("split", {"x": x}, sections=[shape[axis] for shape in shapes], axis=axis), shapes)


@converter("Slice")
def cut_out(node: Node, net: Network) -> Value:
    """A range along some axes."""
    x, rank = net.input(node, 0), len(net.shape(node.inputs[0]))
    starts, ends = (net.numbers(node, place, name) for place, name in ((1, "starts"), (2, "ends")))
    axes = net.numbers(node, 3, "axes") or list(range(len(starts)))
    steps = net.numbers(node, 4, "steps") or [1] * len(starts)
    settings = {
        "axes": [int(axis) % rank for axis in axes],
        "starts": [max(-_MOST, min(_MOST, int(start))) for start in starts],
        "ends": [max(-_MOST, min(_MOST, int(end))) for end in ends],
    }
    if any(step != 1 for step in steps):
        return net.emit("strided_slice", {"x": x}, net.made(node), **settings, strides=[int(step) for step in steps])
    plain = {"infer_flags": [1] * len(starts), "decrease_axis": []}
    return net.emit("slice", {"input": x}, net.made(node), **settings, **plain)


@converter("Gather")
def gather(node: Node, net: Network) -> Value:
    """Entries along an axis by their index; by a single number, that axis is gone."""
    x, index = net.input(node, 0), net.array(node.inputs[1])
    axis = int(node.attributes.get("axis", 0)) % x.rank
    if index is not None and index.ndim == 0:
        place = int(index)  # one from the end stays that for other sizes
        ends = [place + 1 if place != -1 else _MOST]
        settings = {"axes": [axis], "starts": [place], "ends": ends, "infer_flags": [1], "decrease_axis": [axis]}
        return net.emit("slice", {"input": x}, net.made(node), **settings)
    found = net.input(node, 1)
    if x.parameter is not None and axis == 0 and x.rank == 2:
        return net.emit("embedding", {"x": found, "weight": x}, net.made(node), padding_idx=-1, sparse=False)
    if found.rank != 1:
        raise FormError("Gather with an index of several axes")
    return net.emit("gather", {"x": x, "index": found}, net.made(node), axis=axis)


@converter("Shape")
def sizes(node: Node, net: Network) -> Value:
    """The sizes of a value."""
    x = net.input(node, 0)
    whole = net.emit("shape64", {"input": x}, (x.rank,))
    start, end = (int(node.attributes.get(name, default)) for name, default in (("start", 0), ("end", x.rank)))
    if (start, end) == (0, x.rank):
        return whole
    settings = {"axes": [0], "starts": [start], "ends": [end], "infer_flags": [1], "decrease_axis": []}
    return net.emit("slice", {"input": whole}, net.made(node), **settings)


@converter("Expand")
def expand(node: Node, net: Network) -> Value:
    """Axes of size 1 repeated."""
    x, shape, name = net.input(node, 0), net.made(node), node.inputs[1]
    before = (None,) * (len(shape) - x.rank) + (x.shape or ())
    literals = net.sizes.literals(name) if name in net.sizes.numbers else [None] * len(shape)
    wanted = [1] * (len(shape) - len(literals)) + literals
    # a size that is computed and 1 here may be another one for other images, as that of a batch
    sizes = [-1 if size == old and (size != 1 or new) else new for size, old, new in zip(shape, before, wanted)]
    if None not in sizes:
        return net.emit("expand", {"x": x}, shape, shape=[int(size or 0) for size in sizes])
    if len(literals) < len(shape):
        raise FormError("Expand to fewer axes, computed")
    computed = net.input(node, 1)
    if any(new == 1 and old not in (1, None) for old, new in zip(before, wanted)):  # an axis of any size stays as it is
        if x.rank < len(shape):
            raise FormError("Expand to more axes, computed")
        found = net.emit("shape64", {"input": x}, (x.rank,))
        computed = net.emit("maximum", {"x": computed, "y": found}, (x.rank,))
    return net.emit("expand", {"x": x, "shape": computed}, shape)


@converter("Tile")
def tile(node: Node, net: Network) -> Value:
    """All entries several times."""
    x, repeats = net.input(node, 0), net.array(node.inputs[1])
    if repeats is None:
        return net.emit("tile", {"x": x, "repeat_times": net.input(node, 1)}, net.made(node))
    return net.emit("tile", {"x": x}, net.made(node), repeat_times=[int(one) for one in repeats])


@converter("Pad")
def pad(node: Node, net: Network) -> Value:
    """A constant around."""
    x, mode = net.input(node, 0), node.attributes.get("mode", "constant")
    if mode != "constant":
        raise FormError(f"Pad with mode={mode}")
    pads, value = net.numbers(node, 1, "pads"), net.numbers(node, 2, "value", 0.0)
    if min(pads, default=0) < 0:
        raise FormError("Pad with pads below zero")
    axes = [int(axis) % x.rank for axis in net.numbers(node, 3, "axes") or range(x.rank)]
    found = [0] * (2 * x.rank)
    for axis, before, behind in zip(axes, pads, pads[len(axes) :]):
        found[2 * axis : 2 * axis + 2] = [int(before), int(behind)]
    value = value[0] if isinstance(value, list) else value
    return net.emit("pad", {"x": x}, net.made(node), paddings=found, pad_value=float(value))


@converter("DepthToSpace")
def to_space(node: Node, net: Network) -> Value:
    """Channels to space."""
    if node.attributes.get("mode", "DCR") != "CRD":
        raise FormError("DepthToSpace with mode=DCR")
    factor = int(node.attributes["blocksize"])
    return net.emit(
        "pixel_shuffle", {"x": net.input(node, 0)}, net.made(node), upscale_factor=factor, data_format="NCHW"
    )
