"""The division of a time budget over a detector and a recogniser, by what is measured on pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ocrslim.config import DETECTOR, RECOGNISER
from ocrslim.errors import PlanError
from ocrslim.pages.budget import Curve, Division, Point, divide, fastest, least
from ocrslim.pages.measuring import PageMeter, PageRow, PageTimes, Pair, times_of
from ocrslim.pages.networks import NetworkFile, Networks
from ocrslim.pages.request import LATENCY
from ocrslim.tasks import ImageCounts, count_lines, scores_of

logger = logging.getLogger(__name__)

GRID = (0.25, 0.5)  # fractions of the MACs by which the curves are known: each takes a refit of each network
_BEYOND = 0.75  # where these do not reach the budget
_CORRECTIONS = 3  # pairs that are measured, at most
_ENOUGH = 0.03  # of a page's seconds, that a pair may be faster than the budget
_LEAST_SHARE = 0.2  # of the minutes of training, for each of two networks that are pruned
_LEAST_LOSS = 1e-6
Advance = Callable[[float], object]
Fractions = Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """A pair that was measured on the pages to choose by.

    Attributes:
        removed: fraction of the MACs by network; -1 for a model as it came.
        times: mean seconds a page.
        agreement: line F1 against what the pair as it came reads (0..1).
    """

    removed: dict[str, float]
    times: PageTimes
    agreement: float

    def to_json(self) -> dict[str, Any]:
        """Return what the record has of it."""
        target = target_of(self.removed)
        times = {name: round(value, 5) for name, value in asdict(self.times).items()}
        return {"target": target, **times, "agreement": self.agreement}


AS_IT_CAME = -1.0  # in `Trial.removed`


def target_of(removed: Fractions) -> dict[str, float]:
    """Return by "det.macs" and "rec.macs" the fractions removed; a model as it came is left out."""
    return {f"{task}.macs": fraction for task, fraction in removed.items() if fraction != AS_IT_CAME}


class Divider:
    """Divides a budget over two networks."""

    def __init__(self, networks: Mapping[str, Networks], meter: PageMeter, pages: Sequence[str]):
        """
        Args:
            networks: by task.
            pages: to choose by.
        """
        self._networks, self._meter, self._pages = networks, meter, pages
        self._trials: dict[Pair, Trial] = {}
        self._known: dict[str, Curve] = {}

    @property
    def measured(self) -> list[Trial]:
        """All pairs that were measured."""
        return [*self._trials.values()]

    @property
    def first(self) -> Pair:
        """The pair as it came."""
        return self.pair({DETECTOR: AS_IT_CAME, RECOGNISER: AS_IT_CAME})

    def pair(self, removed: Fractions) -> Pair:
        """Return the pair without fractions of its MACs, built where it is not there yet.

        Raises:
            PlanError: so much cannot be removed.
        """
        files = {}
        for task, fraction in removed.items():
            file = self._file(task, fraction)
            if file is None:
                raise PlanError(f"--{task}: {fraction:.0%} of its MACs cannot be removed: lower --target")
            files[task] = file
        return Pair(files[DETECTOR], files[RECOGNISER])

    def _file(self, task: str, fraction: float) -> NetworkFile | None:
        networks = self._networks[task]
        if fraction == AS_IT_CAME:
            return networks.as_it_came
        if not fraction:
            return networks.rewritten
        plan = networks.pruned(fraction)
        return None if plan is None else plan.network

    def build(self, advance: Advance) -> None:
        """Make the networks that the curves are measured with."""
        for fraction in (0.0, *GRID):
            for task in self._networks:
                self._file(task, fraction)
                advance(1 / (2 * (1 + len(GRID))))

    def chosen(self, target: float | None, tolerance: float, advance: Advance) -> Trial:
        """Measure the curves, divide the budget, and correct the division by what its pair takes; return the best pair.

        Args:
            target: the fraction of a page's seconds to remove; None for the most that costs at most `tolerance`.
            tolerance: loss of agreement.

        Raises:
            PlanError: the target is out of reach; with the largest that is not.
        """
        curves = self._curves(GRID, advance)
        whole = self._seconds().page
        budget = None if target is None else (1 - target) * whole
        if budget is not None and least(*curves) > budget:
            curves = self._curves((*GRID, _BEYOND), advance)
            self._require(least(*curves) / whole, target)
        if budget is None:
            pairs = self._pairs(lambda loss: fastest(*curves, loss), tolerance, lambda one: 1 - one.agreement, 0.0)
        else:
            spare = _ENOUGH * whole
            pairs = self._pairs(lambda most: divide(*curves, most), budget, lambda one: _ratio(one) * whole, spare)
        advance(0.5)
        return _best(pairs or [self._trial({DETECTOR: 0.0, RECOGNISER: 0.0})], target, tolerance)

    def _pairs(
        self,
        division_within: Callable[[float], Division | None],
        limit: float,
        measured: Callable[[Trial], float],
        spare: float,
    ) -> list[Trial]:
        """Measure the pair that is expected to keep a limit, and where it is off, those expected to be nearer to it.

        Args:
            division_within: gives the division for a limit.
            measured: what of a trial is limited.
            spare: how far below the limit is near enough.
        """
        pairs: list[Trial] = []
        asked = limit
        for _ in range(_CORRECTIONS):
            division = division_within(asked)
            removed = None if division is None else _fractions(division)
            if removed is None or any(removed == pair.removed for pair in pairs):
                break
            pairs.append(self._trial(removed))
            off = limit - measured(pairs[-1])
            if 0 <= off <= spare:
                break
            asked = max(0.0, asked + off - spare / 3)
        return pairs

    def _require(self, ratio: float, target: float | None) -> None:
        if target is not None and ratio > 1 - target:
            reached = int(1000 * (1 - ratio)) / 1000
            raise PlanError(
                f"--target {LATENCY}={target:g}: out of reach: at most {reached:.3f} of a page's seconds can be "
                "removed from both together: lower it, or keep fewer characters of the recogniser first "
                "(ocrslim charset)"
            )

    def _curves(self, fractions: Sequence[float], advance: Advance) -> tuple[Curve, Curve]:
        wanted: list[dict[str, float]] = []
        for task, other in ((DETECTOR, RECOGNISER), (RECOGNISER, DETECTOR)):
            known = [fraction for fraction in (0.0, *fractions) if self._file(task, fraction) is not None]
            wanted += [{task: fraction, other: AS_IT_CAME} for fraction in known]
        wanted.insert(0, {DETECTOR: AS_IT_CAME, RECOGNISER: AS_IT_CAME})
        pairs = [self.pair(removed) for removed in wanted]
        self._meter.read(self.first, pairs, self._pages, lambda part: advance(part / 2))
        trials = [self._trial(removed) for removed in wanted][1:]
        detection = [self._point(one, DETECTOR) for one in trials if one.removed[RECOGNISER] == AS_IT_CAME]
        recognition = [self._point(one, RECOGNISER) for one in trials if one.removed[DETECTOR] == AS_IT_CAME]
        self._known = {DETECTOR: Curve(detection), RECOGNISER: Curve(recognition)}
        return self._known[DETECTOR], self._known[RECOGNISER]

    def losses(self, removed: Fractions) -> dict[str, float]:
        """Return the agreement that each network alone costs, by the curves that `chosen` has measured."""
        parts = {task: max(0.0, fraction) for task, fraction in removed.items()}
        return {task: float(self._known[task].loss(np.array(part))) for task, part in parts.items()}

    def _point(self, trial: Trial, task: str) -> Point:
        """Return the point of a curve; seconds are relative to the first pair's in the same turns."""
        step = 0 if task == DETECTOR else 1
        rows = self._meter.rows(self.pair(trial.removed), self._pages)
        part = sum(row.seconds[step] for row in rows) / max(sum(row.first[step] for row in rows), 1e-9)
        whole = self._seconds()
        return Point(trial.removed[task], part * (whole.detection, whole.recognition)[step], 1 - trial.agreement)

    def _seconds(self) -> PageTimes:
        """Return the mean seconds of the first pair."""
        return times_of(self._meter.rows(self.first, self._pages))

    def _trial(self, removed: dict[str, float]) -> Trial:
        pair = self.pair(removed)
        self._meter.read(self.first, [pair], self._pages)
        rows = self._meter.rows(pair, self._pages)
        counts = agreement_counts(rows, self._meter.rows(self.first, self._pages))
        found = Trial(dict(removed), times_of(rows), scores_of(counts)["hmean"])
        if pair not in self._trials:
            said = (_said(removed), 100 * found.times.ratio, found.agreement)
            logger.info("%s: %.0f %% of the seconds, agreement %.4f", *said)
        self._trials[pair] = found
        return found


def _best(trials: Sequence[Trial], target: float | None, tolerance: float) -> Trial:
    """Return the pair that keeps the target and costs least, or the fastest that costs no more than the tolerance."""
    if target is None:
        bearable = [one for one in trials if 1 - one.agreement <= tolerance]
        return min(bearable, key=_ratio) if bearable else max(trials, key=lambda one: one.agreement)
    within = [one for one in trials if _ratio(one) <= 1 - target]
    return max(within, key=lambda one: (one.agreement, -_ratio(one))) if within else min(trials, key=_ratio)


def _ratio(trial: Trial) -> float:
    return trial.times.ratio


def agreement_counts(rows: Sequence[PageRow], first: Sequence[PageRow]) -> list[ImageCounts]:
    """Compare what a pair read with what the first pair read, page by page."""
    expected = {row.page: row.lines for row in first}
    return [count_lines(row.lines, expected[row.page]) for row in rows]


def _fractions(division: Division) -> dict[str, float]:
    return {DETECTOR: round(division.detection, 2), RECOGNISER: round(division.recognition, 2)}


def _said(removed: Fractions) -> str:
    said = {AS_IT_CAME: "as it came", 0.0: "rewritten"}
    return ", ".join(f"{task} {said.get(part, f'without {part:.0%} of its MACs')}" for task, part in removed.items())


def shared_minutes(removed: Fractions, losses: Mapping[str, float], minutes: float) -> dict[str, float]:
    """Divide the minutes of training over the networks that are pruned, by the agreement that each costs alone.

    Args:
        removed: fractions of the MACs, by network.
        losses: of agreement, by network.
    """
    pruned = [task for task, fraction in removed.items() if fraction > 0]
    if not minutes or not pruned:
        return {}
    shares = {task: max(losses[task], _LEAST_LOSS) for task in pruned}
    whole = sum(shares.values())
    shares = {task: max(_LEAST_SHARE, share / whole) for task, share in shares.items()}
    return {task: minutes * share / sum(shares.values()) for task, share in shares.items()}
