"""The command `bench`."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from ocrslim.cli.commands.base import Command, Result, load_of_model, task_argument

if TYPE_CHECKING:
    from ocrslim.config import Config

RUNTIMES = ("paddle", "onnxruntime", "openvino")  # those of Export.runtime
_MOST, _MOST_PIXELS = 10_000, 1 << 26


def _bench(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_bench

    return run_bench(
        *(config, arguments.exports, arguments.runtime, arguments.threads, arguments.sizes),
        rounds=arguments.rounds,
        score=arguments.score,
    )


def _bench_configuration(arguments: Namespace) -> Config:
    arguments.model = arguments.exports[0]
    return load_of_model(arguments)


def _bench_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "exports",
        nargs="+",
        metavar="EXPORT",
        help="inference folders and ONNX files; the others are compared with the first",
    )
    task_argument(parser)
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="where to run them; by default in all that are installed",
        **several,
    )
    parser.add_argument(
        "--threads", type=count, metavar="N", help="numbers of threads; by default 1, and one a processor", **several
    )
    parser.add_argument(
        "--sizes",
        type=_size,
        metavar="HxW",
        help="sizes of the image in pixels; by default what the task's usual images become by the transforms",
        **several,
    )
    parser.add_argument("--score", action="store_true", help="also score them, on the images of Eval.dataset")
    parser.add_argument("--rounds", type=count, default=20, metavar="N", help="timed passes of each (default: 20)")


def count(text: str) -> int:
    """Read a number of threads or rounds."""
    if not (text.isdecimal() and 1 <= int(text) <= _MOST):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    """Read a height and a width."""
    found = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    if found is None or not 0 < int(found[1]) * int(found[2]) <= _MOST_PIXELS:
        raise ArgumentTypeError(f"{text!r} is not a height and a width in pixels, such as 736x1280")
    return int(found[1]), int(found[2])


BENCH = Command(
    "time exports in the runtimes installed, beside each other",
    (
        "Each runtime and number of threads has a process of its own; in it the exports run in turns, on noise. "
        "Printed are the median and the quartiles of the milliseconds, and the ratio to the first export. Of a "
        "folder each runtime takes the format that it reads, also from the folders of further formats in it."
    ),
    {
        "an export before and after pruning": "inference_unpruned inference_model",
        "float32, pruned and quantised, with their scores": (
            "inference_unpruned inference_model inference_model/int8 --score -o Eval.dataset.data_dir=DIR "
            "Eval.dataset.label_file_list=[DIR/val.txt]"
        ),
        "an ONNX file that nothing lies beside, on OpenVINO with four threads": (
            "detector.onnx --task det --runtime openvino --threads 4 --sizes 736x1280 480x640"
        ),
    },
    _bench,
    _bench_arguments,
    configure=_bench_configuration,
    needs_config=False,
    data_sets=("Eval",),
    reads_weights=True,
)
