"""Search for the units to remove from each group: least loss with a cost up to a limit.

The cost is not a sum over groups (a convolution costs its inputs x its outputs), the loss is. Lagrangian relaxation
with coordinate descent (minimise loss + price x cost, one group at a time, the price found by bisection) gives a
plan near the limit; exchanges between pairs of groups then use the remaining budget. Everett, "Generalized Lagrange
Multiplier Method", Operations Research 11 (1963), section 1: a minimum of the sum for some price is optimal for the
cost that it has.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocrslim.pruning import CostOfCounts

_PRICES = 40  # steps of the bisection
_SWEEPS = 20  # over all groups at one price, at most; a few suffice
_STARTS = 2  # plans that the exchanges start from, beside the cheapest of all
_ROUNDS = 3  # attempts to leave one group unpruned; each only if the one before improved the plan
_NEAR, _SPREAD = 4, 16  # choices of a group that an exchange tries: neighbours, and some over the whole range
_EPSILON = 1e-12


@dataclass
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

    def __post_init__(self) -> None:
        self._parts: dict[tuple[int, ...], Callable[[np.ndarray], np.ndarray]] = {}
        self._flat = np.concatenate(self.choices).astype(np.int64)
        self._begins = np.cumsum([0, *map(len, self.choices[:-1])])

    def counts(self, picks: np.ndarray) -> np.ndarray:
        """Removed units of each group, int [groups], from the index of its choice."""
        return self._flat[self._begins + picks]

    def total(self, picks: np.ndarray) -> float:
        """Compute the cost of the whole network."""
        return float(self.cost(self.counts(picks)[None])[0])

    def loss(self, picks: np.ndarray) -> float:
        """Compute the sum of the losses over the groups."""
        return float(sum(loss[pick] for loss, pick in zip(self.losses, picks)))

    def costs(self, picks: np.ndarray, groups: Sequence[int], options: Sequence[np.ndarray]) -> np.ndarray:
        """Compute what the layers that `groups` change cost with each of `options`, the other groups as in `picks`.

        Args:
            options: indices of choices of each of the groups, int [options] each.
        """
        rows = np.repeat(self.counts(picks)[None], len(options[0]), axis=0)
        for group, picked in zip(groups, options):
            rows[:, group] = self.choices[group][picked]
        return self._part(groups)(rows)

    def _part(self, groups: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
        key = tuple(groups)
        if key not in self._parts:
            self._parts[key] = self.cost.part(key)
        return self._parts[key]


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
            costs = problem.costs(picks, [group], [np.arange(len(choice))])
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
        costs = problem.costs(picks, [group], [np.append(picks[group], further)])
        savings = now - np.maximum(now + costs[1:] - costs[0], limit)
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
    room = limit - problem.total(picks)
    while improved:
        improved = False
        for pair in itertools.combinations(free, 2):
            if _exchange_pair(problem, picks, pair, room):
                improved, room = True, limit - problem.total(picks)
    return picks


def _exchange_pair(problem: Problem, picks: np.ndarray, pair: tuple[int, int], room: float) -> bool:
    """Try choices of two groups that cost at most `room` more; set the best in `picks`, True if the loss falls."""
    tried = [_nearby(len(problem.choices[group]), int(picks[group])) for group in pair]
    one, other = (problem.losses[group][options] for group, options in zip(pair, tried))
    losses = one[:, None] + other
    now = problem.losses[pair[0]][picks[pair[0]]] + problem.losses[pair[1]][picks[pair[1]]]
    better = np.nonzero(losses < now - _EPSILON)
    if not len(better[0]):
        return False
    found = [options[places] for options, places in zip(tried, better)]
    costs = problem.costs(picks, pair, [np.append(picks[group], options) for group, options in zip(pair, found)])
    fitting = np.flatnonzero(costs[1:] - costs[0] <= room)
    if not len(fitting):
        return False
    least = fitting[np.argmin(losses[better][fitting])]
    picks[list(pair)] = found[0][least], found[1][least]
    return True


@functools.lru_cache(maxsize=100_000)
def _nearby(count: int, pick: int) -> np.ndarray:
    """Select indices to try: all if they are few, else neighbours of `pick` and some over the range."""
    spread = np.linspace(0, count - 1, min(count, _SPREAD)).round().astype(np.int64)
    near = np.arange(max(0, pick - _NEAR), min(count, pick + _NEAR + 1))
    return np.union1d(spread, near)
