"""The programs that people run exports with: where each is installed, and how it is called."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
CLIENTS = REPO / "build/clients"
BY_DEFAULT, PIR = "by default", "pir"
Run = Callable[..., Any]


@dataclass(frozen=True)
class Program:
    """A row of the table in docs/deploy/README.md.

    Attributes:
        client: its key in `clients` of `export.json`.
        environment: its folder below build/clients; None: the tests' own.
        export: which formats were exported: `BY_DEFAULT` or `PIR`.
    """

    client: str
    environment: str | None = None
    export: str = BY_DEFAULT

    def __str__(self) -> str:
        return f"{self.client}, {self.environment or 'own'}, {self.export}"

    def require(self) -> None:
        """Skip where it is not installed."""
        place = None if self.environment is None else CLIENTS / self.environment
        missing = place is not None and not (place / "bin/python").is_file()
        if missing or (self.client.endswith("Node") and not (CLIENTS / "node/node_modules/onnxruntime-node").is_dir()):
            pytest.skip(f"not installed (make setup-clients): build/clients/{self.environment or 'node'}")
        if self.client.endswith("Node") and not shutil.which("node"):
            pytest.skip("not installed: node")

    @property
    def python(self) -> str:
        """The interpreter that has it."""
        return sys.executable if self.environment is None else str(CLIENTS / self.environment / "bin/python")

    def run(self, call: str, image: Path, given: np.ndarray, folder: Path) -> Any:
        """Make a call; return boxes or texts, of a runtime the output.

        Args:
            image: in the place of `image.jpg`.
            given: the same, preprocessed, for programs that run the network alone.
            folder: for files on the way.
        """
        self.require()
        np.save(folder / "input.npy", given)
        asked = {"client": self.client, "call": call, "image": str(image)}
        asked |= {"input": str(folder / "input.npy"), "output": str(folder / "output.npy")}
        words = [self.python, "-W", "ignore", str(Path(__file__).with_name("call.py"))]
        done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        found = json.loads(done.stdout.splitlines()[-1])
        return np.load(folder / "output.npy") if found is None else found


def corners(boxes: Any) -> list[list[float]]:
    """Return boxes in one order, to the pixel."""
    return sorted(np.round(np.asarray(boxes, float)).reshape(-1, 8).tolist())
