"""The code of networks, of which any error may come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ocrslim.errors import GraphError
from ocrslim.utils import cause_of


@contextmanager
def foreign_code(fault: Callable[[str], str]) -> Iterator[None]:
    """Run code of a network's own inside the block; whatever it raises becomes a `GraphError`.

    Args:
        fault: makes the message of the cause in one line.

    Raises:
        GraphError: the code fails.
        MemoryError: memory does not suffice, which says nothing of the network.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise GraphError(fault(cause_of(error))) from error
