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

from ocrslim.utils import JsonLines

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_DEBUG_CPU_TYPE")


class FinishedParts:
    """Results of the finished parts, kept in a file that is only appended to; paths in it are portable.

    Attributes:
        results: by key of the part.
    """

    def __init__(self, path: Path):
        self.results: dict[str, dict[str, Any]] = {}
        self._path = path
        if path.is_file():
            json_lines(path).cut_at_last_line()
        self.refresh()

    def refresh(self) -> None:
        """Take in what other processes have added meanwhile."""
        self.results.update({one["request"]["key"]: one for one in read_lines(self._path)})

    def add(self, one: Mapping[str, Any]) -> None:
        """Keep `one`, which has the part as `request`; the file's folder is `OUT`."""
        kept = json.loads(json.dumps(portable(one, self._path.parent)))
        json_lines(self._path).append(kept)
        self.results[kept["request"]["key"]] = kept


def json_lines(path: Path) -> JsonLines:
    """The file at `path` as benchmarks write it."""
    return JsonLines(path, ascii_only=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file of JSON lines; none where there is no such file."""
    return [json.loads(line) for line in json_lines(path).lines()] if path.is_file() else []


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
