"""Good inputs, which must go on working: a program that refuses everything fails every one of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

from ..case import Case, Expectation, Place, Works, command
from .checkpoints import plain_state

FAMILY = "controls"
_WORKS = Works()
_ALL_FOUND = Works({"hmean": 1.0, "images": 4})


def _control(name: str, prepare: Callable[[Place], list[str]], expect: Expectation = _WORKS) -> Case:
    return Case(FAMILY, name, prepare, expect, control=True)


def cases() -> Iterator[Case]:
    """The commands on good inputs, and good files that look odd."""
    for protocol in range(5):

        def pickled(place: Place, protocol: int = protocol) -> list[str]:
            place.standard(weights="", config="real.yml")
            place.write("w.pdparams", pickle.dumps(plain_state(place, "real.pdparams"), protocol=protocol))
            return command("eval")

        yield _control(f"weights-of-protocol-{protocol}", pickled, _ALL_FOUND)
    yield _control("eval", _real("eval"), _ALL_FOUND)


def _real(stage: str, *options: str, more: tuple[str, ...] = ()) -> Callable[[Place], list[str]]:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="real.pdparams", config="real.yml")
        return command(stage, *options, more=more)

    return prepare
