"""Small folders of runs, with the files that the stages write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

LAYERS = ("conv1_weights", "conv2_weights", "neck.weight")


def point(*removed: int, **more: Any) -> dict[str, Any]:
    left = 1000 - 10 * sum(removed)
    costs = {"macs": 1000 * left, "params": left, "ms": left / 100}
    return {"removed": [*removed], "loss": 0.01 * sum(removed), "joint": 0.02 * sum(removed), **costs, **more}


PLANS: dict[str, Any] = {
    "schema": 1,
    "request": "a",
    "errors": False,
    "recipe": "sensitivity table, errors to the power of 2",
    "candidates": [
        {"recipe": "by <errors>", "layers": 7, "macs": 0.123, "score": 0.7771, "trained": [0.8101, 0.8202]},
        {"recipe": "sensitivity table", "layers": 9, "macs": 0.134, "score": 0.7881, "trained": [0.8303], "used": True},
        {"recipe": "the last", "layers": 8, "macs": 0.129, "score": 0.5551},
    ],
    "refitted": True,
    "rounds": 1,
    "size": [736, 1280],
    "layers": [{"name": name, "channels": 16} for name in LAYERS],
    "before": {"macs": 1_000_000, "params": 1000, "ms": 10.0},
    "place": "1 thread of Paddle Inference",
    "curves": [
        {
            "by": "loss_tolerance",
            "run": 0.02,
            "align": None,
            "steps": [
                {"at": 0.0, "plans": [point(0, 0, 0)]},
                {"at": 0.01, "plans": [point(0, 4, 0)]},
                {"at": 0.02, "plans": [point(0, 8, 4)]},
                {"at": 0.1, "plans": [point(2, 12, 8)]},
            ],
        },
        {
            "by": "macs",
            "run": None,
            "align": 8,
            "steps": [
                {"at": 0.1, "plans": [point(0, 8, 2), point(1, 8, 1)]},
                {"at": 0.2, "plans": [point(0, 8, 12)]},
            ],
        },
    ],
}
COSTS: dict[str, Any] = {
    "schema": 1,
    "size": [736, 1280],
    "macs": [1_000_000, 880_000],
    "params": [1000, 880],
    "layers": [
        {
            "name": name,
            "kind": "convolution",
            "shapes": [[16, 3, 3, 3], [12, 3, 3, 3]],
            "macs": [40 * k, 30 * k],
            "ms": [1.25 * k, 1.0 * k],
        }
        for k, name in enumerate(LAYERS, 1)
    ],
    "rest_ms": 2.5,
    "place": "1 thread of Paddle Inference",
    "metric": "hmean",
    "criterion": "fpgm",
    "versions": {"ocrslim": "0.1.0", "paddlepaddle": "3.1.1"},
    "machine": {"processor": "a processor"},
    "seed": 1024,
    "task": "det",
}
SENSITIVITY: dict[str, Any] = {
    "schema": 2,
    "metric": "hmean",
    "baseline": {"precision": 0.9, "recall": 0.7, "hmean": 0.8125},
    "images": 24,
    "tolerance": 0.02,
    "hashes": {"weights": "d3bbea44"},
    "unprunable": {"head.weight": "the network's output"},
    "layers": {
        name: {"points": {"0.1": {"loss": 0.001, "how": "measured"}, "0.5": {"loss": 0.1 * k, "how": "measured"}}}
        for k, name in enumerate(LAYERS)
    },
}
BEST: dict[str, Any] = {
    "metric": "hmean",
    "step": 48,
    "epoch": 2,
    "loss": 4.9,
    "hmean": 0.8375,
    "start": {"step": 0, "epoch": 0, "loss": None, "hmean": 0.75},
    "weights": "640b2813",
    "plan": "400b248b",
    "origin": {"weights": "d3bbea44", "training data": "da45dc14"},
}
LATEST: dict[str, Any] = {
    "schema": 1,
    "global_step": 48,
    "steps": 48,
    "history": [{"step": 0, "epoch": 0, "loss": None, "hmean": 0.75}, {"step": 48, "epoch": 2, "hmean": 0.8375}],
    "curve": [[step, 5 - step / 48, 0.001] for step in range(1, 49)],
}
PLAN: dict[str, Any] = {
    "schema": 1,
    "criterion": "fpgm",
    "architecture": {"model_type": "det"},
    "ratios": {"conv2_weights": 0.5},
    "skipped": {
        "conv1_weights": "sensitive: loses 0.0409 at ratio 0.1, more than Prune.skip_loss 0.02",
        "head.weight": "the network's output",
    },
}
SAMPLES: dict[str, Any] = {
    "schema": 1,
    "task": "det",
    "images": "photos",
    "compared": 3,
    "equal": 2,
    "samples": [
        {
            "image": "samples/a.jpg",
            "name": "a.png",
            "size": [60, 100],
            "before": [
                {"points": [[5, 5], [45, 5], [45, 15], [5, 15]]},
                {"points": [[5, 30], [45, 30], [45, 40], [5, 40]]},
            ],
            "after": [
                {"points": [[6, 5], [46, 5], [46, 15], [6, 15]]},
                {"points": [[60, 30], [90, 30], [90, 40], [60, 40]]},
            ],
        }
    ],
}
FILES = {
    "plans.json": PLANS,
    "costs.json": COSTS,
    "sen.json": SENSITIVITY,
    "best_accuracy.json": BEST,
    "best_accuracy.plan.json": PLAN,
    "latest.json": LATEST,
    "samples.json": SAMPLES,
}
COMPRESS: dict[str, Any] = {
    "schema": 1,
    "command": "ocrslim compress rec.onnx --images lines --out small",
    "seed": 1,
    "versions": {"ocrslim": "0.1.0"},
    "machine": {"processor": "a processor"},
    "model": {"path": "rec.onnx", "task": "rec", "name": "PP-OCRv4 rec", "format": "onnx", "sha256": "ab12"},
    "out": {"path": ".", "sha256": "cd34"},
    "images": {"folder": "lines", "calibration": ["a.png"], "choice": ["b.png"], "held_out": ["c.png"], "labels": None},
    "target": {"agreement_loss": 0.01},
    "pruned": {"macs": 0.3},
    "tried": [
        {"target": {"macs": 0.3}, "macs": 0.31, "params": 0.2, "agreement": 0.99},
        {"target": {"macs": 0.45}, "macs": 0.452, "agreement": 0.95},
    ],
    "costs": {
        "before": {"bytes": 10_000_000, "params": 2_500_000, "macs": 800_000_000},
        "after": {"bytes": 7_000_000, "params": 1_700_000, "macs": 500_000_000},
    },
    "times": [
        {
            "runtime": "onnxruntime",
            "threads": 1,
            "size": [48, 320],
            "before": {"median": 12.0, "low": 11.9, "high": 12.2},
            "after": {"median": 9.0, "low": 8.9, "high": 9.1},
            "rewritten": {"median": 11.0},
            "clock": "cpu",
            "ratio": 0.75,
        }
    ],
    "agreement": {"metric": "exact", "value": 0.99, "low": 0.97, "high": 1.0, "images": 120},
    "score": None,
    "verdict": {"kind": "worth it", "text": "25 % less time at 99 % agreement.", "advice": ["try --minutes 20"]},
    "samples": [
        {
            "image": "samples/c.jpg",
            "size": [48, 320],
            "before": [{"text": "TOTAL 4.90", "score": 0.98}],
            "after": [{"text": "TOTAL 4.40", "score": 0.91}],
        }
    ],
    "seconds": {"choice": 12.0},
}


def write_files(folder: Path, files: dict[str, Any]) -> Path:
    """Write JSON files into a folder, and the images that they name."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        for sample in content.get("samples", []):
            path = (folder / name).parent / sample["image"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (sample["size"][1], sample["size"][0]), "white").save(path)
    return folder


def write_run(folder: Path, *without: str, **changes: Any) -> Path:
    """Write a whole run; a file of `changes` gets these keys, its name without the suffix."""
    files = {name: {**content} for name, content in FILES.items() if name not in without}
    for name, keys in changes.items():
        files[f"{name}.json"] |= keys
    (folder / "config.yml").write_text("Global: {}\n", encoding="utf-8")
    return write_files(folder, files)
