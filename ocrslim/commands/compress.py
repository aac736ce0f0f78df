"""The command `compress`."""

from __future__ import annotations

from typing import Any

from ocrslim.commands.prune import with_reasons
from ocrslim.compression import Request, compress, summary_text
from ocrslim.config import Config


def run_compress(config: Config, request: Request) -> dict[str, Any]:
    """Make a model smaller; print the table of what that brings and costs, and the verdict."""
    record = with_reasons(lambda: compress(request, config))
    print(summary_text(record))
    return record
