"""The steps of a run and what each of them found, so that a run that was ended anywhere goes on behind the last one."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ocrslim.errors import ArtifactError
from ocrslim.utils import check_writable, listed, progress_bar, read_json, write_json

RECORD = "compress.json"
JOURNAL = "steps.json"
_MADE_BY = "ocrslim compress"
_ABSENT = "not set"
_BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}, about {remaining} left"
Result = dict[str, Any]
Advance = Callable[[float], object]


class Journal:
    """Does the steps of a run, each once; a context manager that shows how far the run is.

    Attributes:
        seconds: that each step took.
        worked: whether any step was done, and not found done.
    """

    def __init__(
        self,
        folder: Path,
        request: Mapping[str, str],
        shares: Mapping[str, float],
        overwrite: bool = False,
        cheap: Collection[str] = (),
    ):
        """
        Args:
            folder: of the run; its file `steps.json` is the journal.
            request: what the run is asked for, for people.
            shares: of the time, by step.
            overwrite: forget a run of another request instead of refusing it.
            cheap: steps that a run of another request may lose: it is refused where it has come further.

        Raises:
            ArtifactError: the folder holds a run of another request, or cannot be written.
        """
        self._path, self._shares = check_writable(folder) / JOURNAL, dict(shares)
        self._request = dict(request)
        self._done, self.worked = self._read(overwrite, cheap), False
        self.seconds: dict[str, float] = {name: entry["seconds"] for name, entry in self._done.items()}

        self._write()

    def __enter__(self) -> Journal:
        total = sum(self._shares.values())
        self._bar = progress_bar(total=total, desc="compress", bar_format=_BAR, smoothing=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def do(
        self, name: str, what: str, work: Callable[[Advance], Result], intact: Callable[[Result], bool] | None = None
    ) -> Result:
        """Do a step, unless it was done before; return what it found, JSON values by name.

        Args:
            what: it is, for the progress bar.
            work: does it. It gets a function to tell which fraction more of it is done.
            intact: tells whether what an earlier step found still holds, such as the files that it wrote.
        """
        known = self._done.get(name)
        if known is not None and (intact is None or intact(known["found"])):
            self._bar.total -= self._shares[name]  # for the time that remains
            return dict(known["found"])
        self._bar.set_description(what)
        start, share, before = time.monotonic(), self._shares[name], self._bar.n

        def advance(fraction: float) -> None:
            self._bar.update(min(fraction * share, before + share - self._bar.n))

        self.worked, found = True, work(advance)
        self._bar.update(before + share - self._bar.n)
        self.keep(name, found, time.monotonic() - start)
        return found

    def kept(self, name: str) -> Result | None:
        """Return what was kept under a name; None for nothing."""
        known = self._done.get(name)
        return None if known is None else dict(known["found"])

    def keep(self, name: str, found: Result, seconds: float = 0.0) -> None:
        """Keep what a step, or a part of one, has found."""
        self.seconds[name] = round(seconds, 1)
        self._done[name] = {"found": found, "seconds": self.seconds[name]}
        self._write()

    def _write(self) -> None:
        write_json(self._path, {"request": self._request, "done": self._done})

    def _read(self, overwrite: bool, cheap: Collection[str]) -> dict[str, Any]:
        if not os.path.lexists(self._path):
            return {}
        known = read_json(self._path, _MADE_BY)
        other, done = known.get("request"), known.get("done")
        if not isinstance(other, dict) or not isinstance(done, dict):
            raise ArtifactError(f"{self._path}: is no journal of {_MADE_BY}: choose another --out")
        differences = [
            f"{key} was {other.get(key, _ABSENT)}, now {self._request.get(key, _ABSENT)}"
            for key in {**self._request, **other}
            if other.get(key) != self._request.get(key)
        ]
        if not differences:
            return done
        if overwrite or done.keys() <= set(cheap):
            shutil.rmtree(self._path.parent)
            check_writable(self._path.parent)
            return {}
        raise ArtifactError(
            f"{self._path.parent.parent}: holds the result of another command: {listed(differences)}: choose "
            "another --out, or start over with -o Global.overwrite=true"
        )
