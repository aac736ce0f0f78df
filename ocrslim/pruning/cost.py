"""What a network costs: multiply-accumulates and parameters of the layers that inference runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

_COUNTED = (nn.Conv2D, nn.Conv2DTranspose, nn.Linear)


@dataclass(frozen=True)
class Cost:
    """MACs of one forward pass, and trainable parameters, both of inference alone."""

    macs: int
    params: int


def measure_cost(model: nn.Layer, input_shape: Sequence[int]) -> Cost:
    """Count MACs and parameters by running `model` once in eval mode on zeros.

    A convolution counts (output elements) x (input channels / groups) x (kernel elements); a transposed
    one the same seen from its input; biases, norms and activations count no MACs. Layers that inference
    does not run count nothing.

    Args:
        input_shape: [N, C, H, W].
    """
    macs = 0
    ran: dict[int, nn.Layer] = {}

    def count(layer: nn.Layer, inputs: tuple[paddle.Tensor, ...], output: paddle.Tensor) -> None:
        nonlocal macs
        ran[id(layer)] = layer
        if isinstance(layer, _COUNTED):
            macs += _layer_macs(layer, inputs[0], output)

    leaves = [layer for layer in model.sublayers() if not layer.sublayers()]
    hooks = [leaf.register_forward_post_hook(count) for leaf in leaves]
    training = model.training
    model.eval()
    try:
        with paddle.no_grad():
            model(paddle.zeros(list(input_shape)))
    finally:
        for hook in hooks:
            hook.remove()
        model.train() if training else model.eval()
    params = sum(int(np.prod(p.shape)) for layer in ran.values() for p in layer.parameters() if not p.stop_gradient)
    return Cost(macs, params)


def _layer_macs(layer: nn.Layer, source: paddle.Tensor, output: paddle.Tensor) -> int:
    weight = layer.weight.shape
    # each input element of a transposed convolution meets all but the first axis of its weight,
    # each output element of a convolution likewise; of a linear layer, the input axis
    if isinstance(layer, nn.Conv2DTranspose):
        return int(np.prod(source.shape)) * int(np.prod(weight[1:]))
    if isinstance(layer, nn.Linear):
        return int(np.prod(output.shape)) * weight[0]
    return int(np.prod(output.shape)) * int(np.prod(weight[1:]))
