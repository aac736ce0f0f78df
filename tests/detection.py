"""The task of most tests, and its scores."""

from __future__ import annotations

from ocrslim.tasks import task_of

DETECTION = task_of("det")
HMEAN, PRECISION, RECALL = (DETECTION.metrics[name] for name in ("hmean", "precision", "recall"))
DISTILLED = DETECTION.distilled({})
