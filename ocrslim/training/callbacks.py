"""Callbacks: what follows a training run without being part of it, such as its display, logs and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ocrslim.training.monitoring.history import Evaluation, Progress
from ocrslim.training.span import Span


@dataclass
class TrainingStatus:
    """The training after its last step, for callbacks to read.

    Attributes:
        progress: steps, evaluations and losses so far.
        span: length of the run.
        metric: the score that decides which weights are best.
        losses: of the last step, on this process: `loss`, and the weighted parts that it is the sum of.
        rate: learning rate of the last step.
    """

    progress: Progress
    span: Span
    metric: str
    losses: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.0

    @property
    def position(self) -> str:
        """Epoch and step, in words."""
        return self.span.position(self.progress.step)

    @property
    def epoch(self) -> int:
        """Epoch (from 1) of the last step done; 0 before the first."""
        return self.span.epoch(self.progress.step)

    @property
    def evaluation(self) -> Evaluation:
        """The latest evaluation."""
        return self.progress.history[-1]


@dataclass(frozen=True)
class Divergence:
    """Divergence of a training run.

    Attributes:
        position: the step it was noticed after, in words.
        fault: the reason, such as "the loss is nan".
        final: training has gone back as often as it may, and ends.
    """

    position: str
    fault: str
    final: bool


class Callback:
    """Base class whose methods do nothing: override those that you need.

    They are called in the process that trains; of several that train together, a callback given to `fit` is called
    in the first one alone. Ctrl-C is answered after they return, except in `on_evaluation`, which may take long.
    """

    def on_fresh_start(self, status: TrainingStatus) -> None:
        """Prepare the network before the first step of a new run; not called where a run is resumed."""

    def on_start(self, status: TrainingStatus) -> None:
        """Called before the first step of this session: of a new run, or a resumed one."""

    def on_step(self, status: TrainingStatus) -> None:
        """Called after every optimizer step."""

    def on_evaluation(self, status: TrainingStatus) -> None:
        """Called after every evaluation, which is `status.evaluation`."""

    def on_save(self, status: TrainingStatus) -> None:
        """Called whenever the state of the run is saved."""

    def on_interval(self, status: TrainingStatus) -> None:
        """Called after the save that follows an evaluation, and after those about once a minute in between."""

    def on_roll_back(self, status: TrainingStatus, divergence: Divergence) -> None:
        """Called when training diverged and has gone back to an earlier step, which is saved."""

    def on_end(self, status: TrainingStatus) -> None:
        """Called at the end, also where training is interrupted or fails; a run found finished has no other call."""
