"""The commands `sensitivity`, stage 1, and `merge`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.report import decisions_table, sensitivity_table
from ocrslim.sensitivity import ADAPTIVE, SensitivityResult, Share, measure, merge

logger = logging.getLogger(__name__)


def run_sensitivity(config: Config) -> dict[str, Any]:
    """Stage 1: measure every prunable group; write `sen.pickle`, `sen.json` and two pictures."""
    return _show(measure(config))


def run_merge(config: Config, sources: Sequence[Path]) -> dict[str, Any]:
    """Merge the measurements of several folders, such as shards, into `Global.save_model_dir`."""
    return _show(merge(config, sources))


def _show(result: SensitivityResult) -> dict[str, Any]:
    """Print, draw and return the result."""
    print(losses_text(result))
    pictures = result.draw()
    if result.settled < len(result.groups):
        logger.info(
            "%d of %d layers are finished; %s",
            *(result.settled, len(result.groups), _next(result.settings.share)),
        )
    return {**result.to_json(), "pictures": [str(path) for path in pictures]}


def losses_text(result: SensitivityResult) -> str:
    """Format the result as a table: each layer's ratio in adaptive mode, its losses in exact mode."""
    if result.settings.mode == ADAPTIVE:
        return decisions_table(result.layers, result.settings.tolerance, result.measured.record["images"])
    return sensitivity_table(result.measured.table, result.names)


def _next(share: Share) -> str:
    """Hint for the user where layers are not finished."""
    if share.count == 1:
        return "run the same command to continue"
    if share.one_folder:
        return "the other ranks measure the rest; if one fails, run the same command to continue"
    return "merge the folders of all shards with: ocrslim merge FOLDER FOLDER ... -c CONFIG"
