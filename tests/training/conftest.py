"""What the tests of training do without: the picture of the curves, which takes three times as long as a tiny run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrslim.training.monitoring import curves


@pytest.fixture(autouse=True)
def empty_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an empty file in the place of the picture; what is drawn when is tested in `test_divergence`."""

    def touch(_: object, path: Path) -> None:
        path.touch()

    monkeypatch.setattr(curves, "draw_training", touch)
