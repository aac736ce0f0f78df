"""Minimum cuts against trying every choice."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from ocrslim.inference.incremental.min_cut import MinimumCut

NODES = tuple("abcdefg")
NEVER = float("inf")


class Problem:
    """A random choice problem, kept twice: as a cut, and as plain lists to be tried out."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.costs = {node: NEVER if rng.random() < 0.1 else float(rng.integers(0, 9)) for node in NODES}
        pairs = [(a, b) for a in NODES for b in NODES if a != b and rng.random() < 0.3]
        self.implied = [pair for pair in pairs if rng.random() < 0.4]
        self.between = {pair: float(rng.integers(0, 9)) for pair in pairs if pair not in self.implied}
        self.required = [node for node in NODES if rng.random() < 0.3]

    def cost(self, chosen: frozenset[str]) -> float:
        if not chosen.issuperset(self.required) or any(a in chosen and b not in chosen for a, b in self.implied):
            return NEVER
        apart = sum(cost for (a, b), cost in self.between.items() if a in chosen and b not in chosen)
        return sum(self.costs[node] for node in chosen) + apart

    def cheapest(self) -> tuple[float, frozenset[str]]:
        """The least cost, and what all choices of that cost have in common."""
        choices = [frozenset(c) for c in chain.from_iterable(combinations(NODES, n) for n in range(len(NODES) + 1))]
        costs = [self.cost(choice) for choice in choices]
        best = [choice for choice, cost in zip(choices, costs) if cost == min(costs)]
        return min(costs), frozenset.intersection(*best)

    def as_cut(self) -> MinimumCut:
        cut = MinimumCut()
        for node, cost in self.costs.items():
            cut.pay(node, cost)
        for (a, b), cost in self.between.items():
            cut.pay_between(a, b, cost)
        for a, b in self.implied:
            cut.imply(a, b)
        for node in self.required:
            cut.require(node)
        return cut


def test_the_choice_is_the_cheapest_and_the_smallest_of_those():
    sizes = set()
    for seed in range(200):
        problem = Problem(seed)
        cost, smallest = problem.cheapest()
        if cost < NEVER:
            assert problem.as_cut().chosen() == smallest, seed
            sizes.add(len(smallest))
    assert len(sizes) > 4, "the problems are too much alike to prove anything"


def test_costs_for_one_node_add_up():
    cut = MinimumCut()
    cut.require("reader")
    cut.pay_between("reader", "value", 5.0)
    cut.pay("value", 3.0)
    assert cut.chosen() == {"reader", "value"}
    cut.pay("value", 3.0)
    assert cut.chosen() == {"reader"}


def test_what_is_required_stays_required_whatever_is_paid_for_it_later():
    cut = MinimumCut()
    cut.require("op")
    cut.imply("op", "input")
    cut.pay("op", 1e12)
    cut.pay("input", 1e12)
    cut.pay_between("op", "input", 1.0)
    assert cut.chosen() == {"op", "input"}


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15], ids=["tiny", "plain", "huge"])
def test_the_unit_of_the_costs_does_not_matter(scale):
    cut = MinimumCut()
    cut.require("end")
    cut.pay_between("end", "middle", 3.0 * scale)
    cut.pay("middle", 1.0 * scale)
    cut.pay_between("middle", "start", 4.0 * scale)
    cut.pay("start", 1.0 * scale)
    assert cut.chosen() == {"end", "middle", "start"}


def test_hundreds_of_equal_costs_do_not_overflow():
    """Flows are integers of 32 bits; a network has hundreds of values of the same size."""
    cut = MinimumCut()
    count = 400
    for n in range(count):
        cut.require(("reader", n))
        cut.pay_between(("reader", n), ("value", n), 1e6)
        cut.pay(("value", n), 0.9e6 if n % 2 else 1.1e6)
    chosen = cut.chosen()
    assert {n for n in range(count) if ("value", n) in chosen} == set(range(1, count, 2))


def test_nothing_is_chosen_where_nothing_is_required():
    cut = MinimumCut()
    assert cut.chosen() == set()
    cut.pay("a", 1.0)
    cut.imply("b", "a")
    assert cut.chosen() == set()
    free = MinimumCut()
    free.pay("a", 0.0)
    assert free.chosen() == set()
