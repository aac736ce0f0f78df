"""The number of channels whose multiples are kept, where `Prune.align` does not say."""

from __future__ import annotations

from ocrslim.config import Config, PruneOptions
from ocrslim.inference import RUNTIMES


def with_block(config: Config) -> PruneOptions:
    """Return the section `Prune` with `align` filled in: with a target, the block of the runtime.

    Without a target channels are removed by `loss_tolerance`, as PaddleSlim does, and nothing is aligned.
    """
    options = config.prune
    if not _takes_block(config):
        return options
    return options.model_copy(update={"align": RUNTIMES[config.export.runtime].block})


def block_text(config: Config) -> str:
    """Say which multiples of channels are kept where nobody asked for them; "" where somebody did, or none are."""
    runtime = RUNTIMES[config.export.runtime]
    if not _takes_block(config):
        return ""
    return (
        f"channels are kept in multiples of {runtime.block}, which {runtime.title} computes at a time "
        "(Prune.align=1 for any number)"
    )


def _takes_block(config: Config) -> bool:
    return config.prune.align is None and config.prune.target is not None
