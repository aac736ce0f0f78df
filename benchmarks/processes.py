"""Parts of a benchmark as processes of their own, and what came out of them, a line of JSON for each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import die_with_parent, kill_tree, wait_for
from paths import REPO, portable

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_DEBUG_CPU_TYPE")


class Journal:
    """What finished parts gave, in a file that a kill can only cut the last line off; paths in it are portable.

    Attributes:
        results: by key of the part.
    """

    def __init__(self, path: Path):
        self.results: dict[str, dict[str, Any]] = {}
        self._path = path
        drop_cut_off(path)
        self.refresh()

    def refresh(self) -> None:
        """Take in what other processes have added meanwhile."""
        self.results.update({one["request"]["key"]: one for one in read_lines(self._path)})

    def add(self, one: Mapping[str, Any]) -> None:
        """Keep `one`, which has the part as `request`; the journal's folder is `OUT`."""
        kept = json.loads(json.dumps(portable(one, self._path.parent)))
        append_line(self._path, kept)
        self.results[kept["request"]["key"]] = kept


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file of JSON lines."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def drop_cut_off(path: Path) -> None:
    """Take off a file what follows its last complete line: a kill has cut it off."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not text.endswith("\n") and text:
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def append_line(path: Path, one: Mapping[str, Any]) -> None:
    """Write a line of JSON behind the others, and see it onto the disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(one) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def environment(**changes: str) -> dict[str, str]:
    """The caller's environment without settings of thread numbers, the library of this checkout first."""
    kept = {name: value for name, value in os.environ.items() if name not in _THREADS}
    paths = [str(REPO), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **changes}


def run_logged(
    words: Sequence[str], log: Path, variables: Mapping[str, str], answer: Path | None = None, patience: float = 0.0
) -> dict[str, Any]:
    """Run a command, its output added to `log`; what `wait_for` says of it.

    Args:
        answer: takes standard output; None for `log`.
        patience: seconds that it may take to end by itself when this process is interrupted.
    """
    with log.open("ab") as errors, contextlib.ExitStack() as stack:
        output = errors if answer is None else stack.enter_context(answer.open("wb"))
        process = subprocess.Popen(
            words,
            cwd=REPO,
            env=dict(variables),
            stdout=output,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process
            preexec_fn=die_with_parent,
        )
        try:
            return wait_for(process)
        except BaseException:
            if patience:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
            kill_tree(process)
            raise
