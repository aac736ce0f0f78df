"""What `benchmarks/rewriting.py` measured, as tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

_TITLES = {"paddle": "Paddle Inference, oneDNN", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
_ABOUT = (
    "Milliseconds of the CPU for one pass at the size that costs are counted at (736x1280, 48x320), one thread: the "
    "unpruned network as `ocrslim export` writes it with `Export.rewrite=false` -> with `true`, in turns; in brackets "
    "the median over the rounds of what is saved. Difference: the largest between the outputs of both for a "
    "photograph of a page."
)


def document(found: Mapping[str, Any]) -> str:
    """Everything."""
    networks, machine = found["networks"], found["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "# What the rewriting of exports saves",
        _ABOUT,
        tabulate([_times(name, one) for name, one in networks.items()], ["", *_TITLES.values()], tablefmt="github"),
        "Multiply-accumulates in convolutions and linear layers, G; the rewriting of ONNX files holds for any size "
        "(docs/deploy/rewriting.md):",
        tabulate(
            [_products(name, one) for name, one in networks.items()],
            ["", "as it is", "rewritten, ONNX", "rewritten", "largest difference"],
            tablefmt="github",
        ),
        "Networks:",
        "\n".join(f"- {name}: {one['source']}; revision {one['revision']}" for name, one in networks.items()),
        f"`{found['command']}`, {found['rounds']} rounds; {machine['cpu']}, {machine['cores']} cores; {packages}; "
        f"{machine['date']}.",
    ]
    return "\n\n".join(lines) + "\n"


def _times(name: str, answer: Mapping[str, Any]) -> list[str]:
    return [name, *(_change(answer["runtimes"].get(runtime, {})) for runtime in _TITLES)]


def _change(timed: Mapping[str, Any]) -> str:
    if "ms" not in timed:
        return "not run"
    before, after = timed["ms"]
    return f"{before:.1f} -> {after:.1f} ({100 * (timed['ratio'] - 1):+.0f} %)"


def _products(name: str, answer: Mapping[str, Any]) -> list[str]:
    counts = [f"{answer['macs'][way] / 1e9:.3f}" for way in ("as it is", "any size", "rewritten")]
    worst = max((one["difference"] for one in answer["runtimes"].values() if "ms" in one), default=float("nan"))
    return [name, *counts, f"{worst:.0e}"]
