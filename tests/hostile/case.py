"""What a case is: files, a command, and what is expected of it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from .base import Base
from .client import Ended


@dataclass(frozen=True)
class Refused:
    """Exit code 2, at most three lines of error (more only for more faults), nothing written.

    Attributes:
        names: a pattern that an error line must match: the file or the key that is wrong. Else a command that refuses
            whatever it is given would pass.
        faults: how many separate faults the case has, each of which may have a line of its own.
    """

    names: str
    faults: int = 1


Check = Callable[["Place", Ended], Union[str, None]]


@dataclass(frozen=True)
class Works:
    """Exit code 0.

    Attributes:
        values: entries of the JSON result, each a number (equal to 1e-6), or a value (equal).
        says: a pattern that the output must match.
        check: looks at what was written; returns what is wrong, or None.
    """

    values: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    check: Check | None = None


@dataclass(frozen=True)
class Either:
    """Any of these will do: such as a refusal, or a line that names the count."""

    options: tuple[Refused | Works, ...]


Expectation = Union[Refused, Works, Either]


@dataclass
class Place:
    """An empty folder for one case, the materials to fill it with, and the case's own chance."""

    work: Path
    base: Base
    rng: random.Random

    def copy(self, name: str, to: str | None = None) -> Path:
        """Copy a material (a file or a folder, made when first asked for) into the folder."""
        return self.base.copy(name, self.work / (to or name))

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the case."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return path

    def standard(self, *, weights: str = "small.pdparams", config: str = "c.yml") -> None:
        """What most commands need: pages with labels, the configuration, weights called `w.pdparams`."""
        self.copy("pages")
        self.copy(config, "c.yml")
        if weights:
            self.copy(weights, "w.pdparams")


Prepare = Callable[[Place], Sequence[str]]


@dataclass(frozen=True)
class Case:
    """One wrong input, or a good one.

    Attributes:
        prepare: puts the files into a fresh folder, in which the command will run; returns the command's words.
        control: whether the input is good: commands that refuse everything fail these.
        needs: materials without which the case is left out.
        machine: bytes of addresses that the command may have (`ulimit -v`): a machine of that size; None for no limit.
    """

    family: str
    name: str
    prepare: Prepare
    expect: Expectation
    control: bool = False
    needs: tuple[str, ...] = ()
    machine: int | None = None

    @property
    def id(self) -> str:
        """Family and name, as tables and pytest show them."""
        return f"{self.family}/{self.name}"

    def rng(self, seed: int) -> random.Random:
        """The case's own chance: other cases, before or after it, change nothing."""
        return random.Random(f"{seed}:{self.family}:{self.name}")


def command(stage: str, *options: str, more: Sequence[str] = (), config: str = "c.yml") -> list[str]:
    """The words of a command; `more` are those of its own, such as `--dry-run`."""
    return [stage, *more, "-c", config, "--json", *(["-o", *options] if options else [])]


def result_of(ended: Ended) -> dict[str, Any]:
    """The JSON object on the last line of a command's output; {} where there is none."""
    lines = ended.out.splitlines()
    try:
        value = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def distinct(cases: Iterable[Case]) -> list[Case]:
    """The cases as a list; no two may share family and name."""
    found = list(cases)
    ids = [case.id for case in found]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise ValueError(f"two cases of one name: {sorted(twice)}")
    return found


def slug(text: str, most: int = 60) -> str:
    """`text` as a part of a case's name."""
    for mark, plain in ((", ", ","), (": ", "="), ("=[", "="), ("={", "=")):
        text = text.replace(mark, plain)
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "-", re.sub(r"[\[\]{}]", "", text)).strip("-")[:most]
