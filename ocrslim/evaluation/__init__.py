"""Scores of a network on labelled images, and predictions for images without labels."""

from ocrslim.evaluation.engine_factory import open_engine, scoring_engine
from ocrslim.evaluation.evaluator import evaluate
from ocrslim.evaluation.predict import Predictions, predict

__all__ = ["Predictions", "evaluate", "open_engine", "predict", "scoring_engine"]
