"""The only code that changes a model: cutting parameters by a plan, and putting them back."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import PlanError
from ocrslim.pruning.plan import Cut, Plan

_MARK = "_ocrslim_pruned"


def apply_plan(model: nn.Layer, plan: Plan) -> None:
    """Cut `model` in place by `plan`; its parameters keep their identity, so optimizers stay valid.

    Raises:
        PlanError: the model is pruned already, or a parameter of the plan is missing or of another
            size; the first such is named and nothing is changed.
    """
    if getattr(model, _MARK, False):
        raise PlanError("this network is pruned already: load the unpruned one to apply another plan")
    parameters = dict(model.named_parameters())
    for cut in plan.cuts:
        _check(cut, parameters)
    depthwise = _depthwise_layers(model)
    by_key: dict[str, list[Cut]] = defaultdict(list)
    for cut in plan.cuts:
        by_key[cut.key].append(cut)
    for key, cuts in by_key.items():
        value = parameters[key].numpy()
        for cut in cuts:
            value = np.take(value, cut.keep, axis=cut.axis)
        _assign(parameters[key], value)
    _match_layers(model, depthwise)
    setattr(model, _MARK, True)


@contextlib.contextmanager
def pruned(model: nn.Layer, plan: Plan) -> Iterator[nn.Layer]:
    """`model` cut by `plan` inside the block, and bit for bit as it was after it."""
    parameters = dict(model.named_parameters())
    backup = {cut.key: parameters[cut.key].numpy().copy() for cut in plan.cuts if cut.key in parameters}
    depthwise = _depthwise_layers(model)
    apply_plan(model, plan)
    try:
        yield model
    finally:
        for key, value in backup.items():
            _assign(parameters[key], value)
        _match_layers(model, depthwise)
        setattr(model, _MARK, False)


def _check(cut: Cut, parameters: dict[str, paddle.Tensor]) -> None:
    if cut.key not in parameters:
        raise PlanError(f"the plan cuts {cut.key}, which this network does not have: it is of another model")
    shape = parameters[cut.key].shape
    if cut.axis >= len(shape) or shape[cut.axis] != cut.size:
        raise PlanError(
            f"the plan expects {cut.size} entries on axis {cut.axis} of {cut.key}, "
            f"this network has shape {shape}: the plan is of another model"
        )


def _assign(parameter: paddle.Tensor, value: np.ndarray) -> None:
    place = paddle.CUDAPlace(parameter.place.gpu_device_id()) if parameter.place.is_gpu_place() else paddle.CPUPlace()
    parameter.value().get_tensor().set(np.ascontiguousarray(value), place)
    if not parameter.stop_gradient:
        parameter.clear_gradient()


def _depthwise_layers(model: nn.Layer) -> set[int]:
    """Identities of the depthwise convolutions, asked before a cut: down to one channel they look like others."""
    return {
        id(layer)
        for layer in model.sublayers()
        if isinstance(layer, nn.Conv2D) and layer._groups > 1 and layer.weight.shape[1] == 1
    }


def _match_layers(model: nn.Layer, depthwise: set[int]) -> None:
    """Set what layers remember of their shapes to what their weights are now."""
    for layer in model.sublayers():
        if isinstance(layer, nn.Conv2DTranspose):
            layer._in_channels = layer.weight.shape[0]
            layer._out_channels = layer.weight.shape[1] * layer._groups
        elif isinstance(layer, nn.Conv2D):
            if id(layer) in depthwise:
                layer._groups = layer.weight.shape[0]
            layer._out_channels = layer.weight.shape[0]
            layer._in_channels = layer.weight.shape[1] * layer._groups
