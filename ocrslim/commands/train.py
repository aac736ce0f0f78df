"""The command `train`."""

from __future__ import annotations

from typing import Any

from ocrslim.config import Config
from ocrslim.training import train
from ocrslim.utils import is_first_rank


def run_train(config: Config) -> dict[str, Any]:
    """Train without pruning, from `Global.pretrain_weights`, a backbone, or random weights."""
    result = train(config)
    if is_first_rank():
        print(result.summary())
    return result.to_json()
