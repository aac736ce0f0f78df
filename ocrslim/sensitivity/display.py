"""The progress of a sensitivity analysis on standard error: points done, rate, remaining time, current ratios."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from types import TracebackType
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from ocrslim.sensitivity.progress import LayerRow, Standing
from ocrslim.sensitivity.search.search import Search
from ocrslim.utils import LOG_SECONDS, current_interrupts

logger = logging.getLogger(__name__)

DRAW_SECONDS = 0.25
_MARGIN = 3  # columns at the right that stay free: the "^C" that a terminal echoes must not begin a new line
_GAP = " " * 3
_SHORTEST = 12  # characters of a layer's name


def table_lines(
    rows: Sequence[LayerRow], recent: Sequence[str], width: int, height: int, ascii_only: bool = False
) -> list[Text]:
    """The current ratios, in as many columns of layers as are needed and fit.

    If not all fit, those are shown that were measured last, the last one in any case; always in the given order.

    Args:
        rows: all layers.
        recent: names of those measured in this run, the last one last.
        width, height: characters and lines there are.
        ascii_only: the terminal has no other characters.
    """
    names = max(len("layer"), *(len(row.layer) for row in rows))
    names = max(_SHORTEST, min(names, width - len(_cell("", "", "", "", "", "", 0))))
    across = max(1, (width + len(_GAP)) // (len(_cell("", "", "", "", "", "", names)) + len(_GAP)))
    room = max(1, height - 1)
    hidden: list[LayerRow] = []
    if len(rows) > across * room:
        room = max(1, room - 1)
        rows, hidden = _choose(rows, recent, across * room)
    down = math.ceil(len(rows) / min(across, math.ceil(len(rows) / room)))
    columns = [rows[start : start + down] for start in range(0, len(rows), down)]
    head = _cell(" ", "layer", "ratio", "between", "points", "images", names)
    lines = [Text(_GAP.join([head] * len(columns)), "bold")]
    last = recent[-1] if recent else None
    for line in zip_longest(*columns):
        cells = [_row_text(row, names, row.layer == last, ascii_only) for row in line if row is not None]
        lines.append(Text(_GAP).join(cells))
    return [*lines, Text(_more(hidden), "dim")] if hidden else lines


def _choose(rows: Sequence[LayerRow], recent: Sequence[str], number: int) -> tuple[Sequence[LayerRow], list[LayerRow]]:
    """Which layers are shown, and which are not."""
    rank = {layer: position for position, layer in enumerate(reversed(recent))}
    order = sorted(rows, key=lambda row: (rank.get(row.layer, len(rows)), row.state == "not begun"))
    shown = {row.layer for row in order[:number]}
    return [row for row in rows if row.layer in shown], [row for row in rows if row.layer not in shown]


def _more(hidden: Sequence[LayerRow]) -> str:
    states = Counter(row.state for row in hidden)
    parts = [f"{states[state]} {state}" for state in ("settled", "begun", "not begun") if states[state]]
    return f"  and {len(hidden)} more: {', '.join(parts)}"


def _row_text(row: LayerRow, names: int, last: bool, ascii_only: bool) -> Text:
    ratio, low, high, _ = row.decision
    mark = {"settled": "*" if ascii_only else "✓", "begun": ">" if ascii_only else "▸"}.get(row.state, " ")
    style = {"settled": "green", "begun": ""}.get(row.state, "dim")
    between = f"{low:.2f}-{high:.2f}" if high - low >= 0.005 else "known"
    so_far = f"{ratio:.2f}" if row.images else "-"
    cell = _cell(mark, _shortened(row.layer, names), so_far, between, str(row.points), str(row.images), names)
    return Text(cell, f"{style} bold" if last else style)


def _cell(mark: str, layer: str, ratio: str, between: str, points: str, images: str, names: int) -> str:
    return f"{mark:1} {layer:<{names}} {ratio:>5} {between:>9} {points:>6} {images:>6}"


def _shortened(name: str, length: int) -> str:
    """The beginning and the end of a name that is too long: both tell layers apart."""
    if len(name) <= length:
        return name
    tail = (length - 2) // 2
    return f"{name[: length - 2 - tail]}..{name[-tail:]}"


class SensitivityDisplay:
    """A context manager around the measuring; `tick` is called often, `measured` after every result.

    On a terminal it draws a bar and a table, which stay below whatever is logged meanwhile and vanish at the end;
    elsewhere it logs a line now and then. The last thing it does is to log one line with what was achieved.
    """

    _standing: Standing
    _told: set[str]  # layers whose ratio has been logged
    _due: float  # when to show it again

    def __init__(
        self,
        searches: Mapping[str, Search],
        images: int,
        minutes: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """
        Args:
            searches: what is known of each layer, by public name; they change while it is shown.
            images: size of the evaluation set.
            minutes: time that may be spent from now on; None for as long as it takes.
            clock: gives seconds.
        """
        self._searches = searches
        self._images = images
        self._minutes = minutes
        self._clock = clock
        self._live: Live | None = None
        self._open = contextlib.ExitStack()
        self._drawn = False

    def __enter__(self) -> SensitivityDisplay:
        self._standing = Standing(self._searches, self._images, self._clock)
        self._told = {row.layer for row in self._standing.settled}
        console = _terminal(self._open)
        self._drawn = console is not None
        self._due = self._clock() + (0.0 if self._drawn else LOG_SECONDS)
        if console is not None:
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

    def measured(self, layer: str) -> None:
        """Something was measured of `layer`."""
        self._standing.measured(layer)
        self.tick()

    def tick(self) -> None:
        """Show how it stands, if it is time to."""
        now = self._clock()
        if now < self._due:
            return
        if self._live is not None:
            self._due = now + DRAW_SECONDS
            with _uninterrupted():
                self._draw(self._live)
        else:
            self._due = now + LOG_SECONDS
            logger.info("analysis: %s, %s%s", self._standing.done(), ", ".join(self._times()), self._news())

    def _draw(self, live: Live) -> None:
        try:
            if not live.is_started:  # not in `__enter__`, after whose interruption nobody would stop it
                self._open.enter_context(_shown_with(live))
            live.refresh()
        except OSError:  # the terminal was closed; that is no reason to stop measuring
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._open.close()
        self._live = None

    def _times(self) -> Iterator[str]:
        standing = self._standing
        yield standing.speed()
        yield f"{tqdm.format_interval(standing.elapsed)} elapsed"
        if standing.left is not None:
            yield f"~{tqdm.format_interval(standing.left)} left"
        if self._minutes is not None:
            yield f"{tqdm.format_interval(max(0.0, 60 * self._minutes - standing.elapsed))} of the time budget left"

    def _news(self) -> str:
        """The layers settled since this was asked last."""
        news = [row for row in self._standing.settled if row.layer not in self._told]
        self._told |= {row.layer for row in news}
        return "; settled: " + ", ".join(f"{row.layer} {row.decision.ratio:.2f}" for row in news) if news else ""

    def _frame(self, console: Console) -> RenderableType:
        standing = self._standing
        width = max(1, console.width - _MARGIN)
        head = Table.grid(padding=(0, 2, 0, 0))
        head.add_column()
        head.add_column(no_wrap=True)
        done = standing.done()
        bar = ProgressBar(len(standing.rows), standing.share, width=max(8, min(60, width - len(done) - 4)))
        head.add_row(bar, Text(done))
        table = table_lines(
            list(standing.rows.values()), list(standing.recent), width, console.height - 3, console.options.ascii_only
        )
        lines = Text("\n").join([Text(", ".join(self._times())), *table])
        lines.no_wrap, lines.overflow = True, "crop"
        return Group(head, lines)

    def _summary(self, kind: type[BaseException] | None) -> str:
        standing = self._standing
        if kind is not None:
            ending = "interrupted after" if issubclass(kind, KeyboardInterrupt) else "stopped after"
        else:
            ending = "done in" if len(standing.settled) == len(standing.rows) else "out of time after"
        # on a terminal the table has shown the ratios, in a log this is the last occasion
        news = "" if self._drawn else self._news()
        took = tqdm.format_interval(standing.elapsed)
        return f"analysis {ending} {took}: {standing.done()}, {standing.speed()}{news}"


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
