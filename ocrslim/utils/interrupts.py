"""Ctrl-C and SIGTERM that never cut a training step or a set of files in two.

The command line installs the handlers (`with Interrupts():`); library code asks `current_interrupts()` and defers
signals where there are any. In a program of somebody else's, such as a notebook, nothing is installed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, ClassVar, NoReturn

from ocrslim.utils.distributed import launched

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Put SIGINT and SIGTERM off until the end of the block, every one of them.

    For calls in which Paddle calls Python back, as it does for each operator that it traces: there it loses what a
    handler raises, goes on with half an operator, or crashes. And for a pool of processes, which hangs where it is
    begun or ended by halves. A signal mask would not do: one of Paddle's threads would take the signal, and Python
    still tell the main thread of it. Outside the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    previous = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in previous:
        signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


class Interrupts:
    """Handlers that raise `KeyboardInterrupt` on SIGINT and SIGTERM, but after what is `held()`, not within it.

    An optimizer step updates one parameter after the other: broken off in the middle, it leaves weights
    that no uninterrupted run ever has. A second signal raises at once, for a step that hangs. But Paddle's launcher
    sends three within half a second, where it could wait: under it those after the first are ignored, and what
    hangs is killed by it half a minute later.

    Use as a context manager, which installs the handlers and makes this object the one that `current_interrupts`
    gives; at its end signals have their former handlers again. Outside the main thread, where Python allows no
    handlers, and where it is never entered, it defers nothing.
    """

    _installed: ClassVar[list[Interrupts]] = []  # the innermost one last

    def __init__(self) -> None:
        self._holds = 0
        self._pending = False
        self._patient = launched()
        self._told = False
        self._owner = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # A job that a shell put in the background ignores SIGINT and has to go on doing so.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
            self._installed.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self in self._installed:
            self._installed.remove(self)
        if self._patient and self._told:  # what is still to come from the launcher is ignored
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a data worker that inherited the handler by fork
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if self._patient and self._told:
            return
        self._told = True
        if self._holds and not self._pending:
            self._pending = True
            return
        self.answer()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Put a first signal off until the end of the block."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._pending and not self._holds:
            self.answer()

    def answer(self) -> NoReturn:
        """Stop for the signal that was put off, or for one that another process got."""
        self._pending = False
        raise KeyboardInterrupt

    @property
    def pending(self) -> bool:
        """A signal has been put off."""
        return self._pending

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Within what is `held()`: answer signals at once again, also one that was put off."""
        holds, self._holds = self._holds, 0
        try:
            if self._pending:
                self.answer()
            yield
        finally:
            self._holds = holds


def current_interrupts() -> Interrupts:
    """Return the handlers that the command line has installed.

    Without any, and outside the main thread, the object returned defers nothing.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return Interrupts._installed[-1] if Interrupts._installed and in_main_thread else Interrupts()
