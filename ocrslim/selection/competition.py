"""Candidate plans compete: scored as they are refitted, then the best few trained, fewer and longer in each round.

What a plan scores before training does not tell what training makes of it (docs/selection.md). Successive halving
(Jamieson and Talwalkar, arXiv 1502.07943, section 3): each round has the same number of epochs, and the better half of
its candidates goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from ocrslim.pruning import Plan

logger = logging.getLogger(__name__)

_MOST = 4  # candidates that are trained


@dataclass(frozen=True)
class Candidate:
    """A plan that competed.

    Attributes:
        recipe: name of how it was made.
        layers: number of pruned layers.
        macs: removed fraction.
        score: of the pruned and refitted network before training.
        trained: score after each training that it took part in, from the shortest to the longest.
        used: it is the one that was chosen.
    """

    recipe: str
    layers: int
    macs: float
    score: float
    trained: tuple[float, ...] = ()
    used: bool = False


class Competing(Protocol):
    """A plan that competes."""

    @property
    def plan(self) -> Plan:
        """The plan."""

    def candidate(self, score: float) -> Candidate:
        """Describe it, with its score before training."""


One = TypeVar("One", bound=Competing)


@dataclass(frozen=True)
class Trials(Generic[One]):
    """Trainings that candidates are compared by.

    Attributes:
        epochs: of all of them together, found with the candidate that scores best before training.
        train: trains a candidate for some epochs and returns its score.
    """

    epochs: Callable[[One], int]
    train: Callable[[One, int], float]


def compete(
    choices: Sequence[One], score: Callable[[Plan], float], trials: Trials[One] | None = None
) -> tuple[One, tuple[Candidate, ...]]:
    """Return the best of several candidates, the first of equals, and what is known of all, in their order.

    Args:
        score: scores a plan before training.
        trials: None where nothing is trained.
    """
    logger.info("%d candidate plans; each is pruned, refitted and scored before training:", len(choices))
    known = []
    for choice in choices:
        known.append(choice.candidate(score(choice.plan)))
        what = f"{known[-1].recipe}: {known[-1].layers} layers pruned, {known[-1].macs:.1%} of the MACs removed"
        logger.info("  %s: %.4f", what, known[-1].score)
    left = sorted(range(len(choices)), key=lambda place: -known[place].score)
    if trials is not None:
        left = _halved(choices, known, left, trials)
    known[left[0]] = replace(known[left[0]], used=True)
    logger.info("the best candidate is used: %s", known[left[0]].recipe)
    return choices[left[0]], tuple(known)


def _halved(choices: Sequence[One], known: list[Candidate], order: Sequence[int], trials: Trials[One]) -> list[int]:
    """Train the best few, add their scores to `known`, and return them, the best one first."""
    total = trials.epochs(choices[order[0]])
    left = [*order[: trained_at_most(len(order), total)]]
    rounds = _rounds(len(left))
    for _ in range(rounds):
        epochs = total // (rounds * len(left))
        for place in left:
            logger.info("%s: trained for %d epochs, to be compared", known[place].recipe, epochs)
            found = trials.train(choices[place], epochs)
            known[place] = replace(known[place], trained=(*known[place].trained, found))
            logger.info("  %s: %.4f after %d epochs", known[place].recipe, found, epochs)
        left.sort(key=lambda place: -known[place].trained[-1])
        left = left[: -(-len(left) // 2)]
    return left


def trained_at_most(candidates: int, epochs: int) -> int:
    """Return how many candidates can be compared by trainings of at least one epoch each; 1: there is no comparison."""
    return max(many for many in range(1, min(candidates, _MOST) + 1) if many == 1 or epochs >= _rounds(many) * many)


def _rounds(candidates: int) -> int:
    """Return the rounds until one of so many is left."""
    return (candidates - 1).bit_length()
