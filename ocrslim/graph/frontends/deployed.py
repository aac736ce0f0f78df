"""The network that is deployed, where it is not the one that trains.

Layers that train as parallel branches and run as a single convolution say so by PaddleOCR's protocol: a method
`rep()` computes the convolution's weight from the branches and makes `forward` use it. PaddleOCR's export calls it on
every layer that has one; so do the exports here, and costs are those of what they write.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import paddle
from paddle import nn

from ocrslim.graph.builder import build_graph
from ocrslim.graph.frontends.dygraph import layer_weights, traced, trainable_shapes
from ocrslim.graph.frontends.foreign import foreign_code
from ocrslim.graph.frontends.training import Shape
from ocrslim.graph.groups import ChannelGraph, Layer

_DONE = "is_repped"


def re_parameterises(model: nn.Layer) -> bool:
    """Tell whether some of the network's layers run as fewer convolutions than they train."""
    return any(map(_pending, model.sublayers(include_self=True)))


def deployed(model: nn.Layer) -> nn.Layer:
    """Return the network as it is deployed: a copy, re-parameterised and in eval mode; `model` if no layer has to be.

    Raises:
        GraphError: a layer's `rep()` fails.
    """
    if not re_parameterises(model):
        return model
    made, chance = _copied(model), paddle.get_rng_state()
    for layer in made.sublayers(include_self=True):
        if _pending(layer):  # not done by the layer around it
            _re_parameterise(layer)
    paddle.set_rng_state(chance)  # the layers that were made drew their first weights
    made.eval()
    return made


def _copied(model: nn.Layer) -> nn.Layer:
    expected = "expected no layer to keep results of a forward pass"
    name = type(model).__name__
    with foreign_code(lambda cause: f"{name}: cannot be copied to be re-parameterised ({cause}): {expected}"):
        return copy.deepcopy(model)


def _pending(layer: nn.Layer) -> bool:
    return callable(getattr(layer, "rep", None)) and not getattr(layer, _DONE, False)


def _re_parameterise(layer: nn.Layer) -> None:
    expected = "expected it to make one convolution of the layer's branches, as PaddleOCR's export does"
    with foreign_code(lambda cause: f"{type(layer).__name__}.rep() fails ({cause}): {expected}"), paddle.no_grad():
        layer.rep()


def deployed_costs(
    graph: ChannelGraph, made: nn.Layer, input_shapes: Sequence[Shape]
) -> tuple[ChannelGraph, dict[str, str]]:
    """Count the layers and parameters that are deployed, each named after one that trains.

    A convolution made of parallel branches has the shape of the largest one and loses the same channels, so it is
    counted as that one, and the other branches are not.

    Args:
        graph: of the network that trains.
        made: the network that is deployed.

    Returns:
        the graph with these costs, and deployed key -> key that it is named after.

    Raises:
        GraphError: it cannot be traced.
    """
    program = traced(made, input_shapes, training=False)
    found = build_graph(program, None, layer_weights(made), trainable_shapes(made))
    names = counterparts(graph.trainable, found.trainable)
    layers = tuple(_renamed(layer, names) for layer in found.layers)
    trainable = {names.get(key, key): shape for key, shape in found.trainable.items()}
    counted = replace(graph, layers=layers, trainable=trainable, uncounted=found.uncounted)
    return counted, {key: names.get(key, key) for key in found.trainable}


def _renamed(layer: Layer, names: Mapping[str, str]) -> Layer:
    per = tuple((names.get(key, key), axis, index) for key, axis, index in layer.per)
    return replace(layer, key=names.get(layer.key, layer.key), per=per)


def counterparts(trained: Mapping[str, tuple[int, ...]], deployed: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Find for each parameter that is deployed one that trains, of its shape, which loses the same channels.

    That is the parameter of the same name, or one of the same layer or, failing that, of the nearest around it; for a
    bias, of the branch that its weight is named after.

    Args:
        trained: shapes of the parameters of inference by state-dict key, before re-parameterisation.
        deployed: the same after it.

    Returns:
        deployed key -> trained key, each once; parameters without a counterpart, such as a bias where no branch has a
        vector of its size, are missing.
    """
    names = {key: key for key, shape in deployed.items() if trained.get(key) == shape}
    free = {key: shape for key, shape in trained.items() if key not in names}
    for key, shape in sorted(deployed.items(), key=lambda item: -len(item[1])):  # weights before their biases
        if key in names:
            continue
        alike = [one for one in free if free[one] == shape and _shared(one, key)]
        if alike:
            beside = names.get(f"{key.rpartition('.')[0]}.weight", key)
            names[key] = max(alike, key=lambda one: (_shared(one, key), _shared(one, beside), _last(one) == _last(key)))
            del free[names[key]]
    return names


def _shared(first: str, second: str) -> int:
    """Count the layers that two keys lie in together."""
    count = 0
    for one, other in zip(first.split(".")[:-1], second.split(".")[:-1]):
        if one != other:
            break
        count += 1
    return count


def _last(key: str) -> str:
    return key.rpartition(".")[2]
