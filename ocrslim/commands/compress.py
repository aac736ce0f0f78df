"""The command `compress`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocrslim.commands.prune import with_reasons
from ocrslim.compression import Request, compress, summary_text
from ocrslim.config import Config
from ocrslim.pages import PairRequest, compress_pair, pair_summary


def run_compress(config: Config, request: Request) -> dict[str, Any]:
    """Make a model smaller; print the table of what that brings and costs, and the verdict."""
    record = with_reasons(lambda: compress(request, config))
    print(summary_text(record))
    return record


def run_compress_pair(request: PairRequest, configs: Mapping[str, Config]) -> dict[str, Any]:
    """Make a detector and a recogniser smaller within one time budget; print the table and the verdict."""
    record = compress_pair(request, configs)
    print(pair_summary(record))
    return record
