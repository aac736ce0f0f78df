"""The channel graph of a network as Paddle traces it.

The network is traced as it infers and as it trains, so that branches which only training runs follow their
source. Nothing is computed: Paddle infers the shapes.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import paddle
from paddle import nn

from ocrslim.errors import GraphError
from ocrslim.graph.builder import build_graph
from ocrslim.graph.frontends.foreign import foreign_code
from ocrslim.graph.frontends.pir_reader import PirReader
from ocrslim.graph.frontends.training import AsTrained, Shape, TrainingForward
from ocrslim.graph.frontends.translation import translated_once
from ocrslim.graph.groups import ChannelGraph
from ocrslim.graph.program import Program
from ocrslim.utils import postponed

logger = logging.getLogger(__name__)

_WITH_WEIGHT = (
    *(nn.Conv1D, nn.Conv2D, nn.Conv3D, nn.Linear),
    *(nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose),
)


def trace(model: nn.Layer, *input_shapes: Shape, training: TrainingForward | None = None) -> ChannelGraph:
    """Return the channel graph of `model`, an unpruned network; its mode and weights are left as they are.

    Where the network cannot be traced as it trains, the graph is that of its inference, and `training_fault` has the
    cause.

    Args:
        input_shapes: shape of each input with its batch, such as [1, 3, 736, 1280], in the order in which the
            network takes them; they are of the type of its parameters. Costs are counted at these.
        training: how a training step runs it; by default with the same inputs as for inference, and nothing else.

    Raises:
        GraphError: Paddle cannot trace the network with such inputs.
    """
    _check_shapes(input_shapes)
    inference = traced(model, input_shapes, training=False)
    fault, trained = "", None
    try:
        trained = traced(model, input_shapes, training=True, forward=training)
    except GraphError as error:
        fault = str(error)
    graph = build_graph(inference, trained, layer_weights(model), trainable_shapes(model))
    return replace(graph, training_fault=fault)


def graph_of_program(model: nn.Layer, program: Program) -> ChannelGraph:
    """Return the channel graph of `model`, which runs `program` as it is, in inference and in training.

    Args:
        program: its parameters are state-dict keys of the model; all sizes are known, and costs are counted at these.
    """
    return build_graph(program, None, layer_weights(model), trainable_shapes(model))


def traced(
    model: nn.Layer, input_shapes: Sequence[Shape], training: bool, forward: TrainingForward | None = None
) -> Program:
    """Return the program of `model` in one of its modes; a signal is put off until it is there.

    Args:
        forward: what runs the network, on inputs of its own shapes instead; by default it is called.

    Raises:
        GraphError: Paddle cannot trace it.
        MemoryError: memory does not suffice, which says nothing of the network.
    """
    shapes = input_shapes if forward is None else forward.shapes
    dtype = floating_type(model)
    specs: list[Any] = [paddle.static.InputSpec(list(shape), dtype, f"x{i}") for i, shape in enumerate(shapes)]
    refusal = functools.partial(_refusal, model, shapes, forward)
    with postponed(), as_it_was(model, training), paddle.pir_utils.DygraphPirGuard(), foreign_code(refusal):
        root, given = (model, specs) if forward is None else (AsTrained(model, forward), [specs])
        with translated_once():
            concrete = paddle.jit.to_static(root, input_spec=given, full_graph=True).forward.concrete_program
    keys = {tensor.name: key for key, tensor in (*model.named_buffers(), *model.named_parameters())}
    reader = PirReader(keys, depth=0 if forward is None else 1)
    outputs = [value for value in paddle.utils.flatten(concrete.outputs) if isinstance(value, paddle.pir.Value)]
    inputs = [value for value in paddle.utils.flatten(concrete.inputs) if isinstance(value, paddle.pir.Value)]
    ops = list(reader.ops(concrete.main_program.global_block()))
    return Program(ops, [reader.value(v) for v in inputs], [reader.value(v) for v in outputs])


def _refusal(model: nn.Layer, shapes: Sequence[Shape], forward: TrainingForward | None, cause: str) -> str:
    """Explain that a network cannot be traced, and what it takes."""
    name = type(model).__name__
    if forward is not None:
        return (
            f"{name}: cannot be traced as it trains, with {described(shapes)} and {len(forward.labels)} labels "
            f"({cause}): expected labels of the shapes and types that its training step gives it, and code in a file "
            "that does not read values"
        )
    return (
        f"{name}: cannot be traced with {described(shapes)} ({cause}): expected the shapes that forward(self, ...) "
        "takes, tensors one by one and in order, and code in a file that does not read values; wrap the network in a "
        "layer whose forward calls it this way"
    )


@contextlib.contextmanager
def as_it_was(model: nn.Layer, training: bool) -> Iterator[None]:
    """`model` in training or eval mode inside the block; after it, every layer with the attributes it had.

    A forward pass may keep tensors on its layer, and a trace would leave its own there; `to_static` leaves a
    `forward`. What the tensors hold is not looked at.
    """
    layers = model.sublayers(include_self=True)
    holders = [held for layer in layers for held in (layer._buffers, layer._parameters, layer._sub_layers)]
    attributes, contents = [dict(vars(layer)) for layer in layers], [dict(held) for held in holders]
    model.train() if training else model.eval()
    try:
        yield
    finally:
        for held, content in zip([*map(vars, layers), *holders], [*attributes, *contents]):
            _put_back(held, content)


def _put_back(held: dict[str, Any], content: Mapping[str, Any]) -> None:
    """Restore the content of `held`; no part of it is ever missing, as Ctrl-C may come at any moment."""
    held.update(content)
    for key in held.keys() - content.keys():
        del held[key]


def floating_type(model: nn.Layer) -> str:
    """Return the type of the network's parameters, such as `float32`."""
    names = [str(parameter.dtype).rpartition(".")[2] for parameter in model.parameters()]
    return next((name for name in names if "float" in name), "float32")


def described(input_shapes: Sequence[Shape]) -> str:
    """Return the input shapes in words."""
    return "inputs of shape " + ", ".join(str(list(shape)) for shape in input_shapes)


def _check_shapes(input_shapes: Sequence[Shape]) -> None:
    for shape in input_shapes:
        sizes = list(shape) if isinstance(shape, Iterable) else [None]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise GraphError(
                f"input shape {shape!r}: expected positive whole numbers, the batch first, such as [1, 3, 64, 64]"
            )


def layer_weights(model: nn.Layer) -> dict[str, str]:
    """Return state-dict key of each convolution's and linear layer's weight -> the layer's class, in creation order.

    Of a weight that a hook computes (`weight_norm`, `spectral_norm`) the largest parameter it is made of.
    """
    keys = {parameter.name: key for key, parameter in model.named_parameters()}
    found: dict[str, str] = {}
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, _WITH_WEIGHT):
            made_of = [parameter for name, parameter in layer._parameters.items() if name.startswith("weight")]
            for weight in sorted(made_of, key=lambda parameter: -int(parameter.size))[:1]:
                found.setdefault(keys[weight.name], type(layer).__name__)
    return found


def trainable_shapes(model: nn.Layer) -> dict[str, tuple[int, ...]]:
    """Return the shape of each trainable parameter by its state-dict key."""
    return {key: tuple(value.shape) for key, value in model.named_parameters() if not value.stop_gradient}
