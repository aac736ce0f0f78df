"""Averaged weights: what is evaluated and kept follows the training weights smoothly.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992), as an exponential moving
average, with the early steps of TensorFlow's `ExponentialMovingAverage(num_updates=...)`: the first weights, which
are far off, must not count for long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import numpy as np
import paddle
from paddle import Tensor, nn

from ocrslim.config import Config
from ocrslim.models import state_arrays


class WeightAverage:
    """The exponential moving average of a model's parameters and batch-norm statistics.

    After step t it is d * average + (1 - d) * weights with d = min(decay, (1 + t) / (10 + t)), so about the last
    1 / (1 - decay) steps count, and never more than the last tenth of those done.

    Args:
        model: not changed, but inside `applied`.
        decay: below 1; 0 is no average at all.
    """

    def __init__(self, model: nn.Layer, decay: float):
        self._model = model
        self._decay = decay
        self._values: dict[str, Tensor] = {}
        self.exchanged = False  # True while the model has averaged weights, or some

    def start(self) -> None:
        """Begin with the model's weights as they are, unless there is an average already."""
        if not self._values:
            self.load(state_arrays(self._model))

    @paddle.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights that step `step` (from 1) has left."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        for key, tensor in self._model.state_dict().items():
            value = self._values[key]
            self._values[key] = value + (tensor - value) * share if tensor.is_floating_point() else tensor.clone()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of the averages by state-dict key; empty before `start`."""
        return {key: np.array(value.numpy()) for key, value in self._values.items()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what `arrays` returned."""
        self._values = {key: paddle.to_tensor(array) for key, array in arrays.items()}

    @contextlib.contextmanager
    def applied(self, held: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and exactly its own again after it.

        Args:
            held: puts Ctrl-C off while weights are exchanged.
        """
        own = state_arrays(self._model)
        self.exchanged = True
        try:
            with held():
                self._model.set_state_dict(self.arrays())
            yield
        finally:
            with held():
                self._model.set_state_dict(own)
                self.exchanged = False


def build_average(config: Config, model: nn.Layer) -> WeightAverage | None:
    """Build the average that `Optimizer.ema` asks for; None without."""
    decay = config.get("Optimizer.ema.decay")
    return WeightAverage(model, float(decay)) if decay else None
