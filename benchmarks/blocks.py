"""How many output channels each runtime computes at a time: the time of convolutions over their numbers of channels.

    python benchmarks/blocks.py --runtime paddle onnxruntime openvino

For every number of channels a network of four 3x3 convolutions with as many channels each, on a map of 184x320, is
exported and timed on one thread, all of them in turns. Where the time rises in steps of 8 or 16 channels, numbers
between two steps gain nothing: `Runtime.block` in ocrslim/inference/runtimes.py, by which `Prune.align` is set where
it is empty. ONNX Runtime needs paddle2onnx.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from ocrslim.utils import import_paddle

import_paddle()

from paddle import nn  # noqa: E402

from ocrslim.export import save_inference  # noqa: E402
from ocrslim.export.formats.onnx import write_onnx  # noqa: E402
from ocrslim.inference import RUNTIMES, TimingProcess  # noqa: E402

SHAPE = (1, 3, 184, 320)
CHANNELS = (16, 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 56, 64)


def network(channels: int) -> nn.Layer:
    """Four 3x3 convolutions with `channels` each, behind one that makes them of an image."""
    layers: list[nn.Layer] = [nn.Conv2D(3, channels, 1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2D(channels, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def files(folder: Path) -> dict[int, Path]:
    """Export each of them, as Paddle's program and as ONNX; return the folders."""
    found = {}
    for channels in CHANNELS:
        place = found[channels] = folder / str(channels)
        (place / "onnx").mkdir(parents=True)
        save_inference(network(channels), place / "inference", (-1, 3, -1, -1))
        program = RUNTIMES["paddle"].file_of(place)
        write_onnx(program, place / "onnx/inference.onnx", {})
    return found


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", nargs="+", choices=list(RUNTIMES), default=list(RUNTIMES))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = files(Path(scratch))
        print("| runtime |", " | ".join(map(str, CHANNELS)), "|")
        print("|---|" + "---|" * len(CHANNELS))
        for runtime in options.runtime:
            with TimingProcess(runtime, 1) as process:
                opened = [process.open(RUNTIMES[runtime].file_of(place), own=True) for place in folders.values()]
                passes = process.time(opened, SHAPE, options.rounds)
            medians = [statistics.median(one.thread for one in taken) for taken in passes]
            print(f"| {runtime} |", " | ".join(f"{milliseconds:.1f}" for milliseconds in medians), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
