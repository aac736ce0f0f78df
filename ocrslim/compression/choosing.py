"""Which plan: for the target that is asked for, or the largest that the images bear."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ocrslim.compression.journal import Advance, Journal
from ocrslim.config import Config
from ocrslim.data import scan_both
from ocrslim.errors import PlanError
from ocrslim.pruning import MACS, Plan, PrunableNetwork, load_base_network, load_prunable_network
from ocrslim.selection import CandidateScores, Choice, choose_plan

logger = logging.getLogger(__name__)

TOLERANCE = 0.01  # of agreement, that the largest target may cost
_STEP, _FIRST, _LAST = 0.05, 6, 18  # targets are multiples of the step: the one tried first, and the largest
_TRIALS = "tried"  # in the journal
Trial = dict[str, Any]


class Chooser:
    """Chooses plans for one network on its images.

    Attributes:
        network: the unpruned one.
    """

    def __init__(self, config: Config):
        """
        Args:
            config: `Train` names the images to calibrate on, `Eval` those to choose by, with what the network finds in
                them.
        """
        self._config = config
        self._data = scan_both(config)
        self._scores = CandidateScores(config, load_base_network(config), self._data)
        self.network: PrunableNetwork = load_prunable_network(config, self._data[0], inputs=self._scores.inputs)

    def choose(self, target: Mapping[str, float]) -> Choice:
        """Choose the plan for a target: of the candidates the one that agrees best, pruned and refitted.

        Raises:
            PlanError: it cannot be reached, or nothing can be pruned.
        """
        return choose_plan(self.network.with_target(target), self._score)

    def trial(self, target: Mapping[str, float]) -> Trial:
        """Tell what a target would leave of the costs and of the agreement; nothing is kept.

        Raises:
            PlanError: as `choose`.
        """
        choice = self.choose(target)
        agreement = self._score(choice.plan)
        costs = {kind: 1 - choice.left(kind) for kind in (MACS, "params")}
        return {"target": dict(target), **costs, "agreement": agreement}

    def _score(self, plan: Plan) -> float:
        return self._scores.score_as_kept(self._config, plan)

    def largest(self, journal: Journal, advance: Advance) -> Mapping[str, float] | None:
        """Find the largest part of the MACs whose removal costs at most `TOLERANCE` of agreement; None for none.

        Each trial is in the journal as soon as it is made.
        """
        known = {trial["target"][MACS]: trial for trial in (journal.kept(_TRIALS) or {}).get("trials", ())}

        def bearable(step: int) -> bool:
            fraction = round(step * _STEP, 2)
            if fraction not in known:
                known[fraction] = self._tried({MACS: fraction})
                journal.keep(_TRIALS, {"trials": [*known.values()]})
            advance(1 / 5)
            return bool(known[fraction]["agreement"] >= 1 - TOLERANCE)

        step = largest_bearable(bearable)
        return {MACS: round(step * _STEP, 2)} if step else None

    def _tried(self, target: Mapping[str, float]) -> Trial:
        try:
            found = self.trial(target)
        except PlanError as error:
            logger.info("%s", error)
            return {"target": dict(target), "agreement": 0.0, "unreachable": str(error)}
        logger.info("without %.0f %% of the MACs: agreement %.4f", 100 * found[MACS], found["agreement"])
        return found


def largest_bearable(bearable: Callable[[int], bool], first: int = _FIRST, last: int = _LAST) -> int:
    """Find the largest step, 1 .. last, that is bearable, by bisection; 0 where not even the first one is.

    It takes that what is beyond an unbearable step is unbearable as well.
    """
    low, high, step = 0, last + 1, first
    while high - low > 1:
        low, high = (step, high) if bearable(step) else (low, step)
        step = (low + high) // 2
    return low


def trials_of(journal: Journal) -> list[Trial]:
    """Return the trials of a run that could be made, by target."""
    trials = [trial for trial in (journal.kept(_TRIALS) or {}).get("trials", []) if "unreachable" not in trial]
    return sorted(trials, key=lambda trial: float(next(iter(trial["target"].values()))))
