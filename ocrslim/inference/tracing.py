"""The program of a network with the outputs that its task names, and all arrays that the program uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import LoweringError
from ocrslim.graph import Program, traced
from ocrslim.inference.outputs import tensors_of
from ocrslim.models import ImportedNetwork, output_of
from ocrslim.tasks import Task


def traced_for_task(model: nn.Layer, task: Task) -> Program:
    """Return the program of `model` as it infers, with free sizes, and the outputs of `Task.output` in their order.

    A trace has all outputs by the sorted names of their dictionary. Which of them the task takes is seen in a small
    pass. `model` is in eval mode afterwards.

    Raises:
        GraphError: Paddle cannot trace it.
        LoweringError: the task makes its output of the network's ones, instead of choosing among them.
    """
    if isinstance(model, ImportedNetwork):
        return model.current_program()
    program = traced(model, [task.free_shape], training=False)
    if len(program.outputs) == 1:
        return program
    model.eval()
    with paddle.no_grad():
        result = model(paddle.zeros(task.probe_shape))
        chosen = tensors_of(output_of(model, result))
    places = {id(tensor): place for place, tensor in enumerate(tensors_of(result))}
    if len(places) != len(program.outputs) or any(id(tensor) not in places for tensor in chosen):
        raise LoweringError(f"{type(model).__name__}: its task computes with its outputs, which is not in the trace")
    return replace(program, outputs=[program.outputs[places[id(tensor)]] for tensor in chosen])


def arrays_of(model: nn.Layer) -> dict[str, np.ndarray]:
    """Return copies of all parameters and buffers by state-dict key, also of buffers that no checkpoint has."""
    tensors = (*model.named_buffers(), *model.named_parameters())
    return {key: np.array(tensor.numpy()) for key, tensor in tensors if tensor._is_initialized()}
