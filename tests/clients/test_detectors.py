"""A detector in the programs that people run, by the calls that its export names: the boxes of its source.

Several clients fall back to a bundled model without a word, so the same call on a network with other weights has to
find what that one finds.
"""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.slow
BOXES = ("paddleocr 3", "paddleocr 3, ONNX Runtime", "rapidocr 3")
MAPS = ("ONNX Runtime", "OpenVINO", "Paddle Inference")


def corners(boxes) -> list:
    return sorted(np.round(np.asarray(boxes, float)).reshape(-1, 8).tolist())


@pytest.mark.parametrize("client", BOXES)
def test_a_client_finds_the_boxes_of_the_source(client, detected, control, page, run):
    found = corners(run(client, detected, page))
    assert len(found) > 2 and found == corners(detected.found)
    assert corners(run(client, control, page)) == corners(control.found) != found


@pytest.mark.parametrize("client", MAPS)
def test_a_runtime_gives_the_map_of_the_source(client, detected, control, page, run):
    found = run(client, detected, page)
    assert detected.output.max() > 0.9 and np.abs(found - detected.output).max() < 3e-4  # oneDNN: 1e-4
    assert np.abs(run(client, control, page) - found).max() > 0.3
