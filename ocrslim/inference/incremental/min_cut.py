"""Choices that imply one another, at the least cost: a minimum cut, by SciPy's maximum flow."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Hashable

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

# Flows are whole numbers of 32 bits: the largest finite cost becomes this many, the sum of all at most that many.
_UNITS, _TOTAL = 1 << 24, 1 << 30


class MinimumCut:
    """Nodes are chosen or not; choosing costs, and choosing one may require others.

    Greig, Porteous and Seheult 1989, "Exact maximum a posteriori estimation for binary images": the cost of
    a choice is that of a cut between a source, which is chosen, and a sink, which is not.
    """

    _SOURCE, _SINK = 0, 1

    def __init__(self) -> None:
        self._index: dict[Hashable, int] = {}
        self._edges: defaultdict[tuple[int, int], float] = defaultdict(float)

    def require(self, node: Hashable) -> None:
        """`node` is chosen."""
        self._edges[self._SOURCE, self._of(node)] = math.inf

    def pay(self, node: Hashable, cost: float) -> None:
        """Choosing `node` costs; infinite: it cannot be chosen."""
        self._edges[self._of(node), self._SINK] += cost

    def pay_between(self, node: Hashable, other: Hashable, cost: float) -> None:
        """Choosing `node` without `other` costs."""
        self._edges[self._of(node), self._of(other)] += cost

    def imply(self, node: Hashable, other: Hashable) -> None:
        """Choosing `node` requires `other`."""
        self._edges[self._of(node), self._of(other)] = math.inf

    def chosen(self) -> set[Hashable]:
        """Return the cheapest choice; the smallest, where several cost the same."""
        finite = [cost for cost in self._edges.values() if cost < math.inf]
        unit = max(max(finite, default=0.0) / _UNITS, sum(finite) / _TOTAL) or 1.0
        unlimited = int(sum(finite) / unit) + len(finite) + 1
        entries = [
            (a, b, unlimited if cost == math.inf else round(cost / unit)) for (a, b), cost in self._edges.items()
        ]
        rows, columns, costs = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        size = len(self._index) + 2
        capacity = csr_matrix((costs.astype(np.int32), (rows, columns)), shape=(size, size))
        residual = (capacity - maximum_flow(capacity, self._SOURCE, self._SINK).flow).tocsr()
        reached = _reachable(residual, self._SOURCE)
        return {node for node, index in self._index.items() if index in reached}

    def _of(self, node: Hashable) -> int:
        return self._index.setdefault(node, len(self._index) + 2)


def _reachable(residual: csr_matrix, start: int) -> set[int]:
    reached, waiting = {start}, deque([start])
    while waiting:
        node = waiting.popleft()
        for at in range(residual.indptr[node], residual.indptr[node + 1]):
            if residual.data[at] > 0 and residual.indices[at] not in reached:
                reached.add(int(residual.indices[at]))
                waiting.append(int(residual.indices[at]))
    return reached
