"""Paddle's translation of a network's code, which a trace begins with."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

from paddle.jit.dy2static import program_translator


class _ByFunction(weakref.WeakKeyDictionary[Any, Any]):
    """What Paddle has translated, by function.

    Paddle asks with bound methods, which are new objects each time: it would translate the code of a class again for
    each layer of the class, which takes half of the time of a trace.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(getattr(key, "__func__", key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(getattr(key, "__func__", key), value)


@contextlib.contextmanager
def translated_once() -> Iterator[None]:
    """Translate each function only once inside the block; in a Paddle that keeps them elsewhere, change nothing."""
    cache: Any = getattr(program_translator, "_FUNCTION_CACHE", None)
    before = getattr(cache, "_converted_static_func_caches", None)
    if before is None:
        yield
        return
    cache._converted_static_func_caches = _ByFunction()
    try:
        yield
    finally:
        cache._converted_static_func_caches = before
