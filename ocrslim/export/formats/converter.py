"""Paddle's converter to ONNX, in a process of its own: it ends the process on what it cannot convert.

To import it takes two seconds and more. So that process is started once, and forks for each network.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from ocrslim.errors import ExportError
from ocrslim.export.formats.child import SECONDS, require_written, too_long

_NAME = "paddle2onnx"
# No module of this package: the process has Paddle alone. Without an optimiser: one is installed from another index.
_PROGRAM = f"""
import json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import {_NAME}
for line in sys.stdin:
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(theirs, 1)
        os.dup2(theirs, 2)
        try:
            model, weights, target, opset = json.loads(line)
            {_NAME}.export(model, weights, target, opset_version=opset, auto_upgrade_opset=True, optimize_tool=None)
        except Exception:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(theirs)
    with open(ours, errors="replace") as words:
        said = words.read()
    json.dump([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said], answers)
    print(file=answers, flush=True)
"""


class _Converter:
    """The process that has the converter imported; it ends with this one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which ends that one and what it forked
        )

    def run(self, program: Path, target: Path, opset: int) -> tuple[int, str]:
        """Convert a program; return the exit code of the process that did, and what it printed.

        Raises:
            TimeoutError: it took more than `SECONDS`.
        """
        assert self._process.stdin and self._process.stdout and self._process.stderr
        words = [str(program.resolve()), str(program.with_suffix(".pdiparams").resolve()), str(target.resolve()), opset]
        with contextlib.suppress(BrokenPipeError):  # it has ended: there is no answer
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], SECONDS)[0]:
            raise TimeoutError
        answer = self._process.stdout.readline()
        if answer:
            status, said = json.loads(answer)
            return status, said
        return self._process.wait(), self._process.stderr.read().decode(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it takes another program."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, and what it forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError), self._process:  # closes its pipes and waits
            pass


_running: list[_Converter] = []


def convert(program: Path, target: Path, opset: int) -> None:
    """Convert an inference model, legacy or PIR, to ONNX.

    Args:
        program: its `.pdmodel` or `.json`, the weights beside it.
        target: the file to write.

    Raises:
        ExportError: the converter fails on it, or takes more than `SECONDS`; with the last line that it printed.
    """
    if _running and not _running[0].is_running:  # somebody has ended it meanwhile
        _end()
    if not _running:
        _running.append(_Converter())
    try:
        status, said = _running[0].run(program, target, opset)
    except TimeoutError:
        _end()
        raise ExportError(too_long(_NAME)) from None
    except BaseException:  # an interrupt: its answer is not waited for
        _end()
        raise
    require_written(_NAME, status, said, target)


@atexit.register
def _end() -> None:
    while _running:
        _running.pop().close()
