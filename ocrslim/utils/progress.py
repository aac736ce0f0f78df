"""Progress bars: live with the remaining time on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

LOG_SECONDS = 15.0


def progress_bar(items: Iterable[Any] | None = None, *, inner: bool = False, **options: Any) -> tqdm:
    """Make a tqdm bar on standard error.

    Args:
        items: what to iterate over; None to call `update` by hand.
        inner: belongs to a step of a longer bar: vanishes when done, and is not drawn into a log at all.
        options: for tqdm: `desc`, `unit`, `total`, `initial`.
    """
    terminal = sys.stderr.isatty()
    quiet = logging.getLogger("ocrslim").level > logging.INFO  # the option -q
    return tqdm(
        items,
        leave=not inner,
        disable=quiet or (inner and not terminal),
        dynamic_ncols=terminal,
        mininterval=0.1 if terminal else LOG_SECONDS,
        **options,
    )


def messages_above_bars() -> AbstractContextManager[None]:
    """Have messages written above the bars that are on a terminal, for the block."""
    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    return logging_redirect_tqdm([logging.getLogger()])
