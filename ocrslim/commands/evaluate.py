"""The command `eval`."""

from __future__ import annotations

import logging
import time
from typing import Any

from ocrslim.config import Config
from ocrslim.data import EvalSet, scan_evaluation
from ocrslim.evaluation import evaluate, scoring_engine
from ocrslim.tasks.detection.post_process import post_processor

logger = logging.getLogger(__name__)


def run_eval(config: Config) -> dict[str, Any]:
    """Score a checkpoint or an exported folder on the evaluation data."""
    config.require("Eval", "PostProcess")
    opened = scoring_engine(config)
    labelled = scan_evaluation(config)
    images, post_process = EvalSet(labelled, config), post_processor(config)
    start = time.monotonic()
    with opened(images) as engine:
        scores = evaluate(engine, images, post_process)
    logger.info("%d images in %.1f s", len(labelled.samples), time.monotonic() - start)
    print("  ".join(f"{name} {value:.6f}" for name, value in scores.items()))
    return {"weights": config.weights, "images": len(labelled.samples), **scores}
