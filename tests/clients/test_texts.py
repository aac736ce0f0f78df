"""Recognisers, and pipelines of three exports, in the programs that people run: the words of the page.

With the weights of the recogniser changed the same calls read something else, and so do those of a pipeline with the
detector's changed: no program has fallen back to a model of its own.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from export_cases import Case
from programs import PIR, Program

pytestmark = pytest.mark.slow
READERS = (
    Program("paddleocr 2.10"),
    *(Program("paddleocr 3", place, export) for place in ("paddleocr", "paddle33") for export in ("by default", PIR)),
    Program("rapidocr 3", "rapidocr"),
    Program("rapidocr-paddle 1.4", "rapidocr_paddle"),
)
# program -> its call, where the arguments stand in those of single parts, and the same for all of them
PIPELINES = {
    Program("paddleocr 2.10"): (r"PaddleOCR\((.*)\)\.ocr\(", 'PaddleOCR({}, show_log=False).ocr("image.jpg")'),
    Program("paddleocr 3, pipeline", "paddleocr"): (
        r"PaddleOCR\((.*)\)\.predict\(",
        'PaddleOCR({}, use_doc_orientation_classify=False, use_doc_unwarping=False).predict("image.jpg")',
    ),
    Program("rapidocr 3", "rapidocr"): (r"RapidOCR\(params={(.*)}\)\(", 'RapidOCR(params={{{}}})("image.jpg")'),
    Program("rapidocr-paddle 1.4", "rapidocr_paddle"): (r"RapidOCR\((.*)\)\(", 'RapidOCR({})("image.jpg")'),
}


def has_words(found: Any) -> bool:
    text = str(found).lower().replace(" ", "")
    return "region" in text and "segmentation" in text


@pytest.mark.parametrize("program", READERS, ids=str)
def test_a_program_reads_what_is_written(program, recognised, other_recogniser, run):
    assert has_words(recognised.found)
    assert has_words(run(program, recognised))
    assert not has_words(run(program, other_recogniser)) and not has_words(other_recogniser.found)


@pytest.mark.parametrize("program", PIPELINES, ids=str)
def test_a_pipeline_of_exports_reads_the_page(
    program, detected, recognised, classified, other_detector, other_recogniser, run
):
    """By their calls put together: these programs download, or bring, each part that is not named."""
    pattern, whole = PIPELINES[program]

    def call(*cases: Case) -> str:
        return whole.format(", ".join(re.findall(pattern, case.call(program))[0] for case in cases))

    found = run(program, detected, call(detected, recognised, classified))
    assert has_words(found)
    assert not has_words(run(program, detected, call(detected, other_recogniser, classified)))
    assert run(program, detected, call(other_detector, recognised, classified)) != found
