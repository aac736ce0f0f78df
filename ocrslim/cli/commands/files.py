"""What is done with files: measurements put together, a configuration printed, weights converted."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ocrslim.cli.commands.base import EXAMPLE_CONFIG, Command, Result

if TYPE_CHECKING:
    from ocrslim.config import Config


def _merge(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_merge

    return run_merge(config, arguments.sources)


def _config(config: Config, _: Namespace) -> Result:
    from ocrslim.config import listing

    print(listing(config))
    return {"config": config.tree, "origins": dict(config.origins)}


def _import_weights(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_import

    return run_import(config, arguments.source, arguments.destination)


def _merge_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="folders that sensitivity wrote into; before -o")


def _import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", help="ONNX file, inference folder or checkpoint; before -o")
    parser.add_argument("destination", help="the .pdparams to write")


MERGE = Command(
    "put measurements of several folders, such as shards, together into Global.save_model_dir",
    "They must come from the same configuration, weights and images; anything else is refused by name.",
    {
        "two folders into a third": f"part1 part2 {EXAMPLE_CONFIG} -o Global.save_model_dir=output/whole",
        "all folders in shards/": f"shards/* {EXAMPLE_CONFIG} -o Global.save_model_dir=output/whole",
    },
    _merge,
    _merge_arguments,
    data_sets=("Eval",),
)

CONFIG = Command(
    "print the resolved configuration, with where each value comes from",
    "Nothing but the configuration is read. What is printed can be used as a configuration itself.",
    {
        "with its defaults": EXAMPLE_CONFIG,
        "with overrides": f"{EXAMPLE_CONFIG} -o Prune.target.macs=0.5 Global.seed=7",
    },
    _config,
    needs_paddle=lambda _: False,
)

IMPORT_WEIGHTS = Command(
    "convert an ONNX file or an inference folder to a checkpoint",
    (
        "The keys are those of PaddleOCR's checkpoints. Nothing that is there already is replaced without "
        "-o Global.overwrite=true."
    ),
    {
        "an ONNX file": f"model.onnx weights/detector.pdparams {EXAMPLE_CONFIG}",
        "an inference folder, replacing an earlier import": (
            f"ch_PP-OCRv3_det_infer weights/detector.pdparams {EXAMPLE_CONFIG} -o Global.overwrite=true"
        ),
    },
    _import_weights,
    _import_arguments,
)
