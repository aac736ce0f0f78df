"""Search for the units to remove from each group: least loss with a cost up to a limit.

The cost is not a sum over groups (a convolution costs its inputs x its outputs), the loss is. Lagrangian relaxation
with coordinate descent (minimise loss + price x cost, one group at a time, the price found by bisection) gives a
plan near the limit; exchanges between pairs of groups then use the remaining budget. Everett, "Generalized Lagrange
Multiplier Method", Operations Research 11 (1963), section 1: a minimum of the sum for some price is optimal for the
cost that it has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocrslim.pruning import CostOfCounts

_PRICES = 40  # steps of the bisection
_SWEEPS = 20  # over all groups at one price, at most; a few suffice
_STARTS = 2  # plans that the exchanges start from, beside the cheapest of all
_ROUNDS = 3  # attempts to leave one group unpruned; each only if the one before improved the plan
_NEAR, _SPREAD = 4, 16  # choices of a group that an exchange tries: neighbours, and some over the whole range
_EPSILON = 1e-12


@dataclass(frozen=True)
class Problem:
    """The choices for each group, with their losses and cost.

    Attributes:
        choices: permitted numbers of removed units, ascending from 0; int [choices] by group.
        losses: loss of each choice, 0 for the first, never falling; float [choices] by group. Their sum is minimised:
            powers of feature errors (`joint_loss.feature_errors`), not losses of a sensitivity table.
        cost: cost by the removed units.
    """

    choices: Sequence[np.ndarray]
    losses: Sequence[np.ndarray]
    cost: CostOfCounts

    def counts(self, picks: np.ndarray) -> np.ndarray:
        """Removed units of each group, int [groups], from the index of its choice."""
        return np.array([choice[pick] for choice, pick in zip(self.choices, picks)], dtype=np.int64)

    def total(self, picks: np.ndarray) -> float:
        """Compute the cost of the whole network."""
        return float(self.cost(self.counts(picks)[None])[0])

    def loss(self, picks: np.ndarray) -> float:
        """Compute the sum of the losses over the groups."""
        return float(sum(loss[pick] for loss, pick in zip(self.losses, picks)))

    def costs(self, picks: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """Compute the cost with each of `options` for `group`, the other groups as in `picks`."""
        rows = np.repeat(self.counts(picks)[None], len(options), axis=0)
        rows[:, group] = self.choices[group][options]
        return self.cost(rows)


def cheapest(problem: Problem) -> np.ndarray:
    """Find the picks of the least cost, whatever their loss."""
    picks = np.array([len(choice) - 1 for choice in problem.choices])
    return _descend(problem, picks, np.inf)


def search(problem: Problem, limit: float) -> np.ndarray | None:
    """Find the picks of the least loss that cost at most `limit`; None if there are none."""
    most = cheapest(problem)
    if problem.total(most) > limit:
        return None
    found = {tuple(picks): picks for picks in _relaxations(problem, limit, most) if problem.total(picks) <= limit}
    starts = [*sorted(found.values(), key=problem.loss)[:_STARTS], most]
    best = min((_exchange(problem, picks, limit) for picks in starts), key=problem.loss)
    for _ in range(_ROUNDS):
        others = [_exchange(problem, picks, limit) for picks in _without_one(problem, best, limit)]
        better = min([best, *others], key=problem.loss)
        if better is best:
            break
        best = better
    return best


def _relaxations(problem: Problem, limit: float, most: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the picks at each price of the bisection, starting from no pruning and from the most."""
    nothing = np.zeros(len(most), dtype=np.int64)
    span = max(problem.total(nothing) - problem.total(most), _EPSILON)
    scale = max(problem.loss(most), _EPSILON) / span
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
    """Minimise loss + price x cost by coordinate descent; the cost alone at an infinite price."""
    picks = picks.copy()
    for _ in range(_SWEEPS):
        before = picks.copy()
        for group, choice in enumerate(problem.choices):
            costs = problem.costs(picks, group, np.arange(len(choice)))
            value = costs if np.isinf(price) else problem.losses[group] + price * costs
            least = int(np.argmin(value))
            if value[least] < value[picks[group]] - _EPSILON * abs(value[least]):
                picks[group] = least
        if (picks == before).all():
            break
    return picks


def _without_one(problem: Problem, best: np.ndarray, limit: float) -> Iterator[np.ndarray]:
    """For each group that `best` prunes, yield a plan without it, which prunes others at the least loss per saving.

    Exchanges of two groups cannot find it where two or more groups have to replace one.
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
    """Find the group and its choice of the least loss per saving; savings beyond `limit` do not count."""
    now, found = problem.total(picks), []
    for group, choice in enumerate(problem.choices):
        further = np.arange(picks[group] + 1, len(choice))
        if group == left_alone or not len(further):
            continue
        savings = now - np.maximum(problem.costs(picks, group, further), limit)
        added = problem.losses[group][further] - problem.losses[group][picks[group]]
        price = np.where(savings > 0, added / np.maximum(savings, _EPSILON), np.inf)
        least = int(np.argmin(price))
        if np.isfinite(price[least]):
            found.append((float(price[least]), group, int(further[least])))
    return min(found)[1:] if found else None


def _exchange(problem: Problem, picks: np.ndarray, limit: float) -> np.ndarray:
    """Change two groups at a time while the loss falls and the cost is within `limit`."""
    picks, improved = picks.copy(), True
    free = [group for group, choice in enumerate(problem.choices) if len(choice) > 1]
    while improved:
        improved = False
        for pair in itertools.combinations(free, 2):
            improved |= _exchange_pair(problem, picks, pair, limit)
    return picks


def _exchange_pair(problem: Problem, picks: np.ndarray, pair: tuple[int, int], limit: float) -> bool:
    """Try choices of two groups; set the best in `picks` and return True if the loss falls."""
    one, other = pair
    tried = [_nearby(len(problem.choices[group]), int(picks[group])) for group in pair]
    rows = np.repeat(problem.counts(picks)[None], len(tried[0]) * len(tried[1]), axis=0)
    grid = np.stack([part.ravel() for part in np.meshgrid(*tried, indexing="ij")])
    losses = problem.losses[one][grid[0]] + problem.losses[other][grid[1]]
    better = losses < problem.losses[one][picks[one]] + problem.losses[other][picks[other]] - _EPSILON
    grid, losses, rows = grid[:, better], losses[better], rows[better]
    if not len(losses):
        return False
    rows[:, one], rows[:, other] = problem.choices[one][grid[0]], problem.choices[other][grid[1]]
    losses = np.where(problem.cost(rows) <= limit, losses, np.inf)
    least = int(np.argmin(losses))
    if np.isinf(losses[least]):
        return False
    picks[one], picks[other] = grid[:, least]
    return True


def _nearby(count: int, pick: int) -> np.ndarray:
    """Select indices to try: all if they are few, else neighbours of `pick` and some over the range."""
    spread = np.linspace(0, count - 1, min(count, _SPREAD)).round().astype(np.int64)
    near = np.arange(max(0, pick - _NEAR), min(count, pick + _NEAR + 1))
    return np.union1d(spread, near)
