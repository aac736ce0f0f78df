"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.evaluation import open_engine, predict_images


def run_predict(config: Config, images: Path, out: Path) -> dict[str, Any]:
    """Find or read the text of every image in `images`, a folder or a file; write drawings and a JSON file to `out`."""
    config.require("PostProcess")
    result = predict_images(open_engine(config), config, images, out)
    print(f"{config.task.describe_predictions([*result.found.values()])} on {len(result.found)} images: {out}")
    return {
        "images": len(result.found),
        "unreadable": list(result.unreadable),
        "boxes": str(result.file),
        "out": str(out),
    }
