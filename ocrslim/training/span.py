"""Length of a training run, and positions in it as people read them."""

from __future__ import annotations

from dataclasses import dataclass

from ocrslim.config import Config


@dataclass(frozen=True)
class Span:
    """Length of a training run in optimizer steps."""

    steps_per_epoch: int
    epochs: int

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def epoch(self, step: int) -> int:
        """Return the epoch (from 1) of the last of `step` steps done; 0 before the first."""
        return -(-step // self.steps_per_epoch)

    def position(self, step: int) -> str:
        """Describe the position after `step` steps: the step just done, epochs from 1."""
        if not self.epochs:
            return "without training"
        epoch = self.epoch(step)
        done = step - (epoch - 1) * self.steps_per_epoch if step else 0
        return f"epoch {max(epoch, 1)} of {self.epochs}, step {done} of {self.steps_per_epoch}"


def build_span(config: Config, steps_per_epoch: int) -> Span:
    """Build the span of a run of `Global.epoch_num` epochs, 1 where that is left out."""
    return Span(steps_per_epoch, epochs_of(config))


def epochs_of(config: Config) -> int:
    """Return the epochs of a training; 0 where a network is only pruned and refitted."""
    return int(config.get("Global.epoch_num", 1))
