"""Progress of a training run: its position, its evaluations and its losses, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from ocrslim.utils import Field

POINTS = 512  # of a curve at most; even, as neighbours are put together
RECENT = 100  # losses that the running median is of
_LARGEST = 3.5e38  # what float32 holds
_MOST_ROLLBACKS = 1000  # far beyond what a run is given; each halves the learning rate


@dataclass(frozen=True)
class Evaluation:
    """Result of one evaluation.

    Attributes:
        step: optimizer steps done before it; 0 is the network as it came.
        epoch: epoch (from 1) of the last of these steps; 0 before the first.
        metrics: the task's scores, such as precision, recall and hmean.
        loss: mean training loss since the evaluation before; None at step 0.
    """

    step: int
    epoch: int
    metrics: dict[str, float]
    loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.epoch, "loss": self.loss, **self.metrics}


@dataclass
class Curve:
    """Losses and learning rates over a whole run, in bounded memory: means over intervals of equal length.

    When there are `POINTS` of them, neighbours are merged and the intervals are twice as long from then on.

    Attributes:
        every: steps in an interval.
        points: step at the end of the interval, mean loss, learning rate of the last step.
        total, count: losses of the interval that is not complete yet.
    """

    every: int = 1
    points: list[list[float]] = field(default_factory=list)
    total: float = 0.0
    count: int = 0

    def add(self, step: int, loss: float, rate: float) -> None:
        """Add the loss of step `step` (from 1) and its learning rate."""
        self.total += loss
        self.count += 1
        if self.count < self.every:
            return
        self.points.append([step, self.total / self.count, rate])
        self.total, self.count = 0.0, 0
        if len(self.points) >= POINTS:
            pairs = zip(self.points[::2], self.points[1::2])
            self.points = [[second[0], (first[1] + second[1]) / 2, second[2]] for first, second in pairs]
            self.every *= 2


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        steps: optimizer steps of the whole run.
        step: optimizer steps done.
        evaluated: number of steps done at the last evaluation; -1 before the first.
        best: the evaluation whose weights are `best_accuracy.pdparams`.
        best_weights: hash of their arrays.
        history: all evaluations.
        loss_sum, loss_count: of the training losses since the last evaluation.
        seconds: time spent, over all sessions.
        recent: the last `RECENT` training losses, the newest last.
        curve: losses and learning rates of the whole run.
        rollbacks: how often training diverged and went back; each time halved the learning rate.
        loss_scale: state of mixed precision's loss scaling; empty without.
    """

    steps: int
    step: int = 0
    evaluated: int = -1
    best: Evaluation | None = None
    best_weights: str | None = None
    history: list[Evaluation] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    curve: Curve = field(default_factory=Curve)
    rollbacks: int = 0
    loss_scale: dict[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """All steps are done and the last weights are evaluated."""
        return self.step == self.steps == self.evaluated

    @property
    def share(self) -> float:
        """Fraction of the run that is done, 0..1."""
        return self.step / max(self.steps, 1)

    @property
    def rate_factor(self) -> float:
        """Factor of the schedule's learning rates."""
        return 0.5**self.rollbacks

    def add_step(self, loss: float, rate: float) -> None:
        """Count one optimizer step."""
        self.step += 1
        self.loss_sum += loss
        self.loss_count += 1
        self.recent = [*self.recent[1 - RECENT :], loss]
        self.curve.add(self.step, loss, rate)

    def due(self, every: int | list[int] | None) -> bool:
        """Tell whether to evaluate now: before the first step, after the last, and by `Global.eval_batch_step`."""
        if self.evaluated == self.step:
            return False
        every = every or self.steps
        start, every = every if isinstance(every, list) else (0, every)
        return self.evaluated < 0 or self.step == self.steps or (self.step > start and (self.step - start) % every == 0)

    def forget_best(self) -> None:
        """Search the best from here on: the weights of the one so far are gone."""
        self.best = self.best_weights = None
        self.evaluated = -1
        if self.history and self.history[-1].step == self.step:  # to be repeated now
            loss = self.history.pop().loss
            if loss is not None:
                self.loss_sum, self.loss_count = loss, 1

    def rescaled(self, old: int, new: int) -> Progress:
        """Return the same position in a run whose epochs have `new` steps, not `old`; within an epoch rounded down."""

        def at(step: int) -> int:
            return step // old * new + step % old * new // old

        def moved(entry: Evaluation) -> Evaluation:
            return replace(entry, step=at(entry.step))

        step = at(self.step)
        evaluated = self.evaluated if self.evaluated < 0 else at(self.evaluated)
        if self.evaluated != self.step:  # what is not evaluated yet must not look as if it were
            evaluated = min(evaluated, step - 1)
        return replace(
            self,
            steps=at(self.steps),
            step=step,
            evaluated=evaluated,
            best=moved(self.best) if self.best else None,
            history=[moved(entry) for entry in self.history],
            curve=replace(self.curve, points=[[at(int(point[0])), *point[1:]] for point in self.curve.points]),
        )

    @staticmethod
    def from_json(content: Field) -> Progress:
        """Read what `asdict` made of a progress.

        Raises:
            ValueError: a value that no run can have, or values that do not belong together.
        """
        unknown = content.mapping().keys() - {entry.name for entry in fields(Progress)}
        if unknown:
            raise ValueError(f"{min(unknown)} is nothing that a progress has")
        steps = content["steps"].whole()
        history = [_evaluation(entry, steps) for entry in content["history"].list()]
        best, digest = content["best"], content["best_weights"]
        progress = Progress(
            steps=steps,
            step=content["step"].whole(0, steps),
            evaluated=content["evaluated"].whole(-1, steps),
            best=None if best.value is None else _evaluation(best, steps),
            best_weights=None if digest.value is None else digest.text(),
            history=history,
            loss_sum=content["loss_sum"].number(-_LARGEST * steps, _LARGEST * steps),
            loss_count=content["loss_count"].whole(0, steps),
            seconds=content["seconds"].number(0),
            recent=[loss.number(-_LARGEST, _LARGEST) for loss in content["recent"].list(RECENT)]
            if "recent" in content
            else [],
            curve=_curve(content["curve"], steps) if "curve" in content else Curve(),
            rollbacks=content["rollbacks"].whole(0, _MOST_ROLLBACKS) if "rollbacks" in content else 0,
            loss_scale=_loss_scale(content["loss_scale"]) if "loss_scale" in content else {},
        )
        if progress.evaluated > progress.step or (progress.evaluated >= 0 and not history):
            raise ValueError(f"{content.place}: its evaluations do not belong to step {progress.step}")
        if progress.finished and progress.best is None:
            raise ValueError(f"{content.place}: a finished run without its best evaluation")
        return progress


def _evaluation(entry: Field, steps: int) -> Evaluation:
    loss = entry["loss"]
    return Evaluation(
        step=entry["step"].whole(0, steps),
        epoch=entry["epoch"].whole(0, steps),
        metrics=_metrics(entry["metrics"]),
        loss=None if loss.value is None else loss.number(-_LARGEST, _LARGEST),
    )


def _metrics(content: Field) -> dict[str, float]:
    found = {name: value.number(0, 1) for name, value in content.items()}
    if not found:
        raise content.fault("a dictionary of scores")
    return found


def _curve(content: Field, steps: int) -> Curve:
    return Curve(
        every=content["every"].whole(1, max(1, 2 * steps)),
        points=[_point(point, steps) for point in content["points"].list(POINTS)],
        total=content["total"].number(-_LARGEST * steps, _LARGEST * steps),
        count=content["count"].whole(0, steps),
    )


def _point(content: Field, steps: int) -> list[float]:
    numbers = content.list(3)
    if len(numbers) != 3:
        raise content.fault("a step, its loss and its rate")
    return [numbers[0].whole(0, steps), numbers[1].number(-_LARGEST, _LARGEST), numbers[2].number(0, _LARGEST)]


def _loss_scale(content: Field) -> dict[str, float]:
    return {name: value.number() for name, value in content.items()}
