"""The first load of a model from elsewhere, in a process of its own: Paddle crashes on some, which is then a line.

That process has Paddle's library alone, without Paddle's Python, whose import would take six times as long.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import ocrslim
from ocrslim.errors import WeightsError
from ocrslim.inference.predictor import open_predictor, params_of, run_predictor
from ocrslim.utils.input_files import GIB

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
    paths = [str(Path(ocrslim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(model), json.dumps(small), kernels]
    try:
        status = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise WeightsError(
            f"{model}: Paddle did not come to an end with it on an image of {small} within {SECONDS} s: export it again"
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


def _library() -> ModuleType:
    """Paddle's library, by itself where that can be had."""
    paddle = importlib.util.find_spec("paddle")
    folders = paddle.submodule_search_locations if paddle is not None else None
    with contextlib.suppress(ImportError, AttributeError, IndexError):
        (path,) = Path((folders or [""])[0]).glob("base/libpaddle.so")
        spec = importlib.util.spec_from_file_location("libpaddle", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "create_predictor") and hasattr(module, "AnalysisConfig"):
            return module
    from paddle.base import core

    return core


def main(arguments: list[str]) -> None:
    """Load and run what `check_first_load` names."""
    model, shape, kernels = Path(arguments[0]), json.loads(arguments[1]), arguments[2]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    library: Any = _library()
    config = library.AnalysisConfig(str(model), str(params_of(model)))
    run_predictor(open_predictor(library, config, 1, kernels), np.zeros(shape, np.float32))


if __name__ == "__main__":
    main(sys.argv[1:])
