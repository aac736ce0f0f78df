"""A traced program converted to steps of the intermediate representation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.formats import free_channels
from ocrslim.graph import Op, Value
from ocrslim.inference.compiler.folding import fold
from ocrslim.inference.compiler.ir import (
    ACTIVATIONS,
    ADD,
    AFFINE,
    CONCAT,
    CONSTANT,
    CONV,
    DECONV,
    MULTIPLY,
    STRETCHED,
    Id,
    Step,
)
from ocrslim.inference.compiler.passed import PASSED, data_type, passed
from ocrslim.inference.compiler.recurrent import recurrent
from ocrslim.inference.compiler.values import Values


def to_steps(
    ops: Iterable[Op], outputs: Sequence[Value], arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]
) -> list[Step]:
    """Return the steps of `ops`, folded.

    Args:
        ops: a part of a network as it infers, in order.
        outputs: values that must come out as they are.
        arrays: parameters and buffers by state-dict key.
        groups: groups of a convolution by its weight's key, where they differ from the traced ones.

    Raises:
        LoweringError: an operator, or a setting of it, that has no step.
    """
    converter = _Converter(arrays, groups)
    steps = [step for op in ops for step in converter.convert(op)]
    if any(converter.constant(value) is not None for value in outputs):
        raise LoweringError("an output that does not depend on the network's input is not known to the runtime")
    steps += converter.renamed(outputs)
    makes = [value.id for value in outputs]
    return fold(_needed(steps, makes), makes)


def _needed(steps: Sequence[Step], outputs: Iterable[Id]) -> list[Step]:
    """Return the steps that lead to `outputs`."""
    wanted = set(outputs)
    found = []
    for step in reversed(steps):
        if wanted & {step.output, *step.others}:
            found.append(step)
            wanted.update(step.inputs)
    return found[::-1]


class _Converter(Values):
    """Operators one by one."""

    def __init__(self, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]):
        super().__init__(arrays)
        self._groups = groups
        self._stacked: dict[Id, list[Id]] = {}  # what a list was stacked to -> its values
        self._zeros: set[Id] = set()  # values that are zeros, of a computed shape

    def convert(self, op: Op) -> list[Step]:
        """Return the steps of an operator; none where it only makes a constant, a list or another name."""
        met = {value.id: self.arrays.get(value.parameter) for value in op.values() if value.parameter is not None}
        self.parameters.update((key, array) for key, array in met.items() if array is not None)
        try:
            converter = _CONVERTERS.get(op.name)
            if converter is None and op.name not in PASSED:
                raise LoweringError(f"{op}: not known to the runtime")
            made = self.as_it_is(op) if converter is None else converter(self, op)
        except KeyError as error:
            raise LoweringError(f"{op}: not known to the runtime ({error})") from None
        steps = [made] if isinstance(made, Step) else made or []
        steps = [replace(step, inputs=tuple(self.names.get(i, i) for i in step.inputs)) for step in steps]
        return [new for step in steps for new in (*self.written_first(step), step)]

    def as_it_is(self, op: Op) -> Step:
        """Any operator of `PASSED`."""
        return passed(op, self.lists)

    def remember_zeros(self, op: Op) -> Step:
        """`full_with_tensor`: a constant of a computed shape."""
        if op.attributes["value"] == 0:
            self._zeros.add(op.outputs[0].id)
        return self.as_it_is(op)

    def skip(self, op: Op) -> None:
        """An input of the network."""

    def dropout(self, op: Op) -> Step | None:
        """In eval mode: nothing, or a factor."""
        if not op.attributes["is_test"]:
            raise LoweringError(f"{op}: in training mode is not known to the runtime")
        if op.attributes["mode"] == "upscale_in_train":
            self.rename(op)
            return None
        return _affine(op["x"], op, np.full(1, 1.0 - op.attributes["p"]), np.zeros(1))

    def split(self, op: Op) -> Step:
        """Return the parts of a value, by number or by sizes; equal ones stay equal when they are pruned."""
        source, target = next(op.values()), op.outputs[0].id
        sections = op.ints("sections", [])
        axis = op.axis(source, 0)
        number = int(op.attributes.get("num", 0)) or len(sections) or (source.shape or ())[axis]
        settings: dict[str, Any] = {"axis": axis}
        kind = op.name
        if kind != "unbind":
            kind, equal = "split", len(set(sections)) < 2
            settings["num" if equal else "sections"] = number if equal else sections
        parts = self.lists[target] = [f"{target}.{place}" for place in range(number)]
        results = ("Out",) * number
        return Step(kind, (source.id,), parts[0], settings, slots=("X",), results=results, others=tuple(parts[1:]))

    def recur(self, op: Op) -> list[Step]:
        """Return a recurrent layer, from zeros on or from given states."""
        first, weights = op.inputs.get("pre_state"), self.lists[op["weight_list"].id]
        states = [] if first is None else self.lists[first.id]
        for place in weights:
            if place not in self.parameters:
                raise LoweringError(f"{op}: computed weights are not known to the runtime")
        steps = recurrent(op, [] if self._zeros.issuperset(states) else states, weights, self.parameters)
        lists = [one for one in op.outputs if one.shape is None]
        places = [place for place, slot in enumerate(steps[-1].results) if slot == "State"]
        self.lists.update((one.id, [steps[-1].others[place - 1] for place in places]) for one in lists)
        return steps

    def cast(self, op: Op) -> Step:
        settings = {"in_dtype": data_type(op), "out_dtype": data_type(op)}
        return Step("cast", (op["x"].id,), op.outputs[0].id, settings, slots=("X",))

    def reshape(self, op: Op) -> Step | list[Step] | None:
        """Return another shape of the same numbers; of a constant, a constant."""
        constant = self.constant(op["x"])
        if constant is not None:
            self.reshape_constant(op, constant)
            return None
        source, target = op["x"], op.outputs[0].id
        if "shape" in op.attributes:
            sizes = free_channels(source.shape or (), op.ints("shape"))
            return _reshaped(source.id, target, {"shape": sizes})
        shape = self.names.get(op["shape"].id, op["shape"].id)
        parts = self._stacked.get(shape)
        if parts is None:
            return _reshaped(source.id, target, {}, shape)
        numbers = [self.constants.get(part) for part in parts]
        sizes = free_channels(source.shape or (), [None if n is None else int(n) for n in numbers])
        steps = []
        for place, size in enumerate(sizes):
            if size is not None:
                parts[place] = f"{target}.{place}"
                steps.append(Step(CONSTANT, (), parts[place], {"value": np.array(size)}))
        stack = Step("stack", tuple(parts), f"{target}.shape", {"axis": 0}, slots=("X",) * len(parts), results=("Y",))
        return [*steps, stack, _reshaped(source.id, target, {}, stack.output)]

    def stack(self, op: Op) -> Step:
        """Return values as one, along a new axis: mostly the sizes of a shape."""
        self._stacked[op.outputs[0].id] = list(self.lists[op["x"].id])
        return self.as_it_is(op)

    def convolution(self, op: Op) -> Step:
        transposed = op.name.endswith("transpose")
        _expect(op, data_format="NCHW", **({"padding_algorithm": "EXPLICIT"} if transposed else {}))
        key = op["filter"].parameter
        if key is None or op.attributes.get("output_size") or (transposed and len(op.ints("paddings")) != 2):
            raise LoweringError(
                f"{op}: a computed weight, an output size or uneven padding is not known to the runtime"
            )
        settings: dict[str, Any] = {name: op.ints(name) for name in ("strides", "paddings", "dilations")}
        settings["groups"] = self._groups.get(key, op.ints("groups")[0])
        if op.attributes.get("padding_algorithm", "EXPLICIT") != "EXPLICIT":
            settings["padding_algorithm"] = str(op.attributes["padding_algorithm"])
        if transposed:
            settings["output_padding"] = op.ints("output_padding", [])
        source = op["x" if transposed else "input"].id
        weight = self.arrays[key].astype(np.float64)
        return Step(DECONV if transposed else CONV, (source,), op.outputs[0].id, settings, weight)

    def batch_norm(self, op: Op) -> Step | list[Step]:
        gamma, beta, mean, variance = (self.constant(op[name]) for name in ("scale", "bias", "mean", "variance"))
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

    def arithmetic(self, op: Op) -> Step:
        """Return a sum or product; with a constant of one entry or one a channel, a part of what comes before."""
        x, y, target = op["x"], op["y"], op.outputs[0]
        for value, other in ((x, y), (y, x)):
            constant = self.constant(other)
            vector = None if constant is None else _channel_vector(constant, value, target)
            if vector is not None and not (op.name == "divide" and other is x):
                return _affine(value, op, *_scale_and_shift(op.name, vector, other is x))
        kind = {"add": ADD, "multiply": MULTIPLY}.get(op.name)
        computed = self.constant(x) is None and self.constant(y) is None
        if kind is None or not computed or x.rank != 4 or y.rank != 4 or target.shape not in (x.shape, y.shape):
            return self.as_it_is(op)
        axis = -1 if x.shape == y.shape else STRETCHED
        return Step(kind, (x.id, y.id), target.id, {"axis": axis})

    def scale(self, op: Op) -> Step:
        factor, shift = np.full(1, op.attributes["scale"], np.float64), np.full(1, op.attributes["bias"], np.float64)
        return _affine(op["x"], op, factor, shift if op.attributes["bias_after_scale"] else shift * factor)

    def activation(self, op: Op) -> Step:
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

    def concat(self, op: Op) -> Step:
        inputs, target = tuple(self.lists[op["x"].id]), op.outputs[0]
        slots = () if target.rank == 4 else ("X",) * len(inputs)
        return Step(CONCAT, inputs, target.id, {"axis": op.axis(target)}, slots=slots)

    def interpolation(self, op: Op) -> Step:
        _expect(op, data_format="NCHW")
        scale = [float(factor) for factor in op.attributes["scale"]]
        if any(op.inputs.get(name) for name in ("out_size", "size_tensor", "scale_tensor")) or not scale:
            return self.as_it_is(op)
        names = ("interp_method", "align_corners", "align_mode")
        settings = {name: op.attributes[name] for name in names}
        free = {"data_layout": "NCHW", "out_d": -1, "out_h": -1, "out_w": -1}
        return Step(f"{op.name}_v2", (op["x"].id,), op.outputs[0].id, {**settings, **free, "scale": scale})

    def pool(self, op: Op) -> Step:
        _expect(op, data_format="NCHW")
        names = ("pooling_type", "strides", "paddings", "ceil_mode", "exclusive", "adaptive", "global_pooling")
        settings = {name: op.attributes[name] for name in (*names, "padding_algorithm", "data_format")}
        return Step("pool2d", (op["x"].id,), op.outputs[0].id, {**settings, "ksize": op.ints("kernel_size")})


_CONVERTERS: dict[str, Callable[[_Converter, Op], Step | list[Step] | None]] = {
    "data": _Converter.skip,
    "full": _Converter.remember,
    "full_int_array": _Converter.remember_list,
    "assign_value": _Converter.remember_values,
    "full_with_tensor": _Converter.remember_zeros,
    "combine": _Converter.gather,
    "builtin_split": _Converter.take_apart,
    "builtin_slice": _Converter.take_apart,
    "split": _Converter.split,
    "split_with_num": _Converter.split,
    "unbind": _Converter.split,
    "assign": _Converter.rename,
    "share_data": _Converter.rename,
    "dropout": _Converter.dropout,
    "cast": _Converter.cast,
    "reshape": _Converter.reshape,
    "stack": _Converter.stack,
    "rnn": _Converter.recur,
    **dict.fromkeys(("conv2d", "depthwise_conv2d"), _Converter.convolution),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), _Converter.convolution),
    "batch_norm": _Converter.batch_norm,
    **dict.fromkeys(("add", "subtract", "multiply", "divide"), _Converter.arithmetic),
    "scale": _Converter.scale,
    "concat": _Converter.concat,
    "nearest_interp": _Converter.interpolation,
    "bilinear_interp": _Converter.interpolation,
    "pool2d": _Converter.pool,
    **dict.fromkeys(ACTIVATIONS, _Converter.activation),
}


def _reshaped(source: Id, target: Id, settings: Mapping[str, Any], shape: Id | None = None) -> Step:
    inputs, slots = ((source,), ("X",)) if shape is None else ((source, shape), ("X", "Shape"))
    others = (f"{target}.XShape",)
    return Step("reshape2", inputs, target, settings, slots=slots, results=("Out", "XShape"), others=others)


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
