"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.evaluation import open_engine, predict
from ocrslim.inference import Engine, open_detector


def run_predict(config: Config, images: Path, out: Path) -> dict[str, Any]:
    """Find text in every image of the folder (or the one file) `images`; write drawings and `boxes.json` to `out`."""
    found = predict(_engine(config), config, images, out)
    print(f"{sum(map(len, found.boxes.values()))} boxes on {len(found.boxes)} images: {out}")
    return {
        "images": len(found.boxes),
        "unreadable": list(found.unreadable),
        "boxes": str(found.file),
        "out": str(out),
    }


def _engine(config: Config) -> Engine:
    """The network to run: without an architecture, an exported folder is all that it can be."""
    if config.weights and not config.get("Architecture"):
        return open_detector(config.weights)
    return open_engine(config)
