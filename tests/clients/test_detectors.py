"""A detector in the programs that people run, by the calls that its export names: the boxes of its source.

Several clients fall back to a bundled model without a word, so the same call on a network with other weights has to
find what that one finds.
"""

from __future__ import annotations

import numpy as np
import pytest
from export_cases import Case, pipeline_call
from programs import PIR, Program, corners

pytestmark = pytest.mark.slow
BOXES = (
    *(Program("paddleocr 3", place, export) for place in ("paddleocr", "paddle33") for export in ("by default", PIR)),
    Program("paddleocr 3, ONNX Runtime", "paddleocr"),
    Program("rapidocr 3", "rapidocr"),
    Program("rapidocr-paddle 1.4", "rapidocr_paddle"),
)
MAPS = (
    *(Program("Paddle Inference", "paddleocr", export) for export in ("by default", PIR)),
    *(Program("Paddle Inference", "paddle33", export) for export in ("by default", PIR)),
    Program("ONNX Runtime", "runtimes"),
    Program("ONNX Runtime, Node"),
    Program("OpenVINO", "runtimes"),
    Program("OpenCV", "runtimes"),
)


@pytest.mark.parametrize("program", BOXES, ids=str)
def test_a_program_finds_the_boxes_of_the_source(program, detected, other_detector, run):
    found = corners(run(program, detected))
    assert len(found) > 2 and found == corners(detected.found)
    assert corners(run(program, other_detector)) == corners(other_detector.found) != found


def test_paddleocr_2_finds_the_boxes_of_the_source(detected, other_detector, recognised, classified, run):
    """Beside two other exports: it downloads each part that is not named, also where a call does not use it."""
    program = Program("paddleocr 2.10")

    def found_by(case: Case) -> list[list[float]]:
        call = pipeline_call(program, [case, recognised, classified])
        return corners(run(program, detected, call.replace('"image.jpg"', '"image.jpg", rec=False, cls=False')))

    found = found_by(detected)
    assert len(found) > 2 and found == corners(detected.found)
    assert found_by(other_detector) == corners(other_detector.found) != found


@pytest.mark.parametrize("program", MAPS, ids=str)
def test_a_runtime_gives_the_map_of_the_source(program, detected, other_detector, run):
    found = run(program, detected)
    assert detected.output.max() > 0.9 and np.abs(found - detected.output).max() < 3e-4  # oneDNN: 1e-4
    assert np.abs(run(program, other_detector) - found).max() > 0.3
