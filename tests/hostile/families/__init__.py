"""The families of cases: each a module with `cases()`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..case import Case, distinct
from . import checkpoints, configurations, controls, images, labels, programs, settings, silent, states, tables

FAMILIES: dict[str, Callable[[], Iterable[Case]]] = {
    "checkpoints": checkpoints.cases,
    "configurations": configurations.cases,
    "controls": controls.cases,
    "images": images.cases,
    "labels": labels.cases,
    "programs": programs.cases,
    "settings": settings.cases,
    "silent": silent.cases,
    "states": states.cases,
    "tables": tables.cases,
}


def all_cases(families: Sequence[str] | None = None) -> list[Case]:
    """The cases of some families, or of all."""
    return distinct(case for name in families or sorted(FAMILIES) for case in FAMILIES[name]())
