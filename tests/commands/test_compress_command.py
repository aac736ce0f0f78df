"""`ocrslim compress` on tiny networks, in every format: what comes out, what goes on, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bare_models import FORMAT_OF, KINDS, SMALL, source, write_images

from ocrslim.cli import main

OPTIONS = ["-o", SMALL, "Prune.align=1", "Prune.recover_images=4"]


@pytest.fixture
def images(tmp_path) -> Path:
    return write_images(tmp_path / "images")


def words(model: Path, images: Path, out: Path, *more: str) -> list[str]:
    return ["compress", str(model), "--task", "det", "--images", str(images), "--out", str(out), *more, *OPTIONS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_out_smaller_in_its_own_format(kind, images, tmp_path, capsys):
    model, out = source(tmp_path / "model", kind), tmp_path / "out"
    assert main(words(model, images, out, "--target", "macs=0.2", "--json")) in (0, 3)
    *text, last = capsys.readouterr().out.splitlines()
    record = json.loads(last)
    assert record["model"]["format"] == record["out"]["format"] == FORMAT_OF[kind]
