"""What benchmarks import of ocrslim is there, also where they import it late."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_name_of_ours_that_a_benchmark_imports_exists(path):
    imports = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    ours = [node for node in imports if (node.module or "").partition(".")[0] == "ocrslim"]
    missing = [
        f"{node.module}.{name.name}" for node in ours for name in node.names if not exists(node.module, name.name)
    ]
    assert not missing


def exists(module: str, name: str) -> bool:
    """Whether a module has the name, or is a package with a module of that name."""
    if importlib.util.find_spec(module) is None:
        return False
    found = importlib.import_module(module)
    return hasattr(found, name) or (
        hasattr(found, "__path__") and importlib.util.find_spec(f"{module}.{name}") is not None
    )


def test_a_name_that_is_gone_is_missed():
    assert exists("ocrslim.config", "load_model_config") and exists("ocrslim", "config")
    assert not exists("ocrslim.config", "model_configuration") and not exists("ocrslim.cli.model_argument", "x")
