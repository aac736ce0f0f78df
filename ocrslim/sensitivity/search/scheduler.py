"""The order of measuring: the searches of all layers, shared out over workers."""

from __future__ import annotations

from collections.abc import Mapping

from ocrslim.sensitivity.search.search import ExactSearch, Request, Search


class Scheduler:
    """Hands out requests, no image of a point twice.

    A worker stays with its layer, whose unchanged part it keeps in memory. Where time is limited it goes
    instead where a measurement tells most: to the layer whose ratio is least known, weighed by its share of
    the multiply-accumulates.
    """

    def __init__(self, searches: Mapping[str, Search], weights: Mapping[str, float], limited: bool = False):
        """
        Args:
            searches: by layer, in the order in which they are begun.
            weights: what knowing a layer's ratio is worth.
            limited: time may not suffice for all of it.
        """
        self._searches = searches
        self._weights = weights
        self._limited = limited
        self._claimed: dict[str, set[float]] = {layer: set() for layer in searches}
        self._begun: set[str] = set()

    def take(self, last: str | None) -> tuple[str, Request] | None:
        """Choose layer and request for the worker that was at layer `last`; None where there is nothing for it now."""
        layer = self._choose(last)
        if layer is None:
            return None
        request = self._pick(layer)
        self._claimed[layer].add(request.ratio)
        self._begun.add(layer)
        return layer, request

    def release(self, layer: str, request: Request) -> None:
        """Give a request back that is answered; its search has the counts already."""
        self._claimed[layer].discard(request.ratio)

    def _choose(self, last: str | None) -> str | None:
        """A layer with a free request; None where there is none."""
        if last is not None and not self._limited and self._free(last):
            return last  # what the others have left need not be looked at
        free = {layer: left for layer in self._searches if (left := len(self._free(layer)))}
        if self._limited:
            return max(free, key=self._information, default=None)
        fresh = (layer for layer in free if layer not in self._begun)
        return next(fresh, max(free, key=lambda layer: free[layer], default=None))

    def _information(self, layer: str) -> float:
        """Uncertainty of the layer's ratio, shared by those who work on it, in parts of the network's MACs."""
        decision = self._searches[layer].decision()
        return (decision.high - decision.low) * self._weights[layer] / (1 + len(self._claimed[layer]))

    def _free(self, layer: str) -> list[Request]:
        """Requests of a layer that nobody works on."""
        search, claimed = self._searches[layer], self._claimed[layer]
        if isinstance(search, ExactSearch):
            return [request for request in search.requests() if request.ratio not in claimed]
        request = None if claimed else search.next()
        return [] if request is None else [request]

    def _pick(self, layer: str) -> Request:
        """The next request of a layer; where time is limited, the one in the middle of what is uncertain."""
        free = self._free(layer)
        if not self._limited:
            return free[0]
        decision = self._searches[layer].decision()
        middle = (decision.low + decision.high) / 2
        return min(free, key=lambda request: abs(request.ratio - middle))
