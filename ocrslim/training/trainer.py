"""The steps of a training run: where they are evaluated, saved and broken off."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from paddle import nn

from ocrslim.data import LabelledSet, train_loader
from ocrslim.errors import TrainingError
from ocrslim.training.amp import tell_precision
from ocrslim.training.checkpointing.resume import lost_best, shared_out
from ocrslim.training.checkpointing.run import BestWeights, Run
from ocrslim.training.checkpointing.saver import Saver
from ocrslim.training.checkpointing.snapshot import NonFinite
from ocrslim.training.checkpointing.state_file import TrainingState, check_shapes
from ocrslim.training.distillation import Distillation
from ocrslim.training.divergence import MAX_ROLLBACKS, Rollback, check_losses, divergence_error, exhausted
from ocrslim.training.monitoring.console import Display
from ocrslim.training.monitoring.history import Evaluation, Progress
from ocrslim.training.monitoring.recorder import build_recorder
from ocrslim.training.train_step import Stepper
from ocrslim.utils import Interrupts, RankLost, Ranks

logger = logging.getLogger(__name__)


@dataclass
class Trainer:
    """Trains `model`; `evaluate` scores it as it is when called.

    Where several processes train together, all of them hold the same weights, optimizer state and progress after every
    step, so that each takes by itself the same decisions as the others. Rank 0 alone evaluates, saves, draws and
    speaks; what depends on its clock, on its evaluations or on a signal, it tells the others.
    """

    model: nn.Layer
    run: Run
    labelled: LabelledSet
    evaluate: Callable[[], dict[str, float]]
    distillation: Distillation | None = None
    ranks: Ranks = field(default_factory=Ranks)
    interrupts: Interrupts = field(default_factory=Interrupts)
    intact: bool = True  # False in the middle of a step: such weights must not be saved
    elsewhere: bool = False  # True where the state that was taken over lies in another folder

    def __post_init__(self) -> None:
        config = self.run.config
        self.steps_per_epoch = len(train_loader(config, self.labelled, 0, part=self.ranks.part))
        self.stepper = Stepper(self.model, config, self.steps_per_epoch, self.distillation, self.ranks)
        self.progress = Progress(steps=self.steps_per_epoch * int(config.get("Global.epoch_num") or 1))
        self.rollback = Rollback(self.stepper)
        self.saver = Saver(self.run, self.stepper, self.rollback, self.interrupts, self.ranks.first)
        self.display = Display(self.progress, int(config.get("Global.print_batch_step") or 1))
        self.recorder = build_recorder(config, self.run.folder, self.run.metric, self.ranks.first)

    def take_over(self, state: TrainingState) -> BestWeights | None:
        """Continue from `state`, saying where; return its best weights, None if they are to be found anew.

        Raises:
            TrainingError: the run is finished, and its best weights are lost.
        """
        best = self.run.find_best(state)
        self.elsewhere = not self.run.owns(state)
        check_shapes(state, self.model)
        state = shared_out(state, self.ranks.count, self.progress.steps, self.steps_per_epoch)
        self.stepper.put_back(state)
        self.rollback.good = state.good
        self.progress = self.display.progress = state.progress
        if state.progress.finished:
            logger.info("%s: this run is finished (%s): nothing to train", state.path, self.position())
        else:
            logger.info("%s: continues at %s", state.path, self.position())
        if best is not None and best.fault is None:
            return best
        if best is not None:
            self.tell_lost(best, state)
        self.progress.forget_best()
        return None

    def follow(self) -> None:
        """Begin where rank 0 does, with its weights; it calls this as well.

        Raises:
            NonFinite: its weights are not finite.
            RankLost: it has ended.
        """
        if self.ranks.count == 1:
            return
        own = (self.stepper.take(self.progress), self.rollback.good) if self.ranks.first else None
        snapshot, good = self.ranks.share(own)
        if not self.ranks.first:
            self.stepper.put_back(snapshot)
            self.rollback.good = good
            self.progress = self.display.progress = snapshot.progress

    def tell_lost(self, best: BestWeights, state: TrainingState) -> None:
        """Say that the best weights are lost: in a warning, or in an error where no training is left."""
        progress, found = self.progress, self.progress.best
        score = f"{self.run.metric} {found.metrics[self.run.metric]:.4f} at step {found.step}" if found else ""
        if not progress.finished:
            logger.warning(
                "%s: %s: the best weights so far (%s) are lost; the best is found anew from %s on",
                best.path,
                best.fault,
                score,
                self.position(),
            )
            return
        if self.run.owns(state):  # make true what the message says of the last weights
            self.run.begin(state)
            self.saver.publish(self.progress, self.steps_per_epoch)
        raise lost_best(self.run, state, best, score)

    def position(self) -> str:
        """Where the run is, for people: the step just done, epochs from 1."""
        step = self.progress.step
        epoch = self.epoch()
        done = step - (epoch - 1) * self.steps_per_epoch if step else 0
        epochs = self.progress.steps // self.steps_per_epoch
        return f"epoch {max(epoch, 1)} of {epochs}, step {done} of {self.steps_per_epoch}"

    def epoch(self) -> int:
        """Epoch (from 1) of the last step done; 0 before the first."""
        return -(-self.progress.step // self.steps_per_epoch)

    def train(self) -> None:
        """Do the steps that are left; of a finished run, make what a kill behind its last step has kept from it."""
        if self.progress.finished:
            if self.elsewhere:
                self.save()
            elif self.ranks.first:
                self.saver.publish(self.progress, self.steps_per_epoch)
            self.recorder.draw(self.progress)
            return
        tell_precision(self.run.config)
        if self.stepper.average is not None:
            self.stepper.average.start()
        learning = self.distillation or contextlib.nullcontext()
        with self.interrupts, self.display, contextlib.closing(self.recorder), learning:
            try:
                with self.together():
                    self.recorder.go_on(self.progress)
                    self.save()
                    self.evaluate_if_due()
                    self.rollback.keep(self.progress)
                    while self.progress.step < self.progress.steps:
                        self.train_or_roll_back()
            except KeyboardInterrupt:
                self.save_interrupted()
                raise
            except NonFinite as error:
                raise self.diverged(str(error)) from None
        self.recorder.draw(self.progress)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Where there are other ranks, put signals off until all of them have agreed to stop."""
        if self.ranks.count == 1:
            yield
            return
        try:
            with self.interrupts.held():
                yield
        except RankLost:
            if self.interrupts.pending:
                self.interrupts.answer()  # that rank was told to end as well
            raise

    def train_or_roll_back(self) -> None:
        """Do what is left of an epoch, or find that training has diverged and go back.

        Raises:
            TrainingError: it has gone back as often as it may.
        """
        try:
            self.train_epoch()
        except NonFinite as error:
            with self.interrupts.held():
                self.roll_back(str(error))

    def train_epoch(self) -> None:
        """Do what is left of the epoch at hand."""
        epoch, done = divmod(self.progress.step, self.steps_per_epoch)
        self.model.train()
        batches = iter(train_loader(self.run.config, self.labelled, epoch, skip_batches=done, part=self.ranks.part))
        with contextlib.closing(batches):  # its worker processes end with it, also where training goes back
            for batch in batches:
                with self.interrupts.held():
                    self.intact = False
                    loss = self.stepper.step(batch, self.progress)
                    self.intact = True
                    self.recorder.step(self.progress.step, self.stepper.losses, self.stepper.rate)
                    self.saver.keep_epoch(self.progress, self.steps_per_epoch)
                    time_to_save = self.agree()
                self.display.step(self.position(), loss, self.stepper.rate, self.run.metric)
                check_losses(self.progress.recent)
                self.evaluate_if_due()
                self.rollback.keep(self.progress)
                if time_to_save:
                    self.save()
                    self.recorder.draw_now_and_then(self.progress)
        if self.progress.step != (epoch + 1) * self.steps_per_epoch:
            raise TrainingError(f"epoch {epoch + 1} ended at {self.position()}: run the same command again")
        self.save()

    def agree(self) -> bool:
        """Whether it is time to save: rank 0's clock says so to all.

        Raises:
            KeyboardInterrupt: one of the ranks has been told to stop: all do, after the same step.
        """
        said = self.ranks.exchange((self.interrupts.pending, self.saver.due))
        if any(stop for stop, _ in said):
            self.interrupts.answer()
        return said[0][1]

    def roll_back(self, what: str) -> None:
        """Go back to the last good state and on from there with half the learning rate; `what` says why.

        Raises:
            TrainingError: it has gone back as often as it may; `latest.*` is the last good state.
        """
        error, where, last = self.diverged(what), self.position(), exhausted(self.progress)
        self.progress = self.rollback.go_back(self.progress)
        self.intact = True
        self.saver.forget()
        self.display.go_back(self.progress)
        self.save()
        self.recorder.go_on(self.progress)
        self.ranks.exchange(None)  # no rank ends before the state is saved
        if last:
            raise error
        self.display.warn(
            f"training diverged after {where}: {what}; back to {self.position()}, and on with the learning rate "
            f"halved ({self.progress.rollbacks} of at most {MAX_ROLLBACKS} times)"
        )

    def diverged(self, what: str) -> TrainingError:
        return divergence_error(self.run.config, self.run.folder, self.position(), self.progress.rollbacks, what)

    def scored_weights(self) -> contextlib.AbstractContextManager[None]:
        """The model has the weights that are evaluated and kept: the averaged ones where there is an average."""
        average = self.stepper.average
        return contextlib.nullcontext() if average is None else average.applied(self.interrupts.held)

    def evaluate_if_due(self) -> None:
        """Evaluate before the first step, every so many steps, and after the last; keep the best."""
        if not self.progress.due(self.run.config.get("Global.eval_batch_step")):
            return
        self.save()  # an evaluation can take minutes: a kill then must not cost the steps before it
        with self.interrupts.released():
            found = self.ranks.share(self.measure() if self.ranks.first else None)
        with self.interrupts.held():
            self.record(found)
            self.recorder.evaluation(self.progress)
            self.save()
        self.recorder.draw_now_and_then(self.progress)
        best = self.progress.best or found
        self.display.say(
            f"{self.position()}: {self.run.metric} {found.metrics[self.run.metric]:.4f}"
            f" (best {best.metrics[self.run.metric]:.4f} at step {best.step})"
            + (", before training" if found.step == 0 else "")
            + (f", loss {found.loss:.4f}" if found.loss is not None else "")
        )

    def measure(self) -> Evaluation:
        """Score the model in eval mode."""
        with self.scored_weights():
            self.model.eval()
            metrics = {name: float(value) for name, value in self.evaluate().items()}
        self.model.train()
        score = metrics.get(self.run.metric)
        if score is None or not math.isfinite(score):
            raise TrainingError(
                f"{self.position()}: the evaluation gave {self.run.metric} {score}, expected a finite "
                "number: check Metric.main_indicator and the evaluation data"
            )
        progress = self.progress
        loss = progress.loss_sum / progress.loss_count if progress.loss_count else None
        return Evaluation(progress.step, self.epoch(), metrics, loss)

    def record(self, found: Evaluation) -> None:
        """Take an evaluation into the history; the later one of two equal scores counts as better."""
        progress = self.progress
        progress.history.append(found)
        best = progress.best
        if best is None or found.metrics[self.run.metric] >= best.metrics[self.run.metric]:
            progress.best = found
            if self.ranks.first:
                with self.scored_weights():
                    self.run.save_best(self.model, progress)
        progress.evaluated = progress.step
        progress.loss_sum, progress.loss_count = 0.0, 0

    def save(self) -> None:
        """Write `latest.*`, unless it is up to date."""
        with self.interrupts.held():
            self.recorder.flush()
            self.saver.save(self.progress, self.steps_per_epoch)

    def save_interrupted(self) -> None:
        average = self.stepper.average
        if self.intact and (average is None or not average.exchanged):
            self.save()
            self.display.say(f"interrupted after {self.position()}: saved; the same command continues there")
