"""Scores of texts: PaddleOCR's RecMetric, whole and by the counts of single texts."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from checkout import require_zoo
from waiting import PATIENCE

from ocrslim.tasks import task_of
from ocrslim.tasks.recognition.metric import TextMetric
from ocrslim.tasks.recognition.task import Reading

THEIRS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ppocr.metrics import build_metric
pairs = json.load(sys.stdin)
found = []
for options in ({}, {"ignore_space": False}, {"is_filter": True}, {"ignore_space": False, "is_filter": True}):
    metric = build_metric({"name": "RecMetric", "main_indicator": "acc", **options})
    for start in range(0, len(pairs), 64):
        part = pairs[start : start + 64]
        metric(([(pred, 1.0) for pred, _ in part], [(label, 1.0) for _, label in part]))
    found.append(metric.get_metric())
print(json.dumps(found))
"""
OPTIONS = ({}, {"ignore_space": False}, {"is_filter": True}, {"ignore_space": False, "is_filter": True})


def pairs_of_texts(count: int) -> list[tuple[str, str]]:
    """Return readings and labels: equal ones, and such with letters lost, changed and added."""
    rng = np.random.default_rng(0)
    letters = list("abcXYZ019 .,-éß中文 ")
    pairs = []
    for index in range(count):
        label = "".join(rng.choice(letters, int(rng.integers(0, 18))))
        found = list(label)
        for _ in range(index % 4):
            place = int(rng.integers(0, len(found) + 1))
            found[place : place + int(rng.integers(0, 2))] = [str(rng.choice(letters))] * int(rng.integers(0, 3))
        pairs.append(("".join(found), label))
    return pairs


def scores(pairs, options):
    task = task_of("rec")
    metric = TextMetric(**options)
    return task.scores([metric.count(found, label) for found, label in pairs])


def test_scores_are_those_of_paddleocr_on_500_texts():
    pairs = pairs_of_texts(500)
    command = [sys.executable, "-W", "ignore", "-c", THEIRS, str(require_zoo())]
    done = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    for options, theirs in zip(OPTIONS, json.loads(done.stdout.splitlines()[-1])):
        assert scores(pairs, options) == pytest.approx(theirs, abs=1e-6), options


@pytest.mark.parametrize(
    ("found", "label", "options", "expected"),
    [
        pytest.param("a b", "ab", {}, (1, 1.0), id="spaces-do-not-count"),
        pytest.param("a b", "ab", {"ignore_space": False}, (0, 2 / 3), id="unless-asked-for"),
        pytest.param("A-b!", "aB", {"is_filter": True}, (1, 1.0), id="filtered"),
        pytest.param("A", "a", {}, (0, 0.0), id="case-counts"),
        pytest.param("", "abcd", {}, (0, 0.0), id="nothing-read"),
        pytest.param("", "", {}, (1, 1.0), id="nothing-to-read"),
        pytest.param("kitten", "sitting", {}, (0, 1 - 3 / 7), id="by-the-longer-text"),
    ],
)
def test_one_text(found, label, options, expected):
    counts = TextMetric(**options).count(found, label)
    assert counts[:2] == (1, 1) and counts[2:] == pytest.approx(expected)


def test_the_options_come_from_the_configuration():
    task = task_of("rec")
    strict = task.configured({"Metric": {"name": "RecMetric", "ignore_space": False}})
    assert task.count(Reading("a b", 1.0), "ab").matched == 1
    assert strict.count(Reading("a b", 1.0), "ab").matched == 0
    assert task.main_indicator == "acc"


def test_counts_survive_the_journal_and_others_are_refused():
    task = task_of("rec")
    counts = TextMetric().count("kitten", "sitting")
    assert task.counts_of(json.loads(json.dumps(counts))) == counts
    for wrong in ([1, 1, 2, 1], [1, 1, 0.5, 1], [2, 2, 1, 1], [1, 1, 1, 1.5]):
        with pytest.raises(ValueError, match="counts|matches"):
            task.counts_of(wrong)


def test_the_estimate_of_a_part_tends_to_the_score_of_the_whole():
    from ocrslim.sensitivity.search.estimator import LossEstimator

    pairs = pairs_of_texts(200)
    task = task_of("rec")
    baseline = [TextMetric().count(label, label) for _, label in pairs]
    counts = [TextMetric().count(found, label) for found, label in pairs]
    estimator = LossEstimator(baseline, task.metrics["norm_edit_dis"])
    whole = estimator.estimate(counts).loss
    part = estimator.estimate(counts[:100])
    expected = 1 - task.scores(counts)["norm_edit_dis"]
    assert whole == pytest.approx(expected, abs=2e-3) and part.low <= whole <= part.high
