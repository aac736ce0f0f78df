"""The command `compress`."""

from __future__ import annotations

import math
import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from ocrslim.cli.commands.base import Command, Result, load_of_images, model_arguments
from ocrslim.cli.commands.bench import RUNTIMES, count
from ocrslim.errors import NOT_WORTH_IT, UNVERIFIED, OcrSlimError

if TYPE_CHECKING:
    from ocrslim.config import Config

COSTS = ("macs", "params", "latency")  # those of Prune.target
FORMATS = ("paddle", "pir", "onnx", "lite")  # those of Export.formats
_MOST_MINUTES = 100_000
_WORTH_IT = "worth it"
_NOT_OF_PAIRS = {  # arguments -> as it is typed, and what to do
    "model": ("MODEL", "leave one of them out"),
    "task": ("--task", "leave it out"),
    "config": ("-c", "leave it out, the models say how they are run"),
    "chars": ("--chars", "cut the recogniser's characters first (ocrslim charset) and name the result with --rec"),
}


def _compress(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_compress
    from ocrslim.compression import Request

    if arguments.pair is not None:
        return _compress_pair(arguments)
    request = Request(
        *(arguments.model, arguments.images, arguments.out, arguments.target, arguments.labels, arguments.minutes),
        wanted=arguments.wanted,
        config=arguments.config,
        options=tuple(arguments.opt),
        task=arguments.task,
        command=shlex.join(["ocrslim", *sys.argv[1:]]),
    )
    return run_compress(config, request)


def _compress_pair(arguments: Namespace) -> Result:
    from ocrslim.commands import run_compress_pair
    from ocrslim.pages import PairRequest

    request = PairRequest(
        *(arguments.det, arguments.rec, arguments.images, arguments.out),
        target=(arguments.target or {}).get("latency"),
        labels=arguments.labels,
        minutes=arguments.minutes,
        command=shlex.join(["ocrslim", *sys.argv[1:]]),
    )
    return run_compress_pair(request, arguments.pair)


def _compress_configuration(arguments: Namespace) -> Config:
    from ocrslim.config import setting
    from ocrslim.tasks import read_wanted

    arguments.pair = None
    if arguments.det is not None or arguments.rec is not None:
        return _pair_configuration(arguments)
    if arguments.model is None:
        raise OcrSlimError(
            "no model is named: expected MODEL, an inference folder, an ONNX file or a checkpoint, or both --det and "
            "--rec (ocrslim compress --help shows examples)"
        )
    if arguments.dictionary is not None:
        arguments.opt.append(setting("Global.character_dict_path", str(arguments.dictionary)))
    if arguments.target is not None and any(word.startswith("Prune.target") for word in arguments.opt):
        raise OcrSlimError("--target and -o Prune.target are one setting: keep one")
    arguments.wanted = read_wanted(arguments.chars) if arguments.chars else None
    arguments.opt += _export_options(arguments)
    config = load_of_images(arguments)
    if arguments.target is None and any(key.startswith("Prune.target") for key in config.given):
        arguments.target = config.prune.target
    return config


def _pair_configuration(arguments: Namespace) -> Config:
    """Read the configurations of a detector and a recogniser, and return the detector's."""
    from ocrslim.config import load_pair

    missing = [name for name in ("det", "rec") if getattr(arguments, name) is None]
    if missing:
        given = "rec" if missing == ["det"] else "det"
        raise OcrSlimError(f"--{given} is named without --{missing[0]}: expected both, or MODEL for one model alone")
    for name, remedy in _NOT_OF_PAIRS.items():
        if getattr(arguments, name):
            raise OcrSlimError(f"{remedy[0]} does not go with --det and --rec: {remedy[1]}")
    if any(word.startswith("Prune.target") for word in arguments.opt):
        raise OcrSlimError("-o Prune.target is of one model: expected --target latency=FRACTION, of both together")
    for kind, fraction in (arguments.target or {}).items():
        if kind != "latency":
            raise OcrSlimError(
                f"--target {kind}={fraction:g}: two models share the seconds of a page: expected latency=FRACTION"
            )
    options = [*arguments.opt, *_export_options(arguments)]
    arguments.pair = load_pair(arguments.det, arguments.rec, arguments.images, options, arguments.dictionary)
    return arguments.pair["det"]


def _export_options(arguments: Namespace) -> list[str]:
    """Return overrides for where the result will run, and its formats."""
    given = {key: getattr(arguments, key) for key in ("runtime", "threads") if getattr(arguments, key) is not None}
    options = [f"Export.{key}={value}" for key, value in given.items()]
    if arguments.formats:
        options.append(f"Export.formats=[{','.join(dict.fromkeys(arguments.formats))}]")
    return options


def _compress_arguments(parser: ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("--det", metavar="DET", help="with --rec, in place of MODEL: a detector")
    parser.add_argument("--rec", metavar="REC", help="a recogniser: both share the seconds of a page, see --target")
    parser.add_argument(
        "--images",
        required=True,
        metavar="DIR",
        help="folder of images as the model will see them, without labels: pages or photographs, or lines for a "
        "recogniser alone",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the smaller model; new or empty")
    parser.add_argument(
        "--target",
        type=_target,
        metavar="COST=FRACTION",
        help="what to remove: macs=0.5, params=0.5 or latency=0.5; by default the most that costs at most one point "
        "of agreement",
    )
    parser.add_argument("--labels", metavar="FILE", help="labels of the images: adds the score, and is trained on")
    parser.add_argument(
        "--minutes", type=_minutes, default=0.0, metavar="N", help="train for about so long (default: 0, only refit)"
    )
    parser.add_argument(
        "--runtime", choices=RUNTIMES, help="where it will run; by default onnxruntime for an ONNX file, else paddle"
    )
    parser.add_argument("--threads", type=count, metavar="N", help="threads that it will have there (default: 1)")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, metavar="FORMAT", help="paddle, pir, onnx, lite; by default as it came"
    )
    parser.add_argument(
        "--dict", dest="dictionary", metavar="FILE", help="dictionary of a recogniser that does not bring one along"
    )
    parser.add_argument(
        "--chars", nargs="+", metavar="FILE", help="characters that a recogniser keeps, one a line; the others go first"
    )


def _target(text: str) -> dict[str, float]:
    """Read a target: one cost and the fraction of it to remove."""
    kind, _, number = text.partition("=")
    try:
        fraction = float(number)
    except ValueError:
        fraction = math.nan
    if kind not in COSTS or not 0 < fraction < 1:
        raise ArgumentTypeError(
            f"{text!r} is no target: expected {', '.join(COSTS)} and a fraction above 0 and below 1, such as macs=0.5"
        )
    return {kind: fraction}


def _minutes(text: str) -> float:
    """Read a number of minutes."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes <= _MOST_MINUTES:
        raise ArgumentTypeError(f"{text!r} is no number of minutes from 0 to {_MOST_MINUTES}")
    return minutes


def _exit_code(record: Result) -> int:
    if record["verdict"]["kind"] != _WORTH_IT:
        return NOT_WORTH_IT
    return UNVERIFIED if record["export"]["unverified"] else 0


COMPRESS = Command(
    "a model and a folder of images -> a smaller model, with what it costs measured",
    (
        "The model is rewritten without a loss and pruned by as much as the images bear, its layers are refitted, and "
        "what comes out has the format that came in, proven and timed against the model as it came. Agreement with the "
        "unpruned model is measured on images held out. A detector and a recogniser (--det, --rec) share the seconds "
        "that a page may take, divided by measurement on your pages. No labels are needed. Ends with a table and a "
        "verdict; exit code 3: not worth it, or a collapse. Interrupted, the same command continues."
    ),
    {
        "a detector and photographs": "ch_PP-OCRv4_det_infer --task det --images photos --out smaller",
        "half the time of a recogniser, after 20 minutes of training": (
            "rec.onnx --task rec --images lines --out smaller --target latency=0.5 --minutes 20"
        ),
        "a detector and a recogniser within one budget": (
            "--det ch_PP-OCRv4_det_infer --rec ch_PP-OCRv4_rec_infer --images pages --out smaller --target latency=0.5"
        ),
        "only the characters that are needed": "rec.onnx --task rec --images lines --chars digits.txt --out smaller",
    },
    _compress,
    _compress_arguments,
    configure=_compress_configuration,
    needs_config=False,
    data_sets=("Eval",),
    trains=True,
    resumable=True,
    exit_code=_exit_code,
)
