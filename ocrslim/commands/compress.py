"""The command `compress`."""

from __future__ import annotations

from typing import Any

from ocrslim.compression import Request, compress, summary_text
from ocrslim.config import Config


def run_compress(config: Config, request: Request) -> dict[str, Any]:
    """Make a model smaller; print the table of what that brings and costs, and the verdict."""
    record = compress(request, config)
    print(summary_text(record))
    return record
