"""Signals during training: answered between steps, and after the same step by all processes that train together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from ocrslim.utils import RankLost, Ranks, current_interrupts


class StopRequests:
    """Ctrl-C and SIGTERM, deferred where the command line has installed handlers (`current_interrupts`).

    Where it has not, Python's own `KeyboardInterrupt` may come at any moment; `intact` tells then whether the weights
    can be saved.

    Attributes:
        intact: False in the middle of a change of the weights that has to be done as a whole.
    """

    def __init__(self, ranks: Ranks):
        self.intact = True
        self._ranks = ranks
        self._interrupts = current_interrupts()

    def held(self) -> AbstractContextManager[None]:
        """Defer a first signal until the end of the block."""
        return self._interrupts.held()

    def released(self) -> AbstractContextManager[None]:
        """Answer signals at once inside the block, also one that was deferred."""
        return self._interrupts.released()

    @contextlib.contextmanager
    def atomic(self) -> Iterator[None]:
        """Defer signals while weights change; where the block is broken off all the same, they are not `intact`."""
        with self.held():
            self.intact = False
            yield
            self.intact = True

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """Where there are other ranks, defer signals until all of them have agreed to stop."""
        if self._ranks.count == 1:
            yield
            return
        try:
            with self.held():
                yield
        except RankLost:
            if self._interrupts.pending:
                self._interrupts.answer()  # that rank was told to end as well
            raise

    def agree(self, due: bool) -> bool:
        """Exchange signals between the ranks after a step; return rank 0's `due`.

        Raises:
            KeyboardInterrupt: one of the ranks has been told to stop: all do, after the same step.
        """
        answers = self._ranks.exchange((self._interrupts.pending, due))
        if any(stop for stop, _ in answers):
            self._interrupts.answer()
        return answers[0][1]
