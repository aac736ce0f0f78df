"""What is asked of a model: its scores, what it finds, its channel groups."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ocrslim.cli.commands.base import EXAMPLE_CONFIG, EXAMPLE_WEIGHTS, Command, Result, load_of_model, model_arguments

if TYPE_CHECKING:
    from ocrslim.config import Config


def _eval(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_eval

    return run_eval(config)


def _predict(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_predict

    return run_predict(config, arguments.images, arguments.out)


def _groups(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_groups

    return run_groups(config)


def _predict_arguments(parser: ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("--images", required=True, metavar="PATH", help="a folder of images, or one image")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder for drawn images and what was found: boxes.json, texts.json or classes.json",
    )


EVAL = Command(
    "score a checkpoint or an exported model on labelled images",
    "On the images of Eval.dataset, as PaddleOCR counts: precision, recall and hmean of a detector, accuracy of a "
    "classifier and, with the edit distance, of a recogniser.",
    {
        "a checkpoint, pruned or not": f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=output/det_db/best_accuracy",
        "an export, on images of your own": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=inference_model Eval.dataset.data_dir=DIR "
            "Eval.dataset.label_file_list=[DIR/val.txt]"
        ),
    },
    _eval,
    data_sets=("Eval",),
    reads_weights=True,
    add_arguments=model_arguments,
    configure=load_of_model,
    needs_config=False,
)

PREDICT = Command(
    "find or read text in images, draw it, write it as JSON",
    (
        "A model needs no configuration where one lies beside it: the inference.yml of an exported folder, from "
        "ocrslim or from PaddleOCR, or the config.yml of a checkpoint. Any other exported model is run by the "
        "defaults of its --task."
    ),
    {
        "an exported folder": "inference_model --images DIR --out seen",
        "an ONNX file that nothing lies beside": "detector.onnx --task det --images DIR --out seen",
        "a checkpoint, by its configuration": (
            f"{EXAMPLE_CONFIG} --images page.jpg --out seen {EXAMPLE_WEIGHTS}=output/det_db/best_accuracy"
        ),
    },
    _predict,
    _predict_arguments,
    configure=load_of_model,
    needs_config=False,
    data_sets=("Eval",),
    reads_weights=True,
)

GROUPS = Command(
    "list the channel groups, and why the other layers cannot be pruned",
    "No images are needed.",
    {
        "for reading": EXAMPLE_CONFIG,
        "of a downloaded model": "inference_model --task det",
        "for a program: one JSON object on the last line": f"{EXAMPLE_CONFIG} --json",
    },
    _groups,
    add_arguments=model_arguments,
    configure=load_of_model,
    needs_config=False,
)
