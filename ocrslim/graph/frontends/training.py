"""The forward pass of a training step, which may take labels beside the network's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

Shape = Sequence[int]


def call(model: nn.Layer, batch: Sequence[Tensor]) -> Any:
    """Call a network with all tensors of a batch."""
    return model(*batch)


@dataclass(frozen=True)
class TrainingForward:
    """How a training step runs a network.

    Attributes:
        shapes: of the inputs that the labels belong to, each with its batch.
        labels: what the step hands over beside the inputs, such as the characters of each image.
        run: called with the network and a batch: the inputs, then the labels.
    """

    shapes: Sequence[Shape]
    labels: Sequence[np.ndarray] = ()
    run: Callable[[nn.Layer, Sequence[Tensor]], Any] = call

    def __call__(self, model: nn.Layer, inputs: Sequence[Tensor]) -> Any:
        """Run `model` on `inputs` and the labels; its mode is the caller's affair."""
        return self.run(model, [*inputs, *map(paddle.to_tensor, self.labels)])


class AsTrained(nn.Layer):
    """A layer that runs a network as a training step does, to be traced."""

    def __init__(self, model: nn.Layer, forward: TrainingForward):
        super().__init__()
        self.model = model
        self._step = forward

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        """Run the network; the labels become constants of the trace."""
        return self._step(self.model, inputs)
