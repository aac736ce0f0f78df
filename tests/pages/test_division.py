"""The division of a budget by measurement: what is tried, how it is corrected, and what is taken in the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ocrslim.errors import PlanError
from ocrslim.pages.division import AS_IT_CAME, GRID, Divider, shared_minutes, target_of
from ocrslim.pages.measuring import PageRow
from ocrslim.pages.stand import Seconds
from ocrslim.tasks import Line

PAGES = ("a", "b")
LINES = 100


@dataclass(frozen=True)
class File:
    """Stands for a network: how much of its seconds it takes, and which of a hundred lines it reads otherwise."""

    name: str
    part: float
    changed: int = 0


class Models:
    """Stands for the networks of a model: seconds and changes by the fraction removed."""

    def __init__(self, part, changed, most=1.0):
        self._part, self._changed, self._most = part, changed, most
        self.built: list[float] = []

    as_it_came = File("as it came", 1.0)

    @property
    def rewritten(self):
        return File("rewritten", self._part(0.0))

    def pruned(self, fraction):
        if fraction > self._most:
            return None
        self.built.append(fraction)
        network = File(f"{fraction:.2f}", self._part(fraction), round(self._changed(fraction)))
        return type("Plan", (), {"network": network})


class Meter:
    """Stands for the measurement: detection takes 0.2 s of a page and recognition 0.8 s."""

    def __init__(self, extra: float = 0.0):
        self.extra = extra  # seconds that two pruned networks together take more than each alone

    def read(self, first, pairs, pages, advance=lambda _: None):
        pass

    def rows(self, pair, pages):
        both = pair.detector.part < 1 and pair.recogniser.part < 1
        seconds = Seconds(0.2 * pair.detector.part, 0.8 * pair.recogniser.part + self.extra * both, 0.9)
        changed = pair.detector.changed + pair.recogniser.changed
        return [PageRow(page, [], lines(changed), seconds, Seconds(0.2, 0.8, 0.9)) for page in pages]


def lines(changed):
    box = np.float32([[0, 0], [90, 0], [90, 10], [0, 10]])
    return [Line(box + np.float32([0, 20 * n]), "other" if n < changed else f"line {n}") for n in range(LINES)]


def divider(det, rec, meter=None):
    networks = {"det": det, "rec": rec}
    return Divider(networks, meter or Meter(), PAGES), networks


def cheap_and_dear():
    """A detector that loses nothing, and a recogniser that loses a line with every hundredth that it is cut by."""
    return Models(lambda part: 1 - part, lambda _: 0), Models(lambda part: 1 - part, lambda part: 100 * part)


def chosen(found, target, tolerance=0.01):
    return found.chosen(target, tolerance, lambda _: None)


def test_time_is_taken_where_it_costs_nothing_first():
    found, _ = divider(*cheap_and_dear())
    best = chosen(found, 0.05)
    assert best.removed["rec"] == 0 and best.times.ratio <= 0.95 and best.agreement == 1.0


def test_the_budget_is_met_from_both_where_one_does_not_suffice():
    found, _ = divider(*cheap_and_dear())
    best = chosen(found, 0.3)
    assert best.times.ratio <= 0.7 and best.removed["det"] == GRID[-1]
    assert 0.2 <= best.removed["rec"] <= 0.35


def test_what_rewriting_reaches_alone_is_not_pruned():
    found, networks = divider(
        Models(lambda part: 0.6 * (1 - part), lambda part: 50 * part),
        Models(lambda part: 0.6 * (1 - part), lambda part: 50 * part),
    )
    best = chosen(found, 0.3)
    assert best.removed == {"det": 0.0, "rec": 0.0} and best.agreement == 1.0
    assert set(networks["det"].built) <= set(GRID)  # of the curves alone


def test_a_pair_that_takes_longer_than_its_parts_is_corrected():
    found, _ = divider(*cheap_and_dear(), Meter(extra=0.08))
    best = chosen(found, 0.3)
    pairs = [trial for trial in found.measured if min(trial.removed.values()) >= 0]
    assert len(pairs) > 1 and pairs[0].times.ratio > 0.7
    assert best.times.ratio <= 0.7


def test_larger_plans_are_made_only_where_the_budget_asks_for_them():
    found, networks = divider(*cheap_and_dear())
    chosen(found, 0.3)
    assert max(networks["rec"].built) <= max(GRID)
    found, networks = divider(*cheap_and_dear())
    assert chosen(found, 0.7).times.ratio <= 0.3
    assert 0.75 in networks["rec"].built


def test_a_target_out_of_reach_is_refused_with_the_largest_that_is_not():
    found, _ = divider(*cheap_and_dear())
    with pytest.raises(PlanError, match=r"latency=0\.9: out of reach: at most 0\.7\d\d of a page's seconds"):
        chosen(found, 0.9)


def test_a_network_of_which_little_can_be_removed_leaves_the_rest_to_the_other():
    det, rec = Models(lambda part: 1 - part, lambda _: 0, most=0.0), Models(lambda part: 1 - part, lambda _: 0)
    found, _ = divider(det, rec)
    best = chosen(found, 0.3)
    assert best.removed["det"] == 0.0 and best.times.ratio <= 0.7


def test_without_a_target_the_fastest_is_taken_that_the_tolerance_bears():
    found, _ = divider(*cheap_and_dear())
    best = chosen(found, None, tolerance=0.02)
    assert 1 - best.agreement <= 0.02 and best.removed["det"] == GRID[-1] and best.times.ratio < 0.91


def test_everything_that_was_tried_is_told():
    found, _ = divider(*cheap_and_dear())
    chosen(found, 0.3)
    targets = [trial.to_json()["target"] for trial in found.measured]
    assert targets[0] == {} and {"det.macs": 0.25} in targets and {"rec.macs": 0.5} in targets
    assert any(len(target) == 2 for target in targets)
    assert found.losses({"det": 0.5, "rec": 0.5}) == pytest.approx({"det": 0.0, "rec": 0.5})
    assert target_of({"det": AS_IT_CAME, "rec": 0.0}) == {"rec.macs": 0.0}


@pytest.mark.parametrize(
    "removed, losses, minutes",
    [
        ({"det": 0.5, "rec": 0.3}, {"det": 0.01, "rec": 0.03}, {"det": 5.0, "rec": 15.0}),
        ({"det": 0.5, "rec": 0.3}, {"det": 0.0, "rec": 0.03}, {"det": 20 / 6, "rec": 100 / 6}),  # a fifth at least
        ({"det": 0.5, "rec": 0.3}, {"det": 0.0, "rec": 0.0}, {"det": 10.0, "rec": 10.0}),
        ({"det": 0.0, "rec": 0.3}, {"det": 0.0, "rec": 0.03}, {"rec": 20.0}),  # what was not pruned
        ({"det": 0.0, "rec": 0.0}, {"det": 0.0, "rec": 0.0}, {}),
    ],
)
def test_minutes_go_where_agreement_was_lost(removed, losses, minutes):
    assert shared_minutes(removed, losses, 20.0) == pytest.approx(minutes, rel=1e-4)
