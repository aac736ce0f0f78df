"""A traced program converted to steps of the intermediate representation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Op, Value
from ocrslim.inference.compiler.conversion import layers, shapes
from ocrslim.inference.compiler.conversion.passed import PASSED, passed
from ocrslim.inference.compiler.conversion.recurrent import recurrent
from ocrslim.inference.compiler.conversion.values import Values
from ocrslim.inference.compiler.folding import fold
from ocrslim.inference.compiler.ir import ACTIVATIONS, Id, Step

_CONVERTERS: dict[str, Callable[[Values, Op], Step | list[Step] | None]] = {
    "data": Values.skip,
    "full": Values.remember,
    "full_int_array": Values.remember_list,
    "assign_value": Values.remember_values,
    "full_with_tensor": Values.remember_zeros,
    "combine": Values.gather,
    "builtin_split": Values.take_apart,
    "builtin_slice": Values.take_apart,
    "split": shapes.split,
    "split_with_num": shapes.split,
    "unbind": shapes.split,
    "assign": Values.rename,
    "share_data": Values.rename,
    "dropout": layers.dropout,
    "cast": shapes.cast,
    "reshape": shapes.reshape,
    "stack": shapes.stack,
    "rnn": recurrent,
    **dict.fromkeys(("conv2d", "depthwise_conv2d"), layers.convolution),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), layers.convolution),
    "batch_norm": layers.batch_norm,
    **dict.fromkeys(("add", "subtract", "multiply", "divide"), layers.arithmetic),
    "scale": layers.scale,
    "concat": shapes.concat,
    "nearest_interp": layers.interpolation,
    "bilinear_interp": layers.interpolation,
    "pool2d": layers.pool,
    **dict.fromkeys(ACTIVATIONS, layers.activation),
}


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
    return to_named_steps(ops, outputs, arrays, groups)[0]


def to_named_steps(
    ops: Iterable[Op], outputs: Sequence[Value], arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]
) -> tuple[list[Step], Mapping[Id, Id]]:
    """Return what `to_steps` does, and the values of `ops` that have another name in the steps, with that name."""
    values = Values(arrays, groups)
    steps = [step for op in ops for step in _convert(values, op)]
    if any(values.constant(value) is not None for value in outputs):
        raise LoweringError("an output that does not depend on the network's input is not known to the runtime")
    steps += values.renamed(outputs)
    makes = [value.id for value in outputs]
    return fold(_needed(steps, makes), makes), values.names


def _convert(values: Values, op: Op) -> list[Step]:
    """Return the steps of an operator; none where it only makes a constant, a list or another name."""
    values.note_parameters(op)
    try:
        converter = _CONVERTERS.get(op.name)
        if converter is None and op.name not in PASSED:
            raise LoweringError(f"{op}: not known to the runtime")
        made = passed(op, values.lists) if converter is None else converter(values, op)
    except KeyError as error:
        raise LoweringError(f"{op}: not known to the runtime ({error})") from None
    steps = [made] if isinstance(made, Step) else made or []
    steps = [replace(step, inputs=tuple(values.names.get(i, i) for i in step.inputs)) for step in steps]
    return [new for step in steps for new in (*values.written_first(step), step)]


def _needed(steps: Sequence[Step], outputs: Iterable[Id]) -> list[Step]:
    """Return the steps that lead to `outputs`."""
    wanted = set(outputs)
    found = []
    for step in reversed(steps):
        if wanted & {step.output, *step.others}:
            found.append(step)
            wanted.update(step.inputs)
    return found[::-1]
