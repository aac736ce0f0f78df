"""Operators that compute, as steps that algebra and folding look into: convolutions, norms, activations, arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Op, Value
from ocrslim.inference.compiler.conversion.passed import passed
from ocrslim.inference.compiler.conversion.values import Values
from ocrslim.inference.compiler.ir import ACTIVATIONS, ADD, AFFINE, CONSTANT, CONV, DECONV, MULTIPLY, STRETCHED, Step


def convolution(values: Values, op: Op) -> Step:
    """Return a convolution, transposed or not, with the weight as it is now and as many groups as are left."""
    transposed = op.name.endswith("transpose")
    _expect(op, data_format="NCHW", **({"padding_algorithm": "EXPLICIT"} if transposed else {}))
    key = op["filter"].parameter
    if key is None or op.attributes.get("output_size") or (transposed and len(op.ints("paddings")) != 2):
        raise LoweringError(f"{op}: a computed weight, an output size or uneven padding is not known to the runtime")
    settings: dict[str, Any] = {name: op.ints(name) for name in ("strides", "paddings", "dilations")}
    settings["groups"] = values.groups.get(key, op.ints("groups")[0])
    if op.attributes.get("padding_algorithm", "EXPLICIT") != "EXPLICIT":
        settings["padding_algorithm"] = str(op.attributes["padding_algorithm"])
    if transposed:
        settings["output_padding"] = op.ints("output_padding", [])
    source = op["x" if transposed else "input"].id
    weight = values.arrays[key].astype(np.float64)
    return Step(DECONV if transposed else CONV, (source,), op.outputs[0].id, settings, weight, name=key)


def batch_norm(values: Values, op: Op) -> Step | list[Step]:
    """Return a norm with its own statistics as one affine map; of other than maps, as a product and a sum."""
    gamma, beta, mean, variance = (values.constant(op[name]) for name in ("scale", "bias", "mean", "variance"))
    if gamma is None or beta is None or mean is None or variance is None or not op.attributes["is_test"]:
        raise LoweringError(f"{op}: with computed parameters, or in training mode")
    if op.attributes.get("trainable_statistics"):
        raise LoweringError(f"{op}: with the statistics of the batch it runs on is not known to the runtime")
    _expect(op, data_format="NCHW")
    scale = gamma / np.sqrt(variance + op.attributes["epsilon"])
    shift, source, target = beta - mean * scale, op["x"], op.outputs[0].id
    if source.rank == 4:
        return _affine(source, op, scale, shift)
    shape = (-1, *(1,) * (source.rank - 2))
    factor, product, summand = (f"{target}.{name}" for name in ("factor", "product", "summand"))
    return [
        Step(CONSTANT, (), factor, {"value": scale.reshape(shape)}),
        Step(MULTIPLY, (source.id, factor), product, {"axis": -1}, slots=("X", "Y")),
        Step(CONSTANT, (), summand, {"value": shift.reshape(shape)}),
        Step(ADD, (product, summand), target, {"axis": -1}, slots=("X", "Y")),
    ]


def arithmetic(values: Values, op: Op) -> Step:
    """Return a sum or product; with a constant of one entry or one a channel, a part of what comes before."""
    x, y, target = op["x"], op["y"], op.outputs[0]
    for value, other in ((x, y), (y, x)):
        constant = values.constant(other)
        vector = None if constant is None else _channel_vector(constant, value, target)
        if vector is not None and not (op.name == "divide" and other is x):
            return _affine(value, op, *_scale_and_shift(op.name, vector, other is x))
    kind = {"add": ADD, "multiply": MULTIPLY}.get(op.name)
    computed = values.constant(x) is None and values.constant(y) is None
    if kind is None or not computed or x.rank != 4 or y.rank != 4 or target.shape not in (x.shape, y.shape):
        return passed(op, values.lists)
    axis = -1 if x.shape == y.shape else STRETCHED
    return Step(kind, (x.id, y.id), target.id, {"axis": axis})


def scale(values: Values, op: Op) -> Step:
    """Return a factor and a summand for all entries."""
    factor, shift = np.full(1, op.attributes["scale"], np.float64), np.full(1, op.attributes["bias"], np.float64)
    return _affine(op["x"], op, factor, shift if op.attributes["bias_after_scale"] else shift * factor)


def activation(values: Values, op: Op) -> Step:
    """Return an activation, with the parameters that the program format wants."""
    attributes: dict[str, float] = {}
    if op.name == "hardswish":
        attributes = {"threshold": 6.0, "scale": 6.0, "offset": 3.0}
    elif op.name == "hardsigmoid":
        attributes = {name: float(op.attributes[name]) for name in ("slope", "offset")}
    elif op.name == "leaky_relu":
        attributes = {"alpha": float(op.attributes["negative_slope"])}
    elif op.name in ("swish", "silu"):
        attributes = {"beta": 1.0}
    elif op.name == "relu6":
        attributes = {"threshold": 6.0}
    elif op.name == "gelu":
        attributes = {"approximate": bool(op.attributes["approximate"])}
    elif op.name == "mish":
        attributes = {"threshold": float(op.attributes["lambda"])}
    return Step(ACTIVATIONS[op.name], (op["x"].id,), op.outputs[0].id, attributes)


def interpolation(values: Values, op: Op) -> Step:
    """Return an upsampling; by a factor, it leaves the size of its input free."""
    _expect(op, data_format="NCHW")
    scale = [float(factor) for factor in op.attributes["scale"]]
    if any(op.inputs.get(name) for name in ("out_size", "size_tensor", "scale_tensor")) or not scale:
        return passed(op, values.lists)
    names = ("interp_method", "align_corners", "align_mode")
    settings = {name: op.attributes[name] for name in names}
    free = {"data_layout": "NCHW", "out_d": -1, "out_h": -1, "out_w": -1}
    return Step(f"{op.name}_v2", (op["x"].id,), op.outputs[0].id, {**settings, **free, "scale": scale})


def pool(values: Values, op: Op) -> Step:
    """Return a pooling by windows, or of the whole map."""
    _expect(op, data_format="NCHW")
    names = ("pooling_type", "strides", "paddings", "ceil_mode", "exclusive", "adaptive", "global_pooling")
    settings = {name: op.attributes[name] for name in (*names, "padding_algorithm", "data_format")}
    return Step("pool2d", (op["x"].id,), op.outputs[0].id, {**settings, "ksize": op.ints("kernel_size")})


def dropout(values: Values, op: Op) -> Step | None:
    """Return what a dropout is in eval mode: nothing, or a factor."""
    if not op.attributes["is_test"]:
        raise LoweringError(f"{op}: in training mode is not known to the runtime")
    if op.attributes["mode"] == "upscale_in_train":
        values.rename(op)
        return None
    return _affine(op["x"], op, np.full(1, 1.0 - op.attributes["p"]), np.zeros(1))


def _affine(source: Value, op: Op, scale: np.ndarray, shift: np.ndarray) -> Step:
    return Step(AFFINE, (source.id,), op.outputs[0].id, {"scale": scale, "shift": shift})


def _scale_and_shift(name: str, vector: np.ndarray, reversed_: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the shift of a sum, product, difference or quotient with a constant.

    Args:
        reversed_: whether the constant comes first.
    """
    one, zero = np.ones(1), np.zeros(1)
    if name == "multiply":
        return vector, zero
    if name == "divide":
        return 1 / vector, zero
    if name == "add":
        return one, vector
    return (-one, vector) if reversed_ else (one, -vector)


def _channel_vector(constant: np.ndarray, value: Value, result: Value) -> np.ndarray | None:
    """Return a constant operand as one entry, or as one for each channel on axis 1; None where it is neither."""
    if constant.ndim > value.rank or result.shape != value.shape or value.rank < 2:
        return None  # what has fewer axes are mostly shapes, which are integers
    aligned = constant.reshape((1,) * (value.rank - constant.ndim) + constant.shape)
    fits = constant.size == 1 or (value.rank == 4 and aligned.size == aligned.shape[1])
    return constant.reshape(-1).astype(np.float64) if fits else None


def _expect(op: Op, **settings: str) -> None:
    for name, value in settings.items():
        if op.attributes.get(name, value) != value:
            raise LoweringError(f"{op}: {name} {op.attributes[name]} is not known to the runtime, only {value}")
