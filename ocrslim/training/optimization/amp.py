"""Mixed precision on a GPU, by Paddle's `paddle.amp`; full precision everywhere else.

UNTESTED: no GPU was at hand. The keys and their defaults are PaddleOCR's (`Global.use_amp`, `amp_level`, `amp_dtype`,
`scale_loss`, `use_dynamic_loss_scaling`), but for `amp_level: O2`, which keeps half-precision weights: checkpoints here
are float32, so that it is taken as O1.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import paddle
from paddle import Tensor
from paddle.optimizer import Optimizer

from ocrslim.config import Config

logger = logging.getLogger(__name__)


class FullPrecision:
    """Float32 throughout."""

    exact = True  # gradients are what they seem: not finite means that training has diverged

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context for the network's forward pass."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of `loss`."""
        loss.backward()

    def update(self, optimizer: Optimizer) -> None:
        """Do the optimizer's step."""
        optimizer.step()

    def state(self) -> dict[str, float]:
        """Return the state that a resumed run has to `load`."""
        return {}

    def load(self, state: dict[str, float]) -> None:
        """Restore what `state` returned."""


class MixedPrecision(FullPrecision):
    """Half precision where Paddle's lists allow it, with scaled losses; steps with infinite gradients are left out."""

    exact = False

    def __init__(self, dtype: str, scale: float, dynamic: bool):
        self._dtype = dtype
        self._scaler = paddle.amp.GradScaler(init_loss_scaling=scale, use_dynamic_loss_scaling=dynamic)

    def forward(self) -> AbstractContextManager[Any]:
        return paddle.amp.auto_cast(level="O1", dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()

    def update(self, optimizer: Optimizer) -> None:
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, float]:
        return {key: float(np.asarray(value).ravel()[0]) for key, value in self._scaler.state_dict().items()}

    def load(self, state: dict[str, float]) -> None:
        if not state:
            return
        current: dict[str, Any] = self._scaler.state_dict()
        # each value as the type that it has there; the scale is an array of one
        found = {key: type(current[key])(state[key]) for key in current if key != "scale"}
        self._scaler.load_state_dict({**found, "scale": np.array([state["scale"]], np.float32)})


def build_precision(config: Config) -> FullPrecision:
    """Mixed precision if `Global.use_amp` asks for it and Paddle runs on a GPU."""
    if not mixed(config):
        return FullPrecision()
    dtype = str(config.get("Global.amp_dtype") or "float16")
    scale = float(config.get("Global.scale_loss") or 1.0)
    return MixedPrecision(dtype, scale, bool(config.get("Global.use_dynamic_loss_scaling")))


def mixed(config: Config) -> bool:
    """Tell whether `build_precision` gives mixed precision."""
    return bool(config.get("Global.use_amp")) and paddle.get_device().startswith("gpu")


def log_precision(config: Config) -> None:
    """Log a line where `Global.use_amp` is not followed, or is followed untested."""
    if mixed(config):
        logger.warning("Global.use_amp: mixed precision is untested here: compare with -o Global.use_amp=false")
    elif config.get("Global.use_amp"):
        logger.info("Global.use_amp: not used on the CPU, where half precision is no faster: training in float32")
