"""The command `train`."""

from __future__ import annotations

from typing import Any

from ocrslim.config import Config
from ocrslim.training import train


def run_train(config: Config) -> dict[str, Any]:
    """The training loop without pruning, from `Global.pretrain_weights`, a backbone, or nothing."""
    result = train(config)
    print(result.summary())
    return result.to_json()
