"""What a script sees of a page in headless Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[1]
# by playwright, of a browser that is no more, and of a page's process
_DIED = ("Target page, context or browser has been closed", "Page crashed", "Target crashed")
_TIMES = 3


def require_browser(*packages: str) -> None:
    """Skip the test, naming what is missing of Node.js, Chromium and the packages of deploy/web."""
    needed = ["/usr/bin/chromium", *(f"deploy/web/node_modules/{name}" for name in ("playwright-core", *packages))]
    missing = [name for name in needed if not (REPO / name).exists()]
    missing += [] if shutil.which("node") else ["node"]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make setup-deploy)")


def seen_in_browser(script: Path, *arguments: Any, seconds: float | None = None) -> dict[str, Any]:
    """Run a script of Node.js that uses a page; return the JSON that it prints.

    A browser that dies, as on a machine without free memory, says nothing of the page: the script is run again.

    Args:
        seconds: that one run may take; None for any number.
    """
    for _ in range(_TIMES):
        done = subprocess.run(["node", script, *map(str, arguments)], capture_output=True, text=True, timeout=seconds)
        if done.returncode == 0 or not any(words in done.stderr for words in _DIED):
            break
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
