"""The progress of a sensitivity analysis on standard error: points done, rate, remaining time, current ratios."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from ocrslim.sensitivity.layer_table import layer_table
from ocrslim.sensitivity.progress import Progress
from ocrslim.sensitivity.search.search import Search
from ocrslim.tasks import Counts
from ocrslim.utils import LOG_SECONDS, current_interrupts

logger = logging.getLogger(__name__)

DRAW_SECONDS = 0.25
_MARGIN = 3  # columns at the right that stay free: the "^C" that a terminal echoes must not begin a new line


class SensitivityDisplay:
    """Observes an analysis, as a context manager around it, and displays its progress.

    On a terminal it draws a bar and a table, which stay below whatever is logged meanwhile and vanish at the end;
    elsewhere it logs a line every few seconds. On leaving it logs one line with what was achieved.
    """

    def __init__(
        self,
        searches: Mapping[str, Search],
        images: int,
        minutes: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """
        Args:
            searches: by public name; they change meanwhile.
            images: size of the evaluation set.
            minutes: time budget; None for as long as it takes.
            clock: gives seconds.
        """
        self._progress = Progress(searches, images, clock)
        self._logged = {row.layer for row in self._progress.settled}  # layers whose ratio is known to the reader
        self._minutes, self._clock = minutes, clock
        self._live: Live | None = None
        self._stack = contextlib.ExitStack()
        self._drawn = False
        self._due = clock() + LOG_SECONDS  # time of the next update

    def __enter__(self) -> SensitivityDisplay:
        console = _terminal(self._stack)
        if console is not None:
            self._drawn, self._due = True, self._clock()
            self._live = Live(
                get_renderable=lambda: self._frame(console),
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _uninterrupted():
            self._close()
            logger.info("%s", self._summary(kind))

    def measured(self, layer: str, ratio: float, start: int, counts: Sequence[Counts]) -> None:
        """Count what was measured of `layer`."""
        self._progress.measured(layer)
        self.tick()

    def tick(self) -> None:
        """Update the terminal, or log a line, if it is time to."""
        now = self._clock()
        if now < self._due:
            return
        if self._live is not None:
            self._due = now + DRAW_SECONDS
            with _uninterrupted():
                self._draw(self._live)
        else:
            self._due = now + LOG_SECONDS
            logger.info("analysis: %s, %s%s", self._progress.done(), ", ".join(self._times()), self._news())

    def _draw(self, live: Live) -> None:
        try:
            if not live.is_started:  # not in `__enter__`, after whose interruption nobody would stop it
                self._stack.enter_context(_shown_with(live))
            live.refresh()
        except OSError:  # the terminal was closed; that is no reason to stop measuring
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._stack.close()
        self._live = None

    def _times(self) -> Iterator[str]:
        progress = self._progress
        yield progress.speed()
        yield f"{tqdm.format_interval(progress.elapsed)} elapsed"
        if progress.left is not None:
            yield f"~{tqdm.format_interval(progress.left)} left"
        if self._minutes is not None:
            yield f"{tqdm.format_interval(max(0.0, 60 * self._minutes - progress.elapsed))} of the time budget left"

    def _news(self) -> str:
        """Describe the layers settled since the last call."""
        news = [row for row in self._progress.settled if row.layer not in self._logged]
        self._logged |= {row.layer for row in news}
        return "; settled: " + ", ".join(f"{row.layer} {row.decision.ratio:.2f}" for row in news) if news else ""

    def _frame(self, console: Console) -> RenderableType:
        progress = self._progress
        width = max(1, console.width - _MARGIN)
        done, times = (
            Text(text, no_wrap=True, overflow="crop") for text in (progress.done(), ", ".join(self._times()))
        )
        head = Table.grid(padding=(0, 2, 0, 0))
        head.add_row(
            ProgressBar(len(progress.rows), progress.share, width=max(8, min(60, width - len(done) - 4))), done
        )
        rows, recent = list(progress.rows.values()), list(progress.recent)
        return Group(head, times, layer_table(rows, recent, width, console.height - 3, console.options.ascii_only))

    def _summary(self, kind: type[BaseException] | None) -> str:
        progress = self._progress
        if kind is not None:
            ending = "interrupted after" if issubclass(kind, KeyboardInterrupt) else "stopped after"
        else:
            ending = "done in" if len(progress.settled) == len(progress.rows) else "out of time after"
        news = "" if self._drawn else self._news()  # a terminal has shown the ratios in its table
        took = tqdm.format_interval(progress.elapsed)
        return f"analysis {ending} {took}: {progress.done()}, {progress.speed()}{news}"


def _terminal(until: contextlib.ExitStack) -> Console | None:
    """Standard error, if it is a terminal on which lines can be drawn anew; open until the stack is closed."""
    if not sys.stderr.isatty():  # Rich alone would also draw into a log where FORCE_COLOR is set
        return None
    # With PYTHONUNBUFFERED, `sys.stderr` loses the rest of a long text whose writing a signal interrupts.
    file = until.enter_context(
        os.fdopen(sys.stderr.fileno(), "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)
    )
    # soft_wrap: what is logged is passed on as it is, so that a path in it can be copied
    console = Console(file=file, soft_wrap=True, highlight=False, markup=False, emoji=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until what is drawn agrees again with what Rich takes for drawn."""
    with current_interrupts().held():
        yield


@contextlib.contextmanager
def _shown_with(live: Live) -> Iterator[None]:
    """Show `live`, with what is printed and logged meanwhile above it.

    Rich replaces `sys.stderr` and `sys.stdout`; handlers of loggers hold on to the ones they were made with.
    """
    before: tuple[IO[str], ...] = (sys.stderr, sys.stdout)
    moved: list[tuple[logging.StreamHandler, IO[str]]] = []
    try:
        with live:
            for old, new in zip(before, (sys.stderr, sys.stdout)):
                for handler in _handlers_on(old) if new is not old else ():
                    handler.setStream(new)
                    moved.append((handler, old))
            yield
    finally:
        for handler, old in moved:
            handler.setStream(old)


def _handlers_on(stream: IO[str]) -> list[logging.StreamHandler]:
    """All loggers' handlers that write to `stream`."""
    root = logging.getLogger()
    loggers = [root, *(known for known in root.manager.loggerDict.values() if isinstance(known, logging.Logger))]
    handlers = {id(handler): handler for known in loggers for handler in known.handlers}
    return [h for h in handlers.values() if isinstance(h, logging.StreamHandler) and h.stream is stream]
