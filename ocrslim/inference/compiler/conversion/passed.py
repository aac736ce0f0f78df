"""Operators that go into the program as they are, in one table: their names and arguments in Paddle's program format.

Nothing is folded into them and no algebra looks at them. Their constants become parameters of the program; shapes are
computed where the network computes them, as 32-bit integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocrslim.errors import LoweringError
from ocrslim.graph import Op, Value
from ocrslim.inference.compiler.ir import Id, Step

_TRANSFORMED = ("Out", "XShape")
_NORMALISED = ("Y", "Mean", "Variance")
_GROUPED = {"epsilon": "epsilon", "groups": "groups", "data_format": "data_layout"}
_FLOATS = {"float32", "float64", "undefined"}  # all computed in single precision
_INTEGERS = {"int32", "int64", "bool"}  # of shapes and indices
_DATA_TYPES = {**dict.fromkeys(_FLOATS, 5), **dict.fromkeys(_INTEGERS, 2)}  # framework.proto: VarType.Type


@dataclass(frozen=True)
class Passed:
    """An operator in the program format.

    Attributes:
        kind: its name.
        inputs: traced argument -> argument; an argument that was left out is left out.
        attributes: traced attribute -> attribute; one that is not there keeps its default.
        results: arguments of the outputs, the first ones of which the trace has.
    """

    kind: str
    inputs: Mapping[str, str] = field(default_factory=lambda: {"x": "X"})
    attributes: Mapping[str, str] = field(default_factory=dict)
    results: tuple[str, ...] = ("Out",)


_TWO = {"x": "X", "y": "Y"}
_REDUCED = {"axis": "dim", "keepdim": "keep_dim"}
_SIZES = {name: name for name in ("out_d", "out_h", "out_w", "scale", "interp_method", "align_corners", "align_mode")}
_RESIZED = {"x": "X", "out_size": "OutSize", "size_tensor": "SizeTensor", "scale_tensor": "Scale"}
_NORM = {"x": "X", "scale": "Scale", "bias": "Bias"}
_WINDOW = {name: name for name in ("strides", "paddings", "global_pooling", "adaptive", "ceil_mode")}
_OFFSET = {"x": "Input", "offset": "Offset", "filter": "Filter", "mask": "Mask"}
_OFFSET_SETTINGS = ("strides", "paddings", "dilations", "deformable_groups", "groups", "im2col_step")
_PADDED = {"paddings": "paddings", "mode": "mode", "pad_value": "value", "data_format": "data_format"}
_SLICED = ("axes", "starts", "ends", "infer_flags", "decrease_axis")


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


PASSED: Mapping[str, Passed] = {
    # matrices and sequences
    "matmul": Passed("matmul_v2", _TWO, {"transpose_x": "trans_x", "transpose_y": "trans_y"}),
    "bmm": Passed("bmm", _TWO),
    "softmax": Passed("softmax", attributes=_same("axis")),
    "log_softmax": Passed("log_softmax", attributes=_same("axis")),
    "layer_norm": Passed("layer_norm", _NORM, _same("epsilon", "begin_norm_axis"), _NORMALISED),
    "group_norm": Passed("group_norm", _NORM, _GROUPED, _NORMALISED),
    "instance_norm": Passed("instance_norm", _NORM, _same("epsilon"), ("Y", "SavedMean", "SavedVariance")),
    "embedding": Passed("lookup_table_v2", {"x": "Ids", "weight": "W"}, _same("padding_idx")),
    # shapes
    "transpose": Passed("transpose2", attributes={"perm": "axis"}, results=_TRANSFORMED),
    "squeeze": Passed("squeeze2", attributes={"axis": "axes"}, results=_TRANSFORMED),
    "unsqueeze": Passed("unsqueeze2", attributes={"axis": "axes"}, results=_TRANSFORMED),
    "flatten": Passed("flatten_contiguous_range", attributes=_same("start_axis", "stop_axis"), results=_TRANSFORMED),
    "slice": Passed("slice", {"input": "Input"}, _same(*_SLICED)),
    "shape": Passed("shape", {"input": "Input"}),
    "shape64": Passed("shape", {"input": "Input"}),
    "stack": Passed("stack", attributes=_same("axis"), results=("Y",)),
    "tile": Passed("tile", attributes=_same("repeat_times")),
    "expand": Passed("expand_v2", {"x": "X", "shape": "Shape"}, _same("shape")),
    "expand_as": Passed("expand_as_v2", _TWO, _same("target_shape")),
    "gather": Passed("gather", {"x": "X", "index": "Index"}, _same("axis")),
    "full_with_tensor": Passed("fill_constant", {"shape": "ShapeTensor"}, _same("value")),
    "full_batch_size_like": Passed(
        "fill_constant_batch_size_like", {"input": "Input"}, _same("shape", "value", "input_dim_idx", "output_dim_idx")
    ),
    "pad": Passed("pad", attributes=_same("paddings", "pad_value")),
    "pad3d": Passed("pad3d", attributes=_PADDED),
    # maps
    "nearest_interp": Passed("nearest_interp_v2", _RESIZED, _SIZES),
    "bilinear_interp": Passed("bilinear_interp_v2", _RESIZED, _SIZES),
    "bicubic_interp": Passed("bicubic_interp_v2", _RESIZED, _SIZES),
    "max_pool2d_with_index": Passed(
        "max_pool2d_with_index", attributes={"kernel_size": "ksize", **_WINDOW}, results=("Out", "Mask")
    ),
    "grid_sample": Passed(
        "grid_sampler", {"x": "X", "grid": "Grid"}, _same("mode", "padding_mode", "align_corners"), ("Output",)
    ),
    "pixel_shuffle": Passed("pixel_shuffle", attributes=_same("upscale_factor", "data_format")),
    "deformable_conv": Passed("deformable_conv", _OFFSET, _same(*_OFFSET_SETTINGS), ("Output",)),
    "prelu": Passed("prelu", {"x": "X", "alpha": "Alpha"}, _same("data_format", "mode")),
    # along axes
    "mean": Passed("reduce_mean", attributes=_REDUCED),
    "sum": Passed("reduce_sum", attributes=_REDUCED),
    "max": Passed("reduce_max", attributes=_REDUCED),
    "min": Passed("reduce_min", attributes=_REDUCED),
    "prod": Passed("reduce_prod", attributes={"dims": "dim", "keep_dim": "keep_dim", "keepdim": "keep_dim"}),
    # of each entry
    "add": Passed("elementwise_add", _TWO),
    "subtract": Passed("elementwise_sub", _TWO),
    "multiply": Passed("elementwise_mul", _TWO),
    "divide": Passed("elementwise_div", _TWO),
    "maximum": Passed("elementwise_max", _TWO),
    "minimum": Passed("elementwise_min", _TWO),
    "elementwise_pow": Passed("elementwise_pow", _TWO),
    "floor_divide": Passed("elementwise_floordiv", _TWO),
    "remainder": Passed("elementwise_mod", _TWO),
    "pow": Passed("pow", attributes={"y": "factor"}),
    "clip": Passed("clip", attributes=_same("min", "max")),
    "softplus": Passed("softplus", attributes=_same("beta", "threshold")),
    "elu": Passed("elu", attributes=_same("alpha")),
    **{
        name: Passed(name)
        for name in ("sqrt", "rsqrt", "exp", "log", "abs", "square", "floor", "ceil", "sin", "cos", "reciprocal", "erf")
    },
}


def passed(op: Op, lists: Mapping[Id, list[Id]]) -> Step:
    """Return an operator of `PASSED` as a step.

    Args:
        lists: values of each list.

    Raises:
        LoweringError: a number that the program format takes as an attribute is computed.
    """
    entry = PASSED[op.name]
    slots: list[str] = []
    inputs: list[Id] = []
    for argument, slot in entry.inputs.items():
        value = op.inputs.get(argument)
        if argument in entry.attributes and argument in op.attributes:  # a constant that the format has as an attribute
            continue
        for one in () if value is None else lists.get(value.id, [value.id]):
            slots.append(slot)
            inputs.append(one)
    settings = {new: op.attributes[old] for old, new in entry.attributes.items() if old in op.attributes}
    _refuse_computed(op, entry)
    return Step(
        entry.kind,
        tuple(inputs),
        op.outputs[0].id,
        {**settings, **_own(op, entry)},
        slots=tuple(slots),
        results=entry.results,
        others=tuple(f"{op.outputs[0].id}.{name}" for name in entry.results[1:]),
    )


def data_type(op: Op) -> int:
    """Return the type that an operator makes, as a number of the program format.

    Raises:
        LoweringError: neither floating-point numbers nor integers.
    """
    name = str(op.attributes.get("dtype", "float32"))
    if name not in _DATA_TYPES:
        raise LoweringError(f"{op}: numbers of type {name} are not known to the runtime")
    return _DATA_TYPES[name]


def whole(op: Op) -> bool:
    """Tell whether an operator makes integers."""
    return str(op.attributes.get("dtype")) in _INTEGERS


def _own(op: Op, entry: Passed) -> dict[str, Any]:
    """Return what the program format wants beside what the trace has."""
    if entry.kind.startswith("elementwise_"):
        return {"axis": -1}  # shapes are aligned at their ends
    if entry.kind.startswith("reduce_"):
        axes = op.ints("axis", op.attributes.get("dims", []))
        return {"dim": axes or [0], "reduce_all": not axes}
    if entry.kind.startswith("fill_constant"):
        return {"dtype": data_type(op), "value": float(op.attributes["value"])}
    if entry.kind.endswith("_interp_v2"):
        return {"data_layout": str(op.attributes.get("data_format", "NCHW"))}
    return {}


def _refuse_computed(op: Op, entry: Passed) -> None:
    """Refuse an operator with a computed argument that the program format has no place for."""
    for argument, value in op.inputs.items():
        known = argument in entry.inputs or argument in op.attributes
        if isinstance(value, Value) and not known:
            raise LoweringError(f"{op}: a computed {argument} is not known to the runtime")
