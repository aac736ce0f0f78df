"""Kills at random moments of the three stages: the same command, run again, must end with what an undisturbed run has.

Each run is a process of its own, killed by SIGKILL, some of them twice in a row.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .base import Base
from .runner import clean

EQUAL, REFUSED, DIFFERS, LEFT, FAILED = "equal", "refused", "differs", "left behind", "failed"
VERDICTS = (EQUAL, REFUSED, DIFFERS, LEFT, FAILED)
_TWICE = 0.4  # of the kills are followed by another one
_WAIT = 300.0


@dataclass(frozen=True)
class Stage:
    """A command, what it needs beside pages, configuration and weights, and how what it made is compared."""

    argv: Sequence[str]
    materials: Sequence[tuple[str, str]]
    compare: Callable[[Path, Path], str | None]


@dataclass(frozen=True)
class Kill:
    """What became of one: `moments` are shares of the undisturbed run's time."""

    stage: str
    moments: tuple[float, ...]
    verdict: str
    detail: str


def _bytes_of(*names: str) -> Callable[[Path, Path], str | None]:
    def compare(one: Path, other: Path) -> str | None:
        for name in names:
            if not (other / name).exists():
                return f"{name} is missing"
            if (one / name).read_bytes() != (other / name).read_bytes():
                return f"{name} differs"
        return None

    return compare


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as stream:
        table = pickle.load(stream)  # written by the code under test, in our own folder
    return {key: value for key, value in table.items() if isinstance(value, np.ndarray)}


def _timeless(value: Any) -> Any:
    """A record without what two runs differ in: times."""
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if "second" not in key and key != "max_difference"}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _json(path: Path) -> Any:
    return _timeless(json.loads(path.read_text(encoding="utf-8")))


def _same_analysis(one: Path, other: Path) -> str | None:
    wrong = _bytes_of("out/sen.pickle")(one, other)
    if wrong is None and _json(one / "out/sen.json") != _json(other / "out/sen.json"):
        wrong = "out/sen.json differs"
    missing = [name for name in ("sen.png", "sen_curves.png", "sen.jsonl") if not (other / "out" / name).exists()]
    return wrong or (f"{missing[0]} is missing" if missing else None)


def _same_training(one: Path, other: Path) -> str | None:
    for name in ("training.png", "latest.pdopt", "best_accuracy.json"):
        if not (other / "out" / name).exists():
            return f"{name} is missing"
    for name in ("best_accuracy", "latest"):
        wrong = _bytes_of(f"out/{name}.plan.json")(one, other)
        if wrong:
            return wrong
        first, second = (_arrays(folder / f"out/{name}.pdparams") for folder in (one, other))
        if first.keys() != second.keys() or any((first[key] != second[key]).any() for key in first):
            return f"{name}.pdparams differs"
    return _bytes_of("out/config.yml")(one, other)


def _same_export(one: Path, other: Path) -> str | None:
    wrong = _bytes_of(*(f"exported/inference.{kind}" for kind in ("pdmodel", "pdiparams", "yml")))(one, other)
    if wrong is None and _json(one / "exported/export.json") != _json(other / "exported/export.json"):
        wrong = "export.json differs"
    return wrong


_COMMON = ("-c", "c.yml", "-o", "Global.epoch_num=3", "Global.eval_batch_step=[0,2]")
_MEASURED = (
    "Prune.layers=[conv1_*, conv10_expand*, conv_last*, neck.p2*]",
    "Prune.ratios=[0.3, 0.6]",
    "Prune.engine=auto",
)
STAGES = {
    "sensitivity": Stage(("sensitivity", *_COMMON, *_MEASURED), (), _same_analysis),
    "prune": Stage(("prune", *_COMMON), (("analysis", "out"),), _same_training),
    "export": Stage(
        ("export", *_COMMON, "Global.pretrained_model=out/best_accuracy"), (("pruned", "out"),), _same_export
    ),
}


class Killer:
    """Runs the stages of the code in `root`, undisturbed and killed, in folders under `scratch`."""

    def __init__(self, root: Path, base: Base, scratch: Path, seed: int):
        self.root, self.base, self.scratch = root.resolve(), base, scratch
        self.rng = random.Random(f"{seed}:kills")
        self._undisturbed: dict[str, tuple[Path, float, float]] = {}
        self._count = 0

    def run(self, name: str) -> Kill:
        """Kill the stage `name` at a random moment, run it again to its end, and compare."""
        whole, begins, seconds = self.undisturbed(name)
        folder = self._folder(name)
        moments = []
        for _ in range(2 if self.rng.random() < _TWICE else 1):
            # one in eight before it does anything; the others while it works
            first = 0.0 if self.rng.random() < 1 / 8 else begins
            moment = self.rng.uniform(first, seconds)
            moments.append(round(moment / seconds, 3))
            self._kill(name, folder, moment)
        code, text = self._to_its_end(name, folder)
        verdict, detail = self._judged(name, whole, folder, code, text)
        shutil.rmtree(folder, ignore_errors=True)
        return Kill(name, tuple(moments), verdict, clean(detail, folder, self.scratch))

    def undisturbed(self, name: str) -> tuple[Path, float, float]:
        """An undisturbed run's folder, the seconds until it began to write, and those it took."""
        if name not in self._undisturbed:
            folder = self._folder(name)
            before, begins, start = _newest(folder / "work"), 0.0, time.monotonic()
            process = self._start(name, folder)
            while process.poll() is None:
                time.sleep(0.05)
                if not begins and _newest(folder / "work") > before:
                    begins = time.monotonic() - start
            if process.returncode != 0:
                raise RuntimeError(f"{name} fails undisturbed: {_text(folder)}")
            self._undisturbed[name] = folder, 0.7 * begins, time.monotonic() - start
        return self._undisturbed[name]

    def _folder(self, name: str) -> Path:
        self._count += 1
        folder = self.scratch / f"kill{self._count}"
        for part in ("work", "tmp", "home"):
            (folder / part).mkdir(parents=True)
        materials = (
            ("pages", "pages"),
            ("real.yml", "c.yml"),
            ("real.pdparams", "w.pdparams"),
            *STAGES[name].materials,
        )
        for material, there in materials:
            self.base.copy(material, folder / "work" / there)
        return folder

    def _start(self, name: str, folder: Path) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **{"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"},
            **{"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")},
        }
        words = [sys.executable, "-W", "ignore", "-m", "ocrslim", *STAGES[name].argv]
        with (folder / "err.txt").open("ab") as log:
            return subprocess.Popen(
                words, cwd=folder / "work", env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _kill(self, name: str, folder: Path, moment: float) -> None:
        process = self._start(name, folder)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)  # this process alone: what it started must end by itself
            process.wait()
        time.sleep(0.5)

    def _to_its_end(self, name: str, folder: Path) -> tuple[int, str]:
        (folder / "err.txt").write_bytes(b"")
        process = self._start(name, folder)
        try:
            code = process.wait(timeout=_WAIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        return code, _text(folder)

    def _judged(self, name: str, whole: Path, folder: Path, code: int, text: str) -> tuple[str, str]:
        lines = [line for line in text.splitlines() if line.strip()]
        if code != 0:
            return (REFUSED if code == 2 else FAILED), f"exit code {code}: {lines[-1] if lines else ''}"
        wrong = STAGES[name].compare(whole / "work", folder / "work")
        if wrong:
            return DIFFERS, wrong
        hidden = [str(path.relative_to(folder)) for path in (folder / "work").rglob(".*")]
        left = [*hidden, *(f"tmp/{path.name}" for path in (folder / "tmp").iterdir())]
        return (LEFT, ", ".join(sorted(left)[:5])) if left else (EQUAL, "")


def _newest(folder: Path) -> int:
    times = [path.lstat().st_mtime_ns for path in folder.rglob("*") if path.exists()]
    return max(times, default=0)


def _text(folder: Path) -> str:
    return (folder / "err.txt").read_text(encoding="utf-8", errors="replace")[-5000:]
