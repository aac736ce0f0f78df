"""Recognisers in the programs that people run, and the whole pipeline of PaddleOCR 2: the texts of the source."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.slow


def arguments(call: str) -> str:
    """Return the arguments of a call of `PaddleOCR`."""
    return re.findall(r"PaddleOCR\((.*)\)\.ocr\(", call)[0]


@pytest.mark.parametrize("client", ["paddleocr 3", "rapidocr 3"])
def test_a_client_reads_what_is_written(client, recogniser, detected, line, run):
    """The words are the page's; a model that is not this one would not be asked for its own characters."""
    found = run(client, detected, line, recogniser.clients[client])
    text = found if isinstance(found, str) else found[0]
    assert "region" in text.lower().replace(" ", "") and "segmentation" in text.lower().replace(" ", "")


def test_paddleocr_2_runs_three_exports(detected, control, recogniser, classifier, page, run):
    """By their calls put together: it downloads each part that is not named."""
    calls = [exported.clients["paddleocr 2.10"] for exported in (detected.exported, recogniser, classifier)]
    call = f'PaddleOCR({", ".join(map(arguments, calls))}, show_log=False).ocr("image.jpg")'
    found = run("paddleocr 2.10", detected, page, call)
    assert "region" in str(found).lower()
    other = call.replace(str(detected.exported.folder), str(control.exported.folder))
    assert run("paddleocr 2.10", control, page, other) != found
