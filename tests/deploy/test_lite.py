"""Paddle Lite's optimiser takes an export, and its runtime for x86 gives the map of Paddle Inference."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from exports import REPO, configured, require_installed

from ocrslim.data import Preprocessor
from ocrslim.inference import InferenceEngine

pytestmark = pytest.mark.slow
LITE = "build/deploy/lite/bin"


def converted(model: Path, target: str, out: Path) -> Path:
    require_installed(f"{LITE}/paddle_lite_opt")
    files = [f"--model_file={model}/inference.pdmodel", f"--param_file={model}/inference.pdiparams"]
    command = [REPO / LITE / "paddle_lite_opt", *files, f"--valid_targets={target}", f"--optimize_out={out}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out.with_suffix(".nb")


def test_the_twin_for_x86_gives_the_map_of_paddle(paddle_export, page, tmp_path):
    image = Preprocessor(configured())(page).image
    np.save(tmp_path / "image.npy", image)
    twin = converted(paddle_export, "x86", tmp_path / "twin")
    words = [REPO / LITE / "python", "deploy/lite/map_of.py", twin, tmp_path / "image.npy", tmp_path / "map.npy"]
    assert subprocess.run(words, cwd=REPO).returncode == 0
    found, expected = np.load(tmp_path / "map.npy"), InferenceEngine(paddle_export)(image)
    assert expected.max() > 0.9 and np.abs(found - expected).max() <= 1e-4
    assert np.abs(found - InferenceEngine(paddle_export)(image[..., ::-1].copy())).max() > 0.5  # of a mirrored page


def test_there_is_a_file_for_arm(paddle_export, tmp_path):
    written = converted(paddle_export, "arm", tmp_path / "detector")
    weights = (paddle_export / "inference.pdiparams").stat().st_size
    assert 0.9 * weights < written.stat().st_size < 1.2 * weights
