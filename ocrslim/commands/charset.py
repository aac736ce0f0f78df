"""The command `charset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.tasks import Wanted
from ocrslim.vocabulary import cut_characters, named


def run_charset(config: Config, wanted: Wanted, out: Path) -> dict[str, Any]:
    """Write the recogniser of a configuration into `out`, with the wanted characters alone."""
    cut = cut_characters(config, wanted, out)
    if cut.unknown:
        print(f"not in the model's dictionary: {len(cut.unknown):,} of the wanted characters: {named(cut.unknown)}")
    (before, after), (large, small) = cut.classes, cut.bytes
    print(
        f"{cut.model}: {after:,} of {before:,} classes, {small:,} of {large:,} bytes ({small / large - 1:+.0%}); "
        f"largest difference of probabilities {cut.difference:.1e}"
    )
    return {
        "folder": str(cut.folder),
        "model": str(cut.model),
        "classes": list(cut.classes),
        "unknown": list(cut.unknown),
        "max_difference": cut.difference,
        "bytes": list(cut.bytes),
    }
