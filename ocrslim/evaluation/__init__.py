"""Scores of a network on labelled images, and predictions for images without labels."""

from ocrslim.evaluation.engine_factory import open_engine, scoring_engine
from ocrslim.evaluation.evaluator import Scorer, post_processor
from ocrslim.evaluation.exports import export_scores
from ocrslim.evaluation.predict import Predictions, predict_images
from ocrslim.evaluation.predicted_labels import found_labels, with_predicted_labels

__all__ = [
    "Predictions",
    "Scorer",
    "export_scores",
    "found_labels",
    "open_engine",
    "post_processor",
    "predict_images",
    "scoring_engine",
    "with_predicted_labels",
]
