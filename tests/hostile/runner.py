"""Running cases one after the other, each in a folder of its own that is gone afterwards."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .base import Base, Unavailable
from .case import Case, Place
from .client import Ended, Server
from .verdict import Judged, judge, listing

SEED = 15
SKIPPED = "skipped"
_CACHES = ("home/.cache", "home/.config", "home/.visualdl")  # of matplotlib and VisualDL


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    case: Case
    judged: Judged
    seconds: float
    bytes: int
    command: str = ""


class Runner:
    """The code in `root` under test, the materials that it made, and a scratch folder for both.

    Attributes:
        keep: a folder that keeps what cases without the verdict "ok" left, for looking at.
    """

    def __init__(self, root: Path, scratch: Path, seed: int = SEED, keep: Path | None = None):
        self._server = Server(root)
        self._scratch = scratch
        (scratch / "base").mkdir()
        self.base = Base(scratch / "base", self._server)
        self.seed, self.keep = seed, keep
        self._count = 0

    def close(self) -> None:
        """End the server."""
        self._server.__exit__()

    def run(self, case: Case) -> Result:
        """Run one case."""
        self._count += 1
        folder = self._scratch / f"c{self._count}"
        for name in ("work", "tmp", "home"):
            (folder / name).mkdir(parents=True)
        place = Place(folder / "work", self.base, case.rng(self.seed))
        try:
            for material in case.needs:
                self.base.path(material)
            argv = case.prepare(place)
        except Unavailable as reason:
            return Result(case, Judged(SKIPPED, str(reason)), 0.0, 0)
        before = _listings(folder)
        ended = self._server.run(argv, folder, machine=case.machine)
        judged = judge(case, place, ended, before, _listings(folder))
        judged = Judged(judged.verdict, clean(judged.detail, folder, self._scratch))
        if judged.verdict != "ok" and self.keep:
            self._keep(case, folder, argv, judged, ended)
        shutil.rmtree(folder, ignore_errors=True)
        return Result(case, judged, ended.seconds, ended.bytes, clean(shlex.join(argv), folder, self._scratch))

    def _keep(self, case: Case, folder: Path, argv: object, judged: Judged, ended: Ended) -> None:
        assert self.keep is not None
        there = self.keep / case.family / case.name
        there.mkdir(parents=True, exist_ok=True)
        text = f"{argv}\n{judged}\ncode {ended.code} signal {ended.signal} {ended.seconds} s {ended.bytes >> 20} MiB\n"
        (there / "what.txt").write_text(text, encoding="utf-8", errors="replace")
        for name in ("out.txt", "err.txt"):
            shutil.copyfile(folder / name, there / name)


def _listings(folder: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for name in ("work", "tmp", "home"):
        found.update({f"{name}/{key}": value for key, value in listing(folder / name).items()})
    return {key: value for key, value in found.items() if not key.startswith(_CACHES)}


def clean(text: str, *folders: Path) -> str:
    """`text` without this machine's folders, and short."""
    for folder in folders:
        text = text.replace(f"{folder}/work/", "").replace(str(folder), "FOLDER")
    return text if len(text) <= 300 else text[:297] + "..."


@contextlib.contextmanager
def running(root: Path, seed: int = SEED, keep: Path | None = None) -> Iterator[Runner]:
    """A runner over the code in `root`, and its scratch folder, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        runner = Runner(root, Path(scratch), seed, keep)
        try:
            yield runner
        finally:
            runner.close()
