"""Python processes that talk to the one that starts them through a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import ocrslim

# Ctrl-C is for who has the results. Not -m: what comes back is pickled by the module's own name.
_START = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "


def start_python(code: str, settings: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a Python process with the modules that this one finds, and open a connection to it.

    Args:
        code: what it runs; `sys.argv[1]` is the number of its end of the connection.
        settings: what its environment has beside that of this process.
    """
    ours, theirs = Pipe()
    number = theirs.fileno()
    paths = dict.fromkeys([str(Path(ocrslim.__file__).parents[1]), *sys.path])  # a task may come from anywhere
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _START + code, str(number)],
        pass_fds=[number],
        env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    return process, ours
