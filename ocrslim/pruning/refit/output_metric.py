"""How much a network's output changes by errors of its layers' outputs.

An error e of a layer's output z, at one position, moves the network's output p by J e with J = dp/dz. Of numbers that
are probabilities, the Kullback-Leibler divergence from those of the unpruned network then is, to second order,

    e' M e    with    M = J' diag(1 / (2 p (1 - p))) J,

the Fisher information of yes or no. M needs no labels, and one backward pass: with random signs v, the gradient
g = J' (v / sqrt(2 p (1 - p))) has E[g g'] = M (Hutchinson, Communications in Statistics 19, 1990). Sums over positions
take errors to be independent from one position to another, and of M there: the Kronecker factors of Martens and Grosse
(arXiv 1503.05671, section 3.1), for convolutions Grosse and Martens (arXiv 1602.01407, section 3.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn.layer.rnn import RNNBase

from ocrslim.graph import as_it_was
from ocrslim.models import ImportedNetwork
from ocrslim.pruning.refit.affine import count_positions, matrix, targets
from ocrslim.pruning.refit.observer import view
from ocrslim.utils import progress_bar

logger = logging.getLogger(__name__)

Output = Callable[[Any], Any]
Made = dict[str, tuple[tuple[int, ...], Tensor]]  # by layer, the shape of its input without batch, and its output
Gradients = dict[str, Tensor]  # of these outputs
Add = Callable[[str, int, np.ndarray], None]  # told a layer, an input, and the gradients at its positions
_MOST = 48  # inputs: the mean over their positions is known well enough
_LARGEST = 10.0  # of an input's gradients for what it finds, relative to the median
_TOGETHER = 4  # inputs of one backward pass, which holds all activations
_LEAST = 1e-10  # least p (1 - p): float32 rounds others to 0


@dataclass(frozen=True)
class OutputScale:
    """The unit in which changes of an output are measured.

    Attributes:
        probabilities: the output is one.
        total: by which the sum of the squares is divided. Of probabilities their sum, so that the result is the
            divergence for each text pixel or step; of other numbers their squared deviation from the mean.
    """

    probabilities: bool
    total: float

    @classmethod
    def of(cls, output: np.ndarray) -> OutputScale:
        """Choose the unit for `output`, the unpruned network's on all inputs."""
        values = output.astype(np.float64)
        probabilities = bool(values.min() >= 0 and values.max() <= 1)
        return cls(probabilities, float((values if probabilities else np.square(values - values.mean())).sum()))

    def masses(self, output: np.ndarray) -> np.ndarray:
        """Return each input's part of `total`, float64 [N]: how much text it has."""
        values = output.astype(np.float64)
        values = values if self.probabilities else np.square(values - values.mean())
        return np.asarray(values.reshape(len(values), -1).sum(axis=1) / (self.total or 1.0))

    def slopes(self, output: np.ndarray) -> np.ndarray:
        """Return by what each number's change is multiplied before it is squared, float32 in the output's shape."""
        whole = np.float32(np.sqrt(self.total or 1.0))
        if not self.probabilities:
            return np.ones_like(output) / whole
        values = output.astype(np.float64)
        return (1 / np.sqrt(2 * np.maximum(values * (1 - values), _LEAST))).astype(np.float32) / whole


def output_metrics(
    model: nn.Layer, names: Sequence[str], batch: np.ndarray, output: Output, seed: int
) -> dict[str, np.ndarray]:
    """Find M of each layer's outputs, summed over all positions, float64 [outputs, outputs], by the layer's name.

    Of a layer with weights W [inputs, outputs] that has fewer inputs than outputs it is W M W', [inputs, inputs]: a
    recogniser's last layer has 120 inputs and up to 18,710 outputs. A transposed convolution has an output for each
    entry of its kernel, as `affine.targets`. Layers whose outputs the network's do not depend on are left out, as are
    those whose gradient is not finite; all of them where an operator of the network has no gradient.

    Args:
        model: unpruned network; only run, as it infers.
        names: of layers that run once.
        batch: float32 [N, C, H, W]; of many inputs some.
        output: picks of what the network returns what inference returns (`Task.output`).
        seed: for the signs.
    """
    batch = batch[:: -(-len(batch) // _MOST)]
    parts = [batch[start : start + _TOGETHER] for start in range(0, len(batch), _TOGETHER)]
    with as_it_was(model, training=False):
        for layer in model.sublayers():
            if isinstance(layer, RNNBase):  # has gradients in training mode alone, where it drops units by chance
                layer.train()
                layer.dropout = 0.0
        try:
            sums = _sums(model, names, parts, output, seed)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            logger.info("errors count by the variance of the layers alone: no gradient of the network: %s", error)
            return {}
    return {name: total for name, total in sums.items() if np.isfinite(total).all() and total.any()}


def _sums(
    model: nn.Layer, names: Sequence[str], parts: Sequence[np.ndarray], output: Output, seed: int
) -> dict[str, np.ndarray]:
    """Sum the products of the gradients of each layer's outputs over all positions of all inputs, in two passes.

    A few inputs have gradients a hundred thousand times as large as the others', such as lines without text, where a
    layer norm divides by next to nothing. To second order they would be all that counts, while the divergence itself
    is bounded by what an input has of the output. So the first pass finds how much each input counts, and the second
    limits that, relative to what it has.
    """
    with paddle.no_grad():
        outputs = [_outputs_of(model(paddle.to_tensor(part)), output) for part in parts]
    made = [np.concatenate([one.numpy() for one in each]) for each in zip(*outputs)]
    scales = [OutputScale.of(one) for one in made]
    masses = np.sum([scale.masses(one) for scale, one in zip(scales, made)], axis=0)
    sizes: dict[str, list[float]] = {}
    sums: dict[str, np.ndarray] = {}

    def measure(name: str, _: int, gradient: np.ndarray) -> None:
        sizes.setdefault(name, []).append(float(np.square(gradient, dtype=np.float64).sum()))

    visit = partial(_visit, model, names, parts, output, scales, seed)
    visit(measure)
    shares = {name: _shares(np.array(found), masses) for name, found in sizes.items()}

    weights = _narrowing(model, names)

    def add(name: str, index: int, gradient: np.ndarray) -> None:
        seen = weights[name] @ gradient if name in weights else gradient
        product = (seen @ seen.T).astype(np.float64)
        sums[name] = sums.get(name, 0.0) + shares[name][index] * product

    visit(add)
    return sums


def _narrowing(model: nn.Layer, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the weights of the layers that have fewer inputs than outputs, float32 [inputs, outputs], by name."""
    layers = dict(model.named_sublayers())
    found = {name: matrix(layers[name])[0].astype(np.float32) for name in names}
    return {name: weight for name, weight in found.items() if weight.shape[0] < weight.shape[1]}


def _shares(sizes: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return the factors, 0..1, that limit each input's `sizes` to `_LARGEST` times what is usual for its `masses`."""
    some = (sizes > 0) & (masses > 0)
    if not some.any():
        return np.ones_like(sizes)
    limits = _LARGEST * np.median(sizes[some] / masses[some]) * masses
    return np.minimum(1.0, limits / np.maximum(sizes, np.finfo(np.float64).tiny))


def _visit(
    model: nn.Layer,
    names: Sequence[str],
    parts: Sequence[np.ndarray],
    output: Output,
    scales: Sequence[OutputScale],
    seed: int,
    add: Add,
) -> None:
    """Call `add` for each layer and input with its gradients, [outputs, positions]."""
    rng = np.random.default_rng(seed)
    layers, made, first = dict(model.named_sublayers()), Made(), 0
    needed = [weight for weight in model.parameters() if not weight.stop_gradient] if _is_recurrent(model) else []

    def hook(name: str) -> Callable[..., None]:
        def call(layer: nn.Layer, given: Any, out: Tensor) -> None:
            made[name] = tuple(given[0].shape[1:]), out

        return call

    handles = [layers[name].register_forward_post_hook(hook(name)) for name in names]
    try:
        for part in progress_bar(parts, total=len(parts), desc="reconstruction: gradients", unit="batch"):
            inputs = paddle.to_tensor(part)
            inputs.stop_gradient = False  # also where no weight is trained
            found = _outputs_of(model(inputs), output)
            signed = [_signed(one, scale, rng) for one, scale in zip(found, scales)]
            for name, gradient in _gradients(made, found, signed, needed).items():
                for index, one in enumerate(view(gradient)):
                    add(name, first + index, _by_position(layers[name], made[name][0], one))
            made.clear()
            first += len(part)
    finally:
        for handle in handles:
            handle.remove()


def _outputs_of(result: Any, output: Output) -> list[Tensor]:
    """The outputs of real numbers among what a network returned."""
    found = output(result)
    listed = found if isinstance(found, (list, tuple)) else [found]
    return [one for one in listed if isinstance(one, Tensor) and one.is_floating_point()]


def _signed(made: Tensor, scale: OutputScale, rng: np.random.Generator) -> Tensor:
    slopes = scale.slopes(made.numpy())
    return paddle.to_tensor(slopes * rng.choice(np.array([-1, 1], np.float32), size=slopes.shape))


def _is_recurrent(model: nn.Layer) -> bool:
    """Tell whether a network has recurrent layers, whose gradient Paddle computes only with those of their weights."""
    if isinstance(model, ImportedNetwork):
        return any(op.name == "rnn" for op in model.program.ops)
    return any(isinstance(layer, RNNBase) for layer in model.sublayers())


def _gradients(made: Made, outputs: list[Tensor], signed: list[Tensor], needed: list[Tensor]) -> Gradients:
    """Gradients of the layers' outputs, by name; those of the weights `needed` are computed with them."""
    wanted = {name: out for name, (_, out) in made.items() if not out.stop_gradient}
    pairs = [(one, sign) for one, sign in zip(outputs, signed) if not one.stop_gradient]
    if not wanted or not pairs:
        return {}
    inputs = [*wanted.values(), *needed]
    found = paddle.grad([one for one, _ in pairs], inputs, [sign for _, sign in pairs], allow_unused=True)
    return {name: gradient for name, gradient in zip(wanted, found) if gradient is not None}


def _by_position(layer: nn.Layer, shape: tuple[int, ...], gradient: np.ndarray) -> np.ndarray:
    """Return one input's gradients as [outputs, positions].

    Args:
        shape: of the layer's input, without batch.
    """
    if isinstance(layer, nn.Conv2D):  # as below, without a copy
        return gradient.reshape(len(gradient), -1)
    positions = np.arange(count_positions(layer, shape, gradient.shape))
    return targets(layer, gradient, positions).reshape(len(positions), -1).T
