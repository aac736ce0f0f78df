"""State that an optimizer keeps for parameters, so that it is cut and restored with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import Tensor
from paddle.optimizer import Optimizer


def state_of(optimizer: Optimizer, parameter: Tensor) -> list[Tensor]:
    """Tensors of the parameter's shape that `optimizer` keeps for it.

    These are its accumulators, those of a loaded state that wait for the first step, and the master weight of
    mixed precision; scalars such as the powers of beta are excluded.
    """
    master = optimizer._master_weights.get(parameter.name)
    names = [parameter.name] if master is None else [parameter.name, master.name]
    found = [by_name[name] for by_name in optimizer._accumulators.values() for name in names if name in by_name]
    starts = tuple(f"{name}_" for name in names)
    found += [tensor for name, tensor in _waiting(optimizer).items() if name.startswith(starts)]
    found += [] if master is None else [master]
    return [tensor for tensor in found if list(tensor.shape) == list(parameter.shape)]


def all_state(optimizer: Optimizer) -> list[Tensor]:
    """Every tensor that `optimizer` keeps."""
    accumulators = [tensor for by_name in optimizer._accumulators.values() for tensor in by_name.values()]
    return [*accumulators, *_waiting(optimizer).values(), *optimizer._master_weights.values()]


class Inventory:
    """Record of an optimizer's tensors, to remove those that it makes later."""

    def __init__(self, optimizer: Optimizer):
        self._optimizer = optimizer
        self._accumulators = {kind: dict(by_name) for kind, by_name in optimizer._accumulators.items()}
        self._waiting = dict(optimizer._accumulators_holder)
        self._masters = dict(optimizer._master_weights)
        self._prepared = set(getattr(optimizer, "_already_create_accumulator", ()))

    def restore(self) -> None:
        """Give the optimizer exactly the recorded tensors.

        A tensor made since from a loaded state stays, with the state's value: Paddle would look for it under
        another name the next time.
        """
        optimizer = self._optimizer
        waiting = dict(self._waiting)
        accumulators = {kind: dict(by_name) for kind, by_name in self._accumulators.items()}
        prepared = set(self._prepared)
        for kind, by_name in optimizer._accumulators.items():
            for parameter, tensor in by_name.items():
                if tensor.name in waiting:
                    assign(tensor, waiting.pop(tensor.name).numpy())
                    accumulators.setdefault(kind, {})[parameter] = tensor
                    prepared.add(parameter)
        optimizer._accumulators.clear()
        optimizer._accumulators.update(accumulators)
        optimizer._accumulators_holder = waiting
        optimizer._master_weights = dict(self._masters)
        if hasattr(optimizer, "_already_create_accumulator"):
            optimizer._already_create_accumulator = prepared


def assign(tensor: Tensor, value: np.ndarray) -> None:
    """Give `tensor` the value, type and shape of an array, on its device."""
    place = paddle.CUDAPlace(tensor.place.gpu_device_id()) if tensor.place.is_gpu_place() else paddle.CPUPlace()
    tensor.value().get_tensor().set(np.ascontiguousarray(value), place)


def _waiting(optimizer: Optimizer) -> dict[str, Tensor]:
    held: dict[str, Any] = optimizer._accumulators_holder
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}
