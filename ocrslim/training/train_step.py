"""One optimizer step: forward, losses, backward, update, each result checked before it is used."""

from __future__ import annotations

import math
from typing import Any

from paddle import Tensor, nn

from ocrslim.config import Config
from ocrslim.training.amp import build_precision
from ocrslim.training.checkpointing.snapshot import Snapshot, put_back, take
from ocrslim.training.distillation import Distillation
from ocrslim.training.divergence import Diverged, agreed_loss, check_gradients, check_loss, check_predictions
from ocrslim.training.ema import WeightAverage, build_average
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimizers import build_optimizer
from ocrslim.utils import Ranks

_STATISTICS = ("._mean", "._variance")  # of a batch norm


class Stepper:
    """Moves `model`; everything that moves with it can be taken as a snapshot and put back.

    Where several processes train together, gradients and batch-norm statistics are averaged over them in every step,
    before gradients are clipped: so all of them stay alike. It is `paddle.DataParallel`'s average, but taken
    of the bare model, whose hooks and state-dict keys stay what they are, and together with the statistics.

    Attributes:
        losses: of the last step: `loss`, and the weighted parts that it is the sum of.

    Args:
        model: in training mode when `step` is called.
        distillation: what it learns from beside labels; None for labels alone.
        ranks: the processes that train together; None for one alone.
    """

    def __init__(
        self,
        model: nn.Layer,
        config: Config,
        steps_per_epoch: int,
        distillation: Distillation | None = None,
        ranks: Ranks | None = None,
    ):
        self.model = model
        self._ranks = ranks or Ranks()
        self.average: WeightAverage | None = build_average(config, model)
        self._config, self._steps_per_epoch = config, steps_per_epoch
        self._distillation = distillation
        self.losses: dict[str, float] = {}
        self._task = config.task
        self._loss = self._task.loss(config.section("Loss"))
        self._build()

    def _build(self) -> None:
        self.optimizer, self._schedule = build_optimizer(self._config, self.model.parameters(), self._steps_per_epoch)
        self._precision = build_precision(self._config)

    def step(self, batch: list[Tensor], progress: Progress) -> float:
        """Do step `progress.step`, count it there, and return its loss, the mean over the ranks.

        Raises:
            Diverged: a loss or gradient is not finite, on one of the ranks: on all of them then; the weights are as
                they were, batch norms aside.
        """
        self._schedule.factor = progress.rate_factor
        self._schedule.step(progress.step)
        parts, loss = self._forward(batch, progress.share)
        self._precision.backward(parts["loss"])
        self._ranks.mean(self._moved())
        if self._precision.exact:
            check_gradients(self.model.parameters())
        self._precision.update(self.optimizer)
        self.optimizer.clear_grad()
        progress.add_step(loss, self.rate)
        progress.loss_scale = self._precision.state()
        if self.average is not None:
            self.average.update(progress.step)
        return loss

    def _forward(self, batch: list[Tensor], share: float) -> tuple[dict[str, Tensor], float]:
        """This rank's losses by name, and the mean of the ranks' sums; raises `Diverged`."""
        parts: dict[str, Tensor] = {}
        loss, fault = math.nan, ""
        try:
            parts = self._losses(batch, share)
            loss = check_loss(parts)
            self.losses = {name: float(part) for name, part in parts.items()}
        except Diverged as error:
            fault = str(error)
        return parts, agreed_loss(self._ranks.exchange((loss, fault)))

    def _losses(self, batch: list[Tensor], share: float) -> dict[str, Tensor]:
        with self._precision.forward():
            result = self.model(batch[0])
        predictions = {name: _single(value) for name, value in self._task.predictions(result).items()}
        check_predictions(predictions)
        parts = self._loss(predictions, batch)
        if self._distillation is None:
            return parts
        more = self._distillation.losses(batch[0], predictions, share)
        return {**parts, **more, "loss": sum(more.values(), parts["loss"])}

    def _moved(self) -> list[Tensor]:
        """What a forward and a backward pass have left: gradients and batch-norm statistics."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        state = self.model.state_dict()  # of which Paddle counts the statistics among the parameters
        return gradients + [state[key] for key in state if key.endswith(_STATISTICS)]

    @property
    def rate(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.get_lr())

    def take(self, progress: Progress) -> Snapshot:
        """Everything as it is; raises `NonFinite` where it is not finite."""
        return take(self.model, self.optimizer, self.average, progress)

    def put_back(self, snapshot: Snapshot) -> None:
        """Everything as it was when `snapshot` was taken, but for the progress."""
        self.optimizer.clear_grad()
        self._build()  # an optimizer that has made a step cannot be made to forget it
        put_back(snapshot, self.model, self.optimizer, self.average)
        self._precision.load(snapshot.progress.loss_scale)


def _single(value: Any) -> Any:
    """A tensor of half precision in single precision."""
    return value.astype("float32") if isinstance(value, Tensor) and value.is_floating_point() else value
