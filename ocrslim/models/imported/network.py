"""A trainable layer that runs the program of a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn.layer.conv import _ConvNd

from ocrslim.errors import GraphError
from ocrslim.graph import Imported, Op, Program, Value, as_it_was, without_softmax
from ocrslim.models.imported.layers import LayerOp, attribute_name, build_layer, find_layers, settings_of
from ocrslim.models.imported.operators import FUNCTIONS, require_runtime, run_alone
from ocrslim.models.imported.shapes import with_free_shapes
from ocrslim.tasks import Task
from ocrslim.utils import cause_of, postponed


@dataclass(frozen=True)
class _Step:
    """One operator, or a layer in the place of several.

    Attributes:
        op: the operator.
        layer: name of the layer that runs it; empty where a function does.
        makes: ids of each result; several for one that has several names.
        forgets: ids of values that nothing behind it reads.
    """

    op: Op
    layer: str
    makes: Sequence[Sequence[Any]]
    forgets: Sequence[Any] = ()


class ImportedNetwork(nn.Layer):
    """Runs the program of a file, with a layer of Paddle's for each convolution, linear layer and norm in it.

    The layers are attributes, called after the tensors in the file: of `conv2d_394.w_0` the state-dict key is
    `conv2d_394.weight`. Parameters that belong to no layer keep their name: `scale_3_w_0`. All train, but for the
    statistics of batch norms, which are used as they are, and lone numbers that scale or shift whole maps, whose
    gradients would drown all others; dropout stays off, as the file has it. A softmax at the end is left out in
    training mode, as PaddleOCR's heads leave it out: losses take the logits in front of it.

    Attributes:
        program: what it runs; the `parameter` of a value is a state-dict key. Sizes that the file leaves open are -1.
        file_names: state-dict key -> name of the tensor in the file.
    """

    def __init__(self, imported: Imported, task: Task | None = None):
        """
        Args:
            task: what the network is for; it gives the outputs their names.

        Raises:
            GraphError: an operator is not known here, or not in this form; or a tensor is of another precision.
        """
        super().__init__()
        self.task, self.training_only = task, ()
        self.file_names: dict[str, str] = {}
        self._keys: dict[str, str] = {}  # name in the file -> state-dict key
        self._names: dict[Any, str] = {}  # layers, by what tells them apart
        try:
            program = with_free_shapes(imported.program)
            layers = find_layers(program)
            _require_known(imported, program, layers)
            self._plan(program, layers, imported.arrays)
        except (KeyError, IndexError, TypeError, ValueError) as error:  # of operators that lack something
            raise GraphError(
                f"an operator of the network is not as Paddle makes it ({type(error).__name__}: {cause_of(error)}): "
                "export it again"
            ) from error
        del self._names

    def forward(self, x: Tensor) -> Any:
        """Images [N, C, H, W] -> the output that the file has, a tuple of several; or what the task makes of it."""
        found = self._run(x, outputs=self._logits if self.training else self.program.outputs)
        result = found[0] if len(found) == 1 else tuple(found)
        return result if self.task is None else self.task.of_exported(result, self.training)

    def program_at(self, shape: Sequence[int]) -> Program:
        """Return the program with all sizes known: those of a run on an image of `shape`; the network is as before.

        Raises:
            GraphError: the network does not take such an image.
        """
        self._require_fits(shape)
        shapes: dict[Any, tuple[int, ...]] = {}
        image = np.random.default_rng(0).standard_normal(shape).astype("float32")
        with postponed(), as_it_was(self, training=False), paddle.no_grad():
            try:
                self._run(paddle.to_tensor(image), shapes)
            except MemoryError:
                raise
            except Exception as error:  # whatever Paddle raises for shapes that do not go together
                raise GraphError(
                    f"the network cannot be run on an image of shape {list(shape)} ({cause_of(error)}): name a size "
                    "that it takes, such as a multiple of 32"
                ) from error
        return _with_shapes(self.program, shapes)

    def current_program(self) -> Program:
        """Return the program with the groups that its convolutions have now: a cut leaves fewer, which no weight shows.

        Sizes stay those of the file. Where a weight has others, what reads the program knows that it was cut.
        """
        return replace(self.program, ops=[self._with_groups(op) for op in self.program.ops])

    def file_state(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Return what writes the network back into its file (`ocrslim.formats.write_pruned`), cut or trained as it is.

        Returns:
            all arrays, and the number of groups of each convolution by its weight; by their names in the file.
        """
        state = self.state_dict()
        arrays = {name: state[key].numpy() for key, name in self.file_names.items()}
        groups = {
            self.file_names[key]: layer._groups
            for name, layer in self.named_sublayers()
            if isinstance(layer, _ConvNd) and (key := f"{name}.weight") in self.file_names
        }
        return arrays, groups

    @property
    def norms(self) -> tuple[int, int]:
        """The number of batch norms and that of convolutions: most of the former are folded into the latter."""
        layers = self.sublayers()
        kinds = ((nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D), _ConvNd)
        norms, convolutions = (sum(isinstance(layer, kind) for layer in layers) for kind in kinds)
        return norms, convolutions

    # -- setting up --------------------------------------------------------------------------------------------------

    def _plan(self, program: Program, layers: Mapping[int, LayerOp], arrays: Mapping[str, np.ndarray]) -> None:
        """Make the layers, parameters and steps."""
        absorbed = {place for layer in layers.values() for place in layer.absorbed}
        names = {place: self._add_layer(layer, arrays) for place, layer in layers.items()}
        for place, op in enumerate(program.ops):
            if place not in names and place not in absorbed:
                self._add_parameters(op, arrays)
        ops = [self._renamed(op, names.get(place)) for place, op in enumerate(program.ops)]
        self.program = replace(program, ops=ops)
        self._logits = without_softmax(self.program)
        steps = []
        for place, op in enumerate(ops):
            if place in layers:
                steps.append(_Step(op, names[place], [[value.id for value in layers[place].made]]))
            elif place not in absorbed:
                steps.append(_Step(op, "", [[value.id] for value in op.outputs]))
        self._steps = _forgetting(steps, [*program.outputs, *self._logits])

    def _add_layer(self, layer: LayerOp, arrays: Mapping[str, np.ndarray]) -> str:
        """Make the layer, unless it is there already; return its name."""
        settings = settings_of(layer)
        if settings in self._names:
            return self._names[settings]
        name = self._names[settings] = self._free_name(layer.name)
        made = build_layer(layer)
        self.add_sublayer(name, made)
        for attribute, value in layer.tensors.items():
            known = self._keys.get(value.parameter or "")
            if known is not None:  # shared with another layer
                setattr(made, attribute, self._tensor(known))
                continue
            getattr(made, attribute).set_value(_readable(arrays[value.parameter or ""]))
            self._remember(value.parameter or "", f"{name}.{attribute}")
        return name

    def _add_parameters(self, op: Op, arrays: Mapping[str, np.ndarray]) -> None:
        """Make the parameters that an operator reads and no layer has; integers are buffers."""
        for value in op.values():
            if value.parameter is None or value.parameter in self._keys:
                continue
            array, name = _readable(arrays[value.parameter]), self._free_name(attribute_name(value.parameter))
            if array.dtype.kind == "f":
                parameter = self.create_parameter(list(array.shape), dtype="float32")
                parameter.set_value(array)
                parameter.stop_gradient = array.size == 1
                self.add_parameter(name, parameter)
            else:
                self.register_buffer(name, paddle.to_tensor(array))
            self._remember(value.parameter, name)

    def _remember(self, name: str, key: str) -> None:
        self._keys[name] = key
        self.file_names[key] = name

    def _free_name(self, name: str) -> str:
        """Return `name`, with a number where a layer or an attribute of Paddle's has it."""
        number, free = 1, name
        while hasattr(self, free):
            number += 1
            free = f"{name}_{number}"
        return free

    def _renamed(self, op: Op, layer: str | None) -> Op:
        """Return the operator with parameters by their keys, and as a part of the layer of that name."""
        inputs = {argument: None if value is None else self._keyed(value) for argument, value in op.inputs.items()}
        return replace(op, inputs=inputs, layer=type(self._sub_layers[layer]).__name__ if layer else op.layer)

    def _with_groups(self, op: Op) -> Op:
        weight = op.inputs.get("filter")
        if "groups" not in op.attributes or weight is None or weight.parameter is None:
            return op
        layer = self._sub_layers.get(weight.parameter.rpartition(".")[0])
        groups = layer._groups if isinstance(layer, _ConvNd) else op.attributes["groups"]
        return replace(op, attributes={**op.attributes, "groups": groups})

    def _keyed(self, value: Value) -> Value:
        return value if value.parameter is None else replace(value, parameter=self._keys[value.parameter])

    # -- running -----------------------------------------------------------------------------------------------------

    @paddle.jit.not_to_static  # a trace takes the operators, and has nothing to translate
    def _run(
        self, x: Tensor, shapes: dict[Any, tuple[int, ...]] | None = None, outputs: Sequence[Value] = ()
    ) -> list[Tensor]:
        """Run the program and return `outputs`, by default its own.

        Args:
            shapes: takes the shape of each value, if it is given.
        """
        values: dict[Any, Any] = {self.program.inputs[0].id: x}
        if shapes is not None:
            shapes[self.program.inputs[0].id] = tuple(x.shape)
        for step in self._steps:
            for names, result in zip(step.makes, self._results(step, values)):
                values.update(dict.fromkeys(names, result))
                if shapes is not None and isinstance(result, Tensor):
                    shapes.update(dict.fromkeys(names, tuple(result.shape)))
            for name in step.forgets:
                values.pop(name, None)
        return [values[value.id] for value in outputs or self.program.outputs]

    def _results(self, step: _Step, values: Mapping[Any, Any]) -> Sequence[Any]:
        if step.layer:
            layer = self._sub_layers[step.layer]
            source = next(value for value in step.op.values() if value.parameter is None)
            return [layer(values[source.id])]
        given = {name: None if value is None else self._given(value, values) for name, value in step.op.inputs.items()}
        if step.op.alone is not None:
            return run_alone(step.op, step.op.alone, given, self.training)
        made = FUNCTIONS[step.op.name](step.op, given)
        return made if isinstance(made, list) else [made]

    def _given(self, value: Value, values: Mapping[Any, Any]) -> Any:
        return values[value.id] if value.parameter is None else self._tensor(value.parameter)

    def _tensor(self, key: str) -> Tensor:
        return reduce(getattr, key.split("."), self)

    def _require_fits(self, shape: Sequence[int]) -> None:
        fixed = self.program.inputs[0].shape or ()
        wrong = [axis for axis, (size, own) in enumerate(zip(shape, fixed)) if own > 0 and size != own]
        if len(shape) != len(fixed) or wrong:
            raise GraphError(
                f"an image of shape {list(shape)}: the file fixes its input to {list(fixed)} (-1: free): name a size "
                "that agrees with it"
            )


def _require_known(imported: Imported, program: Program, layers: Mapping[int, LayerOp]) -> None:
    """Refuse what cannot be run, before anything is."""
    if len(program.inputs) != 1:
        raise GraphError(
            f"the network has {len(program.inputs)} inputs ({', '.join(imported.input_names)}), expected one image"
        )
    alone = next((op for op in program.ops if op.alone is not None), None)
    if alone is not None:
        require_runtime(alone)
    for place, op in enumerate(program.ops):
        if op.alone is None and place not in layers and op.name not in FUNCTIONS:
            raise GraphError(
                f"operator {place + 1} of {len(program.ops)}, {op}, is not known to ocrslim, so the network cannot be "
                f"run; known are {', '.join(sorted(FUNCTIONS))}"
            )
    for name, array in imported.arrays.items():
        if array.dtype.kind == "f" and array.dtype != np.float32:
            raise GraphError(f"{name} is {array.dtype}, expected float32: prune the network before it is converted")


def _readable(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array)


def _forgetting(steps: Sequence[_Step], outputs: Sequence[Value]) -> list[_Step]:
    """Return the steps, each with the values that it is the last to read, or that nothing reads."""
    last: dict[Any, int] = {}
    for place, step in enumerate(steps):
        last.update((name, place) for names in step.makes for name in names)
        last.update((value.id, place) for value in step.op.values() if value.parameter is None)
    forgets: dict[int, list[Any]] = defaultdict(list)
    for name in last.keys() - {value.id for value in outputs}:
        forgets[last[name]].append(name)
    return [replace(step, forgets=tuple(forgets[place])) for place, step in enumerate(steps)]


def _with_shapes(program: Program, shapes: Mapping[Any, tuple[int, ...]]) -> Program:
    """Return the program with the shapes that a run has shown."""

    def known(value: Value) -> Value:
        return replace(value, shape=shapes[value.id]) if value.shape is not None and value.id in shapes else value

    ops = [
        replace(
            op,
            inputs={name: None if value is None else known(value) for name, value in op.inputs.items()},
            outputs=[known(value) for value in op.outputs],
        )
        for op in program.ops
    ]
    return Program(ops, [known(value) for value in program.inputs], [known(value) for value in program.outputs])
