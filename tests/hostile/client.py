"""Commands of the code under test, run in its server, with what they wrote and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
SECONDS = 20.0
BYTES = 2 << 30
_MOST_READ = 1 << 20


@dataclass(frozen=True)
class Ended:
    """What became of a command.

    Attributes:
        code: exit code; None where a signal ended it.
        killed: "hang" or "memory" where it was ended for one of these.
        left_running: processes that it left behind.
        out, err: what it wrote on its standard output and error.
    """

    code: int | None
    signal: int | None
    seconds: float
    bytes: int
    killed: str | None
    left_running: int
    out: str
    err: str


class Server:
    """The code in `root`, imported once; started anew where it is lost."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(
        self,
        argv: Sequence[str],
        folder: Path,
        seconds: float = SECONDS,
        most: int = BYTES,
        machine: int | None = None,
    ) -> Ended:
        """Run `ocrslim ARGV` in `folder/work`, with a temporary folder and a home of its own beside that.

        Args:
            seconds: of processor time, or of sleep; five times as many in all.
            most: bytes of memory, of the command and of the processes that it starts, together.
            machine: bytes of addresses that it may have; None for no limit.
        """
        request = {
            "argv": list(argv),
            "cwd": str(folder / "work"),
            "out": str(folder / "out.txt"),
            "err": str(folder / "err.txt"),
            "env": {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "COLUMNS": "120"},
            "seconds": seconds,
            "bytes": most,
            "machine": machine,
        }
        answer = self._ask(request)
        texts = {name: _text(folder / f"{name}.txt") for name in ("out", "err")}
        return Ended(**answer, **texts)

    def _ask(self, request: dict[str, object]) -> dict[str, object]:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._stop()
            raise RuntimeError(f"{self.root}: the server ended; see its messages above")
        return json.loads(line)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.root)}
            environment.pop("PYTHONSAFEPATH", None)
            words = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("server.py")), str(self.root)]
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                self._stop()
                raise RuntimeError(f"{self.root}: cannot be imported; see the messages above")
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_READ).decode("utf-8", "replace")
    except OSError:
        return ""
