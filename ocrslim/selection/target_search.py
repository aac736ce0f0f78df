"""The units that go from each group so that a cost falls to a limit at the least damage: the search alone.

The cost is not a sum over groups (a convolution costs its inputs x its outputs), the damage is. Lagrange's relaxation
with coordinate descent (minimise damage + price x cost, one group at a time, the price found by bisection) gives a
plan near the limit; exchanges between pairs of groups then use up what is left below it. Everett, "Generalized
Lagrange Multiplier Method", Operations Research 11 (1963), section 1: what minimises the sum for some price is optimal
for the cost that it reaches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocrslim.pruning import CostOfCounts

_PRICES = 40  # steps of the bisection
_SWEEPS = 20  # over all groups at one price; a handful settle it
_STARTS = 2  # plans that the exchanges start from, and the cheapest of all
_ROUNDS = 3  # of trying to do without one of the groups; each only where the last one helped
_NEAR, _SPREAD = 4, 16  # of a group's choices, those that an exchange tries: neighbours, and some over the range
_EPSILON = 1e-12


@dataclass(frozen=True)
class Problem:
    """What to choose from, and what it does.

    Attributes:
        choices: units of each group that may go, ascending from 0; int [choices] by group.
        damages: of each choice, 0 for the first, not falling; float [choices] by group.
        cost: of the units that go.
    """

    choices: Sequence[np.ndarray]
    damages: Sequence[np.ndarray]
    cost: CostOfCounts

    def counts(self, picks: np.ndarray) -> np.ndarray:
        """Units that go, by the index of each group's choice."""
        return np.array([choice[pick] for choice, pick in zip(self.choices, picks)], dtype=np.int64)

    def total(self, picks: np.ndarray) -> float:
        """Cost of the whole network."""
        return float(self.cost(self.counts(picks)[None])[0])

    def damage(self, picks: np.ndarray) -> float:
        """Sum over the groups."""
        return float(sum(damage[pick] for damage, pick in zip(self.damages, picks)))

    def costs(self, picks: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """Cost with each of `options` for `group`, the others as in `picks`."""
        rows = np.repeat(self.counts(picks)[None], len(options), axis=0)
        rows[:, group] = self.choices[group][options]
        return self.cost(rows)


def cheapest(problem: Problem) -> np.ndarray:
    """Picks of the least cost whatever the damage."""
    picks = np.array([len(choice) - 1 for choice in problem.choices])
    return _descend(problem, picks, np.inf)


def search(problem: Problem, limit: float) -> np.ndarray | None:
    """Picks of the least damage that cost at most `limit`; None where nothing does."""
    most = cheapest(problem)
    if problem.total(most) > limit:
        return None
    found = {tuple(picks): picks for picks in _relaxations(problem, limit, most) if problem.total(picks) <= limit}
    starts = [*sorted(found.values(), key=problem.damage)[:_STARTS], most]
    best = min((_exchange(problem, picks, limit) for picks in starts), key=problem.damage)
    for _ in range(_ROUNDS):
        others = [_exchange(problem, picks, limit) for picks in _without_one(problem, best, limit)]
        better = min([best, *others], key=problem.damage)
        if better is best:
            break
        best = better
    return best


def _relaxations(problem: Problem, limit: float, most: np.ndarray) -> Iterator[np.ndarray]:
    """What each price of the bisection gives, from below and from above."""
    nothing = np.zeros(len(most), dtype=np.int64)
    span = max(problem.total(nothing) - problem.total(most), _EPSILON)
    scale = max(problem.damage(most), _EPSILON) / span
    low, high = np.log(scale * 1e-6), np.log(scale * 1e6)
    for _ in range(_PRICES):
        middle = (low + high) / 2
        found = [_descend(problem, start, float(np.exp(middle))) for start in (nothing, most)]
        yield from found
        if min(problem.total(picks) for picks in found) <= limit:
            high = middle
        else:
            low = middle


def _descend(problem: Problem, picks: np.ndarray, price: float) -> np.ndarray:
    """Coordinate descent on damage + price x cost; on the cost alone at an infinite price."""
    picks = picks.copy()
    for _ in range(_SWEEPS):
        before = picks.copy()
        for group, choice in enumerate(problem.choices):
            costs = problem.costs(picks, group, np.arange(len(choice)))
            value = costs if np.isinf(price) else problem.damages[group] + price * costs
            least = int(np.argmin(value))
            if value[least] < value[picks[group]] - _EPSILON * abs(value[least]):
                picks[group] = least
        if (picks == before).all():
            break
    return picks


def _without_one(problem: Problem, best: np.ndarray, limit: float) -> Iterator[np.ndarray]:
    """For each group that `best` prunes, a plan that leaves it alone: what costs least damage per saving goes instead.

    Exchanges of two groups cannot get there where two or more others are needed in its place.
    """
    for left_alone in np.flatnonzero(best):
        picks = best.copy()
        picks[left_alone] = 0
        while problem.total(picks) > limit:
            step = _next_step(problem, picks, int(left_alone), limit)
            if step is None:
                break
            picks[step[0]] = step[1]
        else:
            yield picks


def _next_step(problem: Problem, picks: np.ndarray, left_alone: int, limit: float) -> tuple[int, int] | None:
    """The group and its choice of the least damage per saving; saving beyond `limit` counts nothing."""
    now, found = problem.total(picks), []
    for group, choice in enumerate(problem.choices):
        further = np.arange(picks[group] + 1, len(choice))
        if group == left_alone or not len(further):
            continue
        savings = now - np.maximum(problem.costs(picks, group, further), limit)
        added = problem.damages[group][further] - problem.damages[group][picks[group]]
        price = np.where(savings > 0, added / np.maximum(savings, _EPSILON), np.inf)
        least = int(np.argmin(price))
        if np.isfinite(price[least]):
            found.append((float(price[least]), group, int(further[least])))
    return min(found)[1:] if found else None


def _exchange(problem: Problem, picks: np.ndarray, limit: float) -> np.ndarray:
    """Change two groups at a time as long as the damage falls and the cost stays within `limit`."""
    picks, improved = picks.copy(), True
    free = [group for group, choice in enumerate(problem.choices) if len(choice) > 1]
    while improved:
        improved = False
        for pair in itertools.combinations(free, 2):
            improved |= _exchange_pair(problem, picks, pair, limit)
    return picks


def _exchange_pair(problem: Problem, picks: np.ndarray, pair: tuple[int, int], limit: float) -> bool:
    """The best of the tried choices of two groups, entered in `picks` where it is better."""
    one, other = pair
    tried = [_nearby(len(problem.choices[group]), int(picks[group])) for group in pair]
    rows = np.repeat(problem.counts(picks)[None], len(tried[0]) * len(tried[1]), axis=0)
    grid = np.stack([part.ravel() for part in np.meshgrid(*tried, indexing="ij")])
    damages = problem.damages[one][grid[0]] + problem.damages[other][grid[1]]
    better = damages < problem.damages[one][picks[one]] + problem.damages[other][picks[other]] - _EPSILON
    grid, damages, rows = grid[:, better], damages[better], rows[better]
    if not len(damages):
        return False
    rows[:, one], rows[:, other] = problem.choices[one][grid[0]], problem.choices[other][grid[1]]
    damages = np.where(problem.cost(rows) <= limit, damages, np.inf)
    least = int(np.argmin(damages))
    if np.isinf(damages[least]):
        return False
    picks[one], picks[other] = grid[:, least]
    return True


def _nearby(count: int, pick: int) -> np.ndarray:
    """Indices to try: all where they are few, else the neighbours and some over the range."""
    spread = np.linspace(0, count - 1, min(count, _SPREAD)).round().astype(np.int64)
    near = np.arange(max(0, pick - _NEAR), min(count, pick + _NEAR + 1))
    return np.union1d(spread, near)
