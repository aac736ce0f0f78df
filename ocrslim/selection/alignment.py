"""The number of channels whose multiples are kept, where `Prune.align` does not say."""

from __future__ import annotations

import logging

from ocrslim.config import Config, PruneOptions
from ocrslim.inference import RUNTIMES

logger = logging.getLogger(__name__)


def with_block(config: Config) -> PruneOptions:
    """Return the section `Prune` with `align` filled in: with a target, the block of the runtime.

    Without a target channels are removed by `loss_tolerance`, as PaddleSlim does, and nothing is aligned.
    """
    options, runtime = config.prune, RUNTIMES[config.export.runtime]
    if options.align is not None or options.target is None:
        return options
    logger.info(
        "channels are kept in multiples of %d, which %s computes at a time (Prune.align=1 for any number)",
        *(runtime.block, runtime.title),
    )
    return options.model_copy(update={"align": runtime.block})
