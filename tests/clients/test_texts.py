"""Recognisers, and pipelines of three exports, in the programs that people run: the words of the page.

With the weights of the recogniser changed the same calls read something else, and so do those of a pipeline with the
detector's changed: no program has fallen back to a model of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import pytest
from export_cases import Case, pipeline_call
from programs import PIR, Program

pytestmark = pytest.mark.slow
READERS = (
    *(Program("paddleocr 3", place, export) for place in ("paddleocr", "paddle33") for export in ("by default", PIR)),
    Program("rapidocr 3", "rapidocr"),
    Program("rapidocr-paddle 1.4", "rapidocr_paddle"),
)
PIPELINES = (
    Program("paddleocr 2.10"),
    Program("paddleocr 3, pipeline", "paddleocr"),
    Program("rapidocr 3", "rapidocr"),
    Program("rapidocr-paddle 1.4", "rapidocr_paddle"),
)


def has_words(found: Any) -> bool:
    text = str(found).lower().replace(" ", "")
    return "region" in text and "segmentation" in text


@pytest.mark.parametrize("program", READERS, ids=str)
def test_a_program_reads_what_is_written(program, recognised, other_recogniser, run):
    assert has_words(recognised.found)
    assert has_words(run(program, recognised))
    assert not has_words(run(program, other_recogniser)) and not has_words(other_recogniser.found)


@pytest.mark.parametrize(
    "program",
    [
        *(Program("paddleocr 3", place) for place in ("paddleocr", "paddle33")),
        Program("rapidocr-paddle 1.4", "rapidocr_paddle"),
    ],
    ids=str,
)
def test_a_program_tells_a_line_from_one_on_its_head(program, classified, run, tmp_path):
    """The control is the line itself."""
    turned = tmp_path / "turned.png"
    cv2.imwrite(str(turned), cv2.rotate(cv2.imread(str(classified.image)), cv2.ROTATE_180))
    upright, on_its_head = (run(program, replace(classified, image=image)) for image in (classified.image, turned))
    found = [str(each) for each in (upright, on_its_head)]
    names = ("[[0]]", "[[1]]") if program.client == "paddleocr 3" else ("'0'", "'180'")
    assert all(name in one for name, one in zip(names, found)), found


@pytest.mark.parametrize("program", PIPELINES, ids=str)
def test_a_pipeline_of_exports_reads_the_page(
    program, detected, recognised, classified, other_detector, other_recogniser, run
):
    """By their calls put together: these programs download, or bring, each part that is not named."""

    def read(*cases: Case) -> Any:
        return run(program, detected, pipeline_call(program, cases))

    found = read(detected, recognised, classified)
    assert has_words(found)
    assert not has_words(read(detected, other_recogniser, classified))
    assert read(other_detector, recognised, classified) != found
