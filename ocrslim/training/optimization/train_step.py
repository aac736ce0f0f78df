"""One optimizer step: forward, losses, backward, update, each result checked before it is used."""

from __future__ import annotations

import math
from typing import Any

from paddle import Tensor, nn

from ocrslim.data import names_labels
from ocrslim.training.checkpointing.snapshot import Snapshot, put_back, take
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimization.amp import build_precision
from ocrslim.training.optimization.divergence import (
    Diverged,
    agreed_loss,
    check_gradients,
    check_loss,
    check_predictions,
)
from ocrslim.training.optimization.ema import WeightAverage, build_average
from ocrslim.training.optimization.optimizers import build_optimizer
from ocrslim.training.span import Span

_STATISTICS = ("._mean", "._variance")  # of a batch norm


class TrainStep:
    """Trains the model of a job step by step; all that changes with it can be taken as a snapshot and put back.

    Where several processes train together, gradients and batch-norm statistics are averaged over them in every step,
    before gradients are clipped: so all of them stay alike. It is `paddle.DataParallel`'s average, but taken
    of the bare model, whose hooks and state-dict keys stay what they are, and together with the statistics.

    Attributes:
        average: the averaged weights; None without.
        losses: of the last step: `loss`, and the weighted parts that it is the sum of.

    Args:
        job: its model is in training mode when `step` is called.
        span: length of the run, which learning rates depend on.
    """

    def __init__(self, job: TrainingJob, span: Span):
        self._job, self._span = job, span
        self.average: WeightAverage | None = build_average(job.config, job.model)
        self.losses: dict[str, float] = {}
        self._task = job.config.task
        labelled = names_labels(job.config, "Train")
        self._loss = self._task.loss(job.config.section("Loss")) if span.steps and labelled else None
        self._build()

    @property
    def model(self) -> nn.Layer:
        return self._job.model

    def _build(self) -> None:
        config = self._job.config
        self.optimizer, self._schedule = build_optimizer(config, self.model.named_parameters(), self._span)
        self._precision = build_precision(config)

    def start(self) -> None:
        """Begin to average weights, where that is asked for and not begun yet."""
        if self.average is not None:
            self.average.start()

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
        self._job.ranks.mean(self._synchronised())
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
        """Return this rank's losses by name, and the mean of the ranks' sums; raise `Diverged`."""
        parts: dict[str, Tensor] = {}
        loss, fault = math.nan, ""
        try:
            parts = self._losses(batch, share)
            loss = check_loss(parts)
            self.losses = {name: float(part) for name, part in parts.items()}
        except Diverged as error:
            fault = str(error)
        return parts, agreed_loss(self._job.ranks.exchange((loss, fault)))

    def _losses(self, batch: list[Tensor], share: float) -> dict[str, Tensor]:
        with self._precision.forward():
            result = self._task.forward(self.model, batch)
        predictions = {name: _single(value) for name, value in self._task.predictions(result).items()}
        check_predictions(predictions)
        parts = {} if self._loss is None else self._loss(predictions, batch)
        if self._job.distillation is None:
            return parts
        more = self._job.distillation.losses(batch[0], predictions, share)
        return {**parts, **more, "loss": sum((*more.values(), *([parts["loss"]] if parts else [])))}

    def _synchronised(self) -> list[Tensor]:
        """Return what is averaged over the ranks: gradients and batch-norm statistics."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        state = self.model.state_dict()  # of which Paddle counts the statistics among the parameters
        return gradients + [state[key] for key in state if key.endswith(_STATISTICS)]

    @property
    def rate(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.get_lr())

    def take(self, progress: Progress) -> Snapshot:
        """Take a snapshot; raise `NonFinite` where a value is not finite."""
        return take(self.model, self.optimizer, self.average, progress)

    def put_back(self, snapshot: Snapshot) -> None:
        """Restore everything as it was when `snapshot` was taken, but for the progress."""
        self.optimizer.clear_grad()
        self._build()  # an optimizer that has made a step cannot be made to forget it
        put_back(snapshot, self.model, self.optimizer, self.average)
        self._precision.load(snapshot.progress.loss_scale)


def _single(value: Any) -> Any:
    """Convert a tensor of half precision to single precision."""
    return value.astype("float32") if isinstance(value, Tensor) and value.is_floating_point() else value
