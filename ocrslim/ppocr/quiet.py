"""Imports of PaddleOCR's code without what they do besides."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import numpy as np


class _Once(logging.Filter):
    """Lets each message through once: some are of the dictionary, which every transform that reads it tells about."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = message not in self._seen
        self._seen.add(message)
        return new


_ONCE = _Once()


@contextmanager
def quietly() -> Iterator[None]:
    """Undo what an import of `ppocr` or `paddleocr` does on the way.

    It gives its logger a handler on standard output at level DEBUG, silences every warning, changes NumPy's error state
    and prints which parts it does without. Only `ppocr`'s later warnings remain, each once, on whatever handlers the
    program has.
    """
    import paddle  # noqa: F401  its own loggers are its own affair, so before the lines below

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else albumentations asks PyPI for a newer version
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(), np.errstate(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        logger = logging.getLogger("ppocr")
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
        logger.propagate = True
        logger.addFilter(_ONCE)
