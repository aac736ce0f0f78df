"""The first load of a model from elsewhere, in a process of its own: Paddle crashes on some, which is then a line."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.inference import predictor
from ocrslim.utils import GIB

SECONDS = 60
MEMORY = 8 * GIB  # addresses, of which Paddle's library alone takes one
_SIDE = 64  # pixels, where a model leaves that open


def check_first_load(model: Path, shape: tuple[int, ...], kernels: str) -> None:
    """Load `model` and run it on a small image, elsewhere. What Paddle raises there is not looked at: only whether it
    survives.

    Args:
        shape: of its input; -1 where it is free.
        kernels: which ones of Paddle's are to run.

    Raises:
        WeightsError: Paddle crashed, or took more than `SECONDS` or `MEMORY`.
    """
    small = [size if size > 0 else free for size, free in zip(shape, (1, 3, _SIDE, _SIDE))]
    command = [sys.executable, "-W", "ignore", predictor.__file__, str(model), json.dumps(small), kernels, str(MEMORY)]
    try:
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise WeightsError(
            f"{model}: Paddle did not finish running it on an image of {small} within {SECONDS} s: export it again"
        ) from None
    if status < 0:
        raise WeightsError(
            f"{model}: Paddle ended with signal {-status} ({_signal_name(-status)}) on it, in a process of its own: "
            "it is damaged, or made by another version of Paddle: copy or export it again"
        )


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"
