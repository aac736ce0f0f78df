"""Ways of running a network: as it infers, as it trains, and as it is deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn.layer.rnn import RNNBase

from ocrslim.graph import as_it_was, deployed
from ocrslim.pruning.surgery.cutting import named_tensors
from ocrslim.pruning.surgery.optimizer_state import assign
from ocrslim.utils import postponed

ROUNDING = 2e-6  # relative to the inputs, to measure how the network magnifies it
_BY_CHANCE = (nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout, RNNBase)  # an RNN drops between its layers

Outputs = list[np.ndarray]


def as_given(model: nn.Layer) -> nn.Layer:
    return model


@dataclass(frozen=True)
class Run:
    """One way of running a network.

    Attributes:
        call: called with the network and its inputs.
        inputs: what it is called with.
        training: whether in training mode.
        made: makes the network that runs of the network given.
        of: in messages, what fails.
        by_value: compare outputs by their values; else only by their shapes.
    """

    call: Callable[[nn.Layer, Sequence[Tensor]], Any]
    inputs: Sequence[Tensor]
    training: bool = False
    made: Callable[[nn.Layer], nn.Layer] = as_given
    of: str = ""
    by_value: bool = True

    def outputs(self, model: nn.Layer, nudged: bool = False) -> Outputs:
        """Run `model`, which is as before afterwards.

        Args:
            nudged: with inputs that differ from its own by rounding.
        """
        inputs = list(map(_nudged, self.inputs)) if nudged else self.inputs
        model = self.made(model)
        # a signal is put off, or Paddle could make another error of it, and that be taken for a fault of the network
        with postponed(), as_it_was(model, self.training), _without_chance(model) if self.training else nullcontext():
            values = paddle.utils.flatten(self.call(model, inputs))
        return [value.astype("float64").numpy() for value in values if isinstance(value, Tensor)]

    @property
    def reference(self) -> Run:
        """The same run of the network that is given itself."""
        return replace(self, made=as_given)


def deployed_run(inference: Run) -> Run:
    """Return the run of the network that is deployed instead of the one that trains."""
    return replace(inference, made=deployed, of="re-parameterised, ")


def _nudged(value: Tensor) -> Tensor:
    """`value` changed by rounding, each entry in a direction of its own: a norm would undo a common factor."""
    signs = np.random.default_rng(1).choice([-1.0, 1.0], value.shape)
    return value * paddle.to_tensor(1 + ROUNDING * signs).astype(value.dtype)


@contextmanager
def _without_chance(model: nn.Layer) -> Iterator[None]:
    """Switch dropout off inside the block, and give statistics and other buffers the values that they had before."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, _BY_CHANCE):
            layer.eval()  # `as_it_was`, around this, puts it back
    kept = [(tensor, tensor.numpy().copy()) for _, tensor in named_tensors(model) if tensor.stop_gradient]
    try:
        yield
    finally:
        for tensor, values in kept:
            assign(tensor, values)  # a tensor may have another shape now, as the state of an RNN's dropout has
