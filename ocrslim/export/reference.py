"""What an export is compared with: what its source computes, how exactly, and what other networks compute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from paddle import nn

from ocrslim.inference import DygraphEngine, Output, difference, parts_of
from ocrslim.utils import postponed

# mean and standard deviation of the factors of the control's weights: a classifier may be so certain that its
# answer is the same to the last digit for the least of them; the last has hardly any weights
_CONTROLS = ((1.0, 0.05), (1.0, 0.5), (0.0, 0.05))


class Reference:
    """The source network on one image: its output, and by how much that can be trusted.

    Attributes:
        image: float32 [1, C, H, W].
    """

    def __init__(self, model: nn.Layer, image: np.ndarray):
        """`model` is changed for moments only, and put back."""
        self.model, self.image = model, image

    def __call__(self, image: np.ndarray) -> Output:
        """Run the source on another image."""
        return DygraphEngine(self.model)(image)

    @cached_property
    def output(self) -> Output:
        """Of the image."""
        return self(self.image)

    @cached_property
    def moves(self) -> float:
        """How far the output moves when the last bits of the image do."""
        steps = np.random.default_rng(0).choice([-np.inf, np.inf], self.image.shape).astype(self.image.dtype)
        return difference(self(np.nextafter(self.image, steps)), self.output)

    @cached_property
    def exact(self) -> Output | None:
        """The output in double precision; None for a network that only runs in single precision."""
        return self.exact_of(self.image)

    def exact_of(self, image: np.ndarray) -> Output | None:
        """Return the same of another image."""
        try:
            _cast(self.model, "float64")
            return self(image.astype(np.float64))
        except Exception:  # of many types, from Paddle: a layer makes single precision itself
            return None
        finally:
            _cast(self.model, "float32")

    def control(self, found: Output, tolerance: float) -> float:
        """Return the difference to a network with other weights, the nearest of the controls that is told apart.

        The one with hardly any weights counts where the source tells parts of the image, or classes, from one another.
        """
        off = 0.0
        for factors in _CONTROLS if _spread(self.output) > tolerance else _CONTROLS[:-1]:
            if factors not in self._controls:
                with _other_weights(self.model, factors):
                    self._controls[factors] = self(self.image)
            off = difference(found, self._controls[factors])
            off = off if np.isfinite(off) else 0.0  # a network that gives no numbers tells nothing
            if off > tolerance:
                break
        return off

    @cached_property
    def _controls(self) -> dict[tuple[float, float], Output]:
        """Outputs of networks with other weights, by how far these are off, as far as they were asked for."""
        return {}


def _spread(output: Output) -> float:
    """Return by how much the values of an output differ from one another, over the image and the classes."""
    parts = (part[:1] for part in parts_of(output))
    return max(float(np.ptp(part)) / max(1.0, float(np.abs(part).max())) for part in parts)


def _cast(model: nn.Layer, dtype: str) -> None:
    """Cast weights in place. Paddle's `Layer.to` casts integers too; its `Layer.float` calls what is called here."""
    model._to_impl(dtype=dtype, floating_only=True)


@contextlib.contextmanager
def _other_weights(model: nn.Layer, factors: tuple[float, float]) -> Iterator[None]:
    """Change every weight by a factor of this mean and standard deviation, and put it back."""
    rng = np.random.default_rng(0)
    with postponed():
        before = {name: tensor.numpy() for name, tensor in model.named_parameters()}
        try:
            for name, tensor in model.named_parameters():
                drawn = np.abs(rng.normal(*factors, before[name].shape))  # not below 0, as variances are weights too
                tensor.set_value(before[name] * drawn.astype(before[name].dtype))
            yield
        finally:
            for name, tensor in model.named_parameters():
                tensor.set_value(before[name])
