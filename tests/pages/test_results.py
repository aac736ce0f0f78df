"""Table and verdict of a pair, made of its record."""

from __future__ import annotations

import json

import numpy as np
import pytest
from detection import DETECTION

from ocrslim.errors import DataError
from ocrslim.pages.measuring import PageRow
from ocrslim.pages.request import PairRequest
from ocrslim.pages.results import Comparison, record_of
from ocrslim.pages.stand import Seconds
from ocrslim.pages.summary import pair_summary
from ocrslim.tasks import Line

PAGES = [f"{number}.png" for number in range(6)]


class Settings:
    """Stands for the detector's configuration."""

    task = DETECTION
    export = type("Export", (), {"runtime": "onnxruntime", "threads": 1})


class Meter:
    """Stands for what was read: the smaller pair takes half the time, and reads one line of four otherwise."""

    def rows(self, pair, pages):
        part = {"before": 1.0, "rewritten": 0.8, "after": 0.5}[pair]
        return [
            PageRow(page, [], lines(pair == "after"), Seconds(0.1, 0.9 * part, 0.5), Seconds(0.1, 0.9, 0.9))
            for page in pages
        ]


def lines(changed):
    box = np.float32([[0, 0], [90, 0], [90, 10], [0, 10]])
    return [Line(box + np.float32([0, 20 * n]), "X" if changed and n == 0 else f"Line {n}") for n in range(4)]


@pytest.fixture
def found():
    comparison = Comparison(
        {name: name for name in ("before", "rewritten", "after")}, {1: Meter()}, PAGES, None, Settings
    )
    comparison._size = (1280, 720)
    return comparison


def model(task):
    costs = {"bytes": 100, "params": 10, "macs": 1000}
    return {
        "model": {"path": f"{task}.onnx", "task": task, "name": task, "format": "onnx", "sha256": task},
        "out": {"path": task, "sha256": task, "format": "onnx"},
        "costs": {"before": costs, "after": {**costs, "macs": 500}},
        "export": {"unverified": {}},
    }


def record(found, pruned):
    known = {"pruned": pruned, "target": {"latency": 0.4}, "minutes": 0.0, "samples": [], "tried": []}
    return record_of(known, {task: model(task) for task in ("det", "rec")}, found, {})


def test_agreement_is_line_f1_against_the_pair_as_it_came(found):
    assert found.agreement().value == 0.75 and found.agreement("rewritten").value == 1.0
    assert found.agreement().images == len(PAGES) and found.agreement().metric == "line F1"


def test_a_record_has_times_by_step_and_the_table_says_them(found):
    result = json.loads(json.dumps(record(found, {"det.macs": 0.0, "rec.macs": 0.3})))
    (row,) = result["times"]
    assert row["ratio"] == pytest.approx(0.55) and row["ratio_rewritten"] == pytest.approx(0.82)
    assert row["after"]["recognition"] == pytest.approx(450) and row["before"]["mean"] == pytest.approx(1000)
    assert result["costs"]["before"]["bytes"] == 200 and result["model"]["name"] == "det + rec"
    assert result["model"]["format"] == "onnx"
    text = pair_summary(result)
    assert "-45.0%" in text and "0.7500" in text and "recognition" in text


def test_the_verdict_tells_a_collapse_from_what_was_only_rewritten(found):
    assert record(found, {"det.macs": 0.0, "rec.macs": 0.3})["verdict"]["kind"] == "collapse"  # agreement 0.75
    alone = record(found, {"det.macs": 0.0, "rec.macs": 0.0})["verdict"]
    assert alone["kind"] == "worth it" and "rewritten and not pruned" in alone["text"]


def test_labels_that_cannot_be_read_are_named(tmp_path):
    request = PairRequest(tmp_path, tmp_path, tmp_path, tmp_path / "out", labels=tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"--labels .*none\.txt: cannot be read"):
        request.labels_hash()
