"""A budget divided over two networks: what is taken from which, and where there is no way."""

from __future__ import annotations

import itertools

import pytest

from ocrslim.pages.budget import Curve, Point, divide, fastest, least

CHEAP = [Point(0.0, 0.2, 0.0), Point(0.3, 0.15, 0.001), Point(0.6, 0.1, 0.01)]  # a detector
DEAR = [Point(0.0, 0.8, 0.0), Point(0.3, 0.6, 0.05), Point(0.6, 0.4, 0.3)]  # a recogniser


def test_what_costs_least_is_taken_first():
    found = divide(Curve(CHEAP), Curve(DEAR), 0.9)
    assert found.detection == pytest.approx(0.6) and found.recognition == 0
    assert found.seconds == pytest.approx(0.9) and found.loss == pytest.approx(0.01)


def test_the_rest_comes_from_the_other_network_and_no_pair_of_the_grid_is_better():
    detection, recognition, budget = Curve(CHEAP), Curve(DEAR), 0.75
    found = divide(detection, recognition, budget)
    assert found.seconds <= budget and 0 < found.recognition < 0.3
    pairs = itertools.product(detection.fractions, recognition.fractions)
    within = [(d, r) for d, r in pairs if detection.seconds(d) + recognition.seconds(r) <= budget]
    assert found.loss <= min(detection.loss(d) + recognition.loss(r) for d, r in within) + 1e-6


def test_a_budget_that_is_kept_already_removes_nothing():
    found = divide(Curve(CHEAP), Curve(DEAR), 1.0)
    assert (found.detection, found.recognition, found.loss) == (0, 0, 0)


def test_a_budget_out_of_reach_has_no_division_and_the_fastest_is_said():
    assert divide(Curve(CHEAP), Curve(DEAR), 0.49) is None
    assert least(Curve(CHEAP), Curve(DEAR)) == pytest.approx(0.5)


def test_noise_makes_no_larger_plan_slower_and_none_better_than_a_smaller_one():
    noisy = Curve([Point(0.6, 0.5, 0.01), Point(0.0, 1.0, -0.002), Point(0.3, 1.1, 0.02)])  # in any order
    assert noisy.seconds(0.3) == 1.0 and noisy.loss(0.0) == 0 and noisy.loss(0.6) == pytest.approx(0.02)


def test_a_network_without_plans_is_left_as_it_is():
    found = divide(Curve(CHEAP[:1]), Curve(DEAR), 0.9)
    assert found.detection == 0 and found.recognition > 0


def test_without_a_budget_as_much_is_removed_as_the_tolerance_bears():
    detection, recognition = Curve(CHEAP), Curve(DEAR)
    found = fastest(detection, recognition, 0.01)
    assert found.loss <= 0.01 and found.seconds < 0.95
    assert fastest(detection, recognition, 0.0).seconds == pytest.approx(1.0)


def test_the_same_part_off_each_is_found_on_each_curve_alone():
    assert Curve(DEAR).reaching(0.6) == pytest.approx(0.3)
    assert Curve(DEAR).reaching(0.9) == 0 and Curve(DEAR).reaching(0.3) is None
