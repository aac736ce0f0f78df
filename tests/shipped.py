"""The configurations that come with ocrslim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ocrslim.errors import ConfigError
from ocrslim.tasks.recognition.dictionary import dictionary_file

REPO = Path(__file__).resolve().parents[1]


def shipped() -> list[Any]:
    """Return all of them as parameters; those whose dictionary no copy of PaddleOCR here has are skipped."""
    paths = sorted((REPO / "configs").rglob("*.yml"))
    return [pytest.param(path, marks=_marks(path), id=path.stem) for path in paths]


def _marks(path: Path) -> list[pytest.MarkDecorator]:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))["Global"]
    try:
        dictionary_file(settings)
    except ConfigError:
        return [pytest.mark.skip(reason=f"no copy of PaddleOCR here has {settings['character_dict_path']}")]
    return []
