"""How far two outputs of a network are apart."""

from __future__ import annotations

import numpy as np
import pytest

from ocrslim.inference import difference

SCORES = np.linspace(0, 1, 12, dtype="float32").reshape(1, 1, 3, 4)
DISTANCES = 165 * SCORES  # pixels, as EAST returns them


@pytest.mark.parametrize(
    ("scores", "distances", "expected"),
    [
        pytest.param(SCORES + 3e-4, DISTANCES, 3e-4, id="probabilities: absolute"),
        pytest.param(SCORES, DISTANCES + 3e-4, 3e-4 / 165, id="pixels: relative to the largest"),
        pytest.param(SCORES, 1.01 * DISTANCES, 0.01, id="other weights"),
        pytest.param(SCORES, DISTANCES * np.nan, np.nan, id="not a number"),
        pytest.param(SCORES[:, :, :2], DISTANCES, np.inf, id="another shape"),
    ],
)
def test_each_output_is_measured_by_its_own_scale(scores, distances, expected):
    found = difference((scores, distances), (SCORES, DISTANCES))
    assert found == pytest.approx(expected, rel=0.02, nan_ok=True)
