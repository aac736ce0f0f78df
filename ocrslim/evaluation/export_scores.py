"""Scores of exported networks in the runtimes that they were timed in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocrslim.config import Config
from ocrslim.data import EvalSet, LabelledSet
from ocrslim.evaluation.evaluator import Scorer
from ocrslim.inference import RUNTIMES, BenchRow
from ocrslim.utils import progress_bar


def export_scores(config: Config, labelled: LabelledSet, rows: Sequence[BenchRow]) -> dict[tuple[str, Path], float]:
    """Score what was timed on labelled images, once in each runtime.

    Returns:
        `Metric.main_indicator`, 0..1, by runtime and file.
    """
    images, scorer = EvalSet(labelled, config), Scorer(config)
    found = dict.fromkeys((row.runtime, row.file) for row in rows)
    scores = {}
    for runtime, file in progress_bar(list(found), desc="scores", unit="export"):
        engine = RUNTIMES[runtime].open(file, 1, False)
        scores[runtime, file] = scorer(engine, images, RUNTIMES[runtime].title)[config.main_indicator]
    return scores
