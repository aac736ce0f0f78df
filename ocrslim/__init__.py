"""Channel pruning for PaddleOCR models: sensitivity analysis, pruning with fine-tuning, export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocrslim.api import (
        CutCharacters,
        Model,
        Picture,
        PrunedModel,
        SensitivityTable,
        analyse,
        charset,
        compress,
        compress_pair,
        load,
        prune,
    )

__version__ = "0.1.0"
__all__ = [
    "CutCharacters",
    "Model",
    "Picture",
    "PrunedModel",
    "SensitivityTable",
    "__version__",
    "analyse",
    "charset",
    "compress",
    "compress_pair",
    "load",
    "prune",
]


def __getattr__(name: str) -> Any:
    """Import the rest when it is first used: Paddle takes seconds, which the command line does not need for a word."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ocrslim.utils import import_paddle

    import_paddle()
    from ocrslim import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
