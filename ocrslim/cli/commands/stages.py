"""The three stages, and training without pruning."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ocrslim.cli.commands.base import (
    EXAMPLE_CONFIG,
    EXAMPLE_WEIGHTS,
    Command,
    Result,
    images_arguments,
    load_of_images,
    load_of_model,
    model_arguments,
)
from ocrslim.errors import UNVERIFIED

if TYPE_CHECKING:
    from ocrslim.config import Config


def _sensitivity(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_sensitivity

    return run_sensitivity(config)


def _prune(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_dry, run_prune

    return run_dry(config) if arguments.dry_run else run_prune(config)


def _export(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_export

    return run_export(config)


def _train(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_train

    return run_train(config)


def _prune_arguments(parser: ArgumentParser) -> None:
    images_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and its costs; change and write nothing")


SENSITIVITY = Command(
    "measure what each layer loses when pruned -> sen.pickle",
    (
        "Stage 1 of 3. Each layer is pruned alone at each of Prune.ratios, and the network scored on the "
        "evaluation images; the table, its record and two pictures go to Global.save_model_dir. "
        "Interrupted, the same command continues."
    ),
    {
        "every layer at nine ratios, on all evaluation images": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=PATH/best_accuracy"
        ),
        "sooner: only what it takes to know each layer's ratio, and at most 30 minutes": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=PATH/best_accuracy Prune.mode=adaptive Prune.budget_minutes=30"
        ),
    },
    _sensitivity,
    data_sets=("Eval",),
    reads_weights=True,
    resumable=True,
    add_arguments=images_arguments,
    configure=load_of_images,
    needs_config=False,
)

PRUNE = Command(
    "prune, refit and fine-tune -> best_accuracy.pdparams",
    (
        "Stage 2 of 3. Channels are chosen and removed, for Prune.loss_tolerance by the table in "
        "Global.save_model_dir, or for Prune.target, which needs no table: several plans compete for it. Layers "
        "are refitted and the network trained, unless Global.epoch_num is 0, as it is for a MODEL without "
        "configuration. Interrupted, the same command continues."
    ),
    {
        "show the plan that halves the multiply-accumulates, and its costs": (
            f"{EXAMPLE_CONFIG} --dry-run {EXAMPLE_WEIGHTS}=PATH/best_accuracy Prune.target.macs=0.5"
        ),
        "prune by that plan and train for 100 epochs": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=PATH/best_accuracy Prune.target.macs=0.5 Global.epoch_num=100"
        ),
        "an exported model and photographs without labels: prune and refit": (
            "inference_model --task det --images DIR -o Prune.target.macs=0.3"
        ),
    },
    _prune,
    _prune_arguments,
    data_sets=("Train", "Eval"),
    trains=True,
    reads_weights=True,
    resumable=True,
    configure=load_of_images,
    needs_config=False,
)

EXPORT = Command(
    "export a checkpoint and prove the result -> an inference folder, or the ONNX file it was made from",
    (
        "Stage 3 of 3. Each format is run in its own runtime against the checkpoint on a photograph; past a "
        "difference of 1e-4 the export fails and leaves nothing. No images are needed. Exit code 4: a format is "
        "written, and could not be run here."
    ),
    {
        "the pruned checkpoint": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=output/det_db/best_accuracy Global.save_inference_dir=inference_model"
        ),
        "proven on a photograph of your own": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=output/det_db/best_accuracy Global.save_inference_dir=inference_model "
            "Global.infer_img=page.jpg"
        ),
        "for several clients": (
            f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=output/det_db/best_accuracy Global.save_inference_dir=inference_model "
            "'Export.formats=[paddle, pir, onnx]'"
        ),
    },
    _export,
    exit_code=lambda result: UNVERIFIED if result["unverified"] else 0,
    data_sets=("Eval",),
    reads_weights=True,
    add_arguments=model_arguments,
    configure=load_of_model,
    needs_config=False,
)

TRAIN = Command(
    "train or fine-tune without pruning",
    "A pruned checkpoint is trained on as it is, with its plan. Interrupted, the same command continues.",
    {
        "fine-tune for 100 epochs": f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}=PATH/best_accuracy Global.epoch_num=100",
        "start from the weights of a backbone": f"{EXAMPLE_CONFIG} {EXAMPLE_WEIGHTS}= Global.init_backbone=PATH",
    },
    _train,
    data_sets=("Train", "Eval"),
    trains=True,
    resumable=True,
    add_arguments=images_arguments,
    configure=load_of_images,
    needs_config=False,
)
