"""Channel pruning for PaddleOCR models: sensitivity analysis, pruning with fine-tuning, export."""

__version__ = "0.1.0"
