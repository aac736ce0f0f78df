"""What PaddleOCR's code says while it works."""

from __future__ import annotations

import logging

import pytest

from ocrslim.ppocr import quiet
from ocrslim.tasks import task_of


def test_a_warning_is_said_once_and_not_by_its_own_handlers(caplog, capsys, monkeypatch):
    pytest.importorskip("paddleocr")
    monkeypatch.setattr(quiet._ONCE, "_seen", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            task_of("rec").build_operator("CTCLabelEncode", {}, {"max_text_length": 25})
    said = [record for record in caplog.records if "character_dict_path is None" in record.getMessage()]
    assert len(said) == 1
    assert "character_dict_path" not in "".join(capsys.readouterr())
