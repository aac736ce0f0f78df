"""The command `eval`."""

from __future__ import annotations

import logging
import time
from typing import Any

from ocrslim.config import Config
from ocrslim.data import EvalSet, scan_evaluation
from ocrslim.evaluation import Scorer, scoring_engine

logger = logging.getLogger(__name__)


def run_eval(config: Config) -> dict[str, Any]:
    """Score a checkpoint or an exported folder on the evaluation data."""
    config.require("Eval", "PostProcess")
    opened = scoring_engine(config)
    labelled = scan_evaluation(config)
    images, scorer = EvalSet(labelled, config), Scorer(config)
    start = time.monotonic()
    with opened(images) as engine:
        scores = scorer(engine, images)
    logger.info("%d images in %.1f s", len(labelled.samples), time.monotonic() - start)
    print("  ".join(f"{name} {value:.6f}" for name, value in scores.items()))
    return {"weights": config.weights, "images": len(labelled.samples), **scores}
