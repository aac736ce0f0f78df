"""The commands: a summary, examples, arguments, and what runs each.

A new command is one more entry of `COMMANDS`. Functions import what they need when they are called: nothing that takes
time is imported before the configuration has been read.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocrslim.errors import UNVERIFIED, OcrSlimError

if TYPE_CHECKING:
    from ocrslim.config import Config

Result = dict[str, Any]
RUNTIMES = ("paddle", "onnxruntime", "openvino")  # those of Export.runtime
_MOST, _MOST_PIXELS = 10_000, 1 << 26


def load(arguments: Namespace) -> Config:
    """Read the configuration that `-c` and `-o` give."""
    from ocrslim.config import load_config

    return load_config(arguments.config, arguments.opt)


def load_of_model(arguments: Namespace) -> Config:
    """Read the configuration that `-c`, MODEL, `--task` and `-o` give.

    Raises:
        OcrSlimError: neither a configuration nor a model is named, or what is named is wrong.
    """
    from ocrslim.config import load_config, load_model_config

    if arguments.model is not None:
        return load_model_config(arguments.model, arguments.config, arguments.opt, arguments.task)
    if arguments.config is None:
        raise OcrSlimError(
            "no model is named: expected MODEL (an inference folder, an ONNX file or a checkpoint beside its "
            f"config.yml), or -c CONFIG (ocrslim {arguments.stage} --help shows examples)"
        )
    return load_config(arguments.config, arguments.opt)


def load_of_images(arguments: Namespace) -> Config:
    """Read the configuration as `load_of_model`; of `--images` both data sets are made, without labels."""
    from ocrslim.config import setting

    if arguments.images is not None:
        data = []
        for mode in ("Train", "Eval"):
            data += [setting(f"{mode}.dataset.data_dir", str(arguments.images)), f"{mode}.dataset.label_file_list="]
        arguments.opt = [*data, *arguments.opt]  # of one key, the last counts
    return load_of_model(arguments)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        summary: one line, for the list of commands and the top of the command's own help.
        details: sentences that follow it there.
        examples: a purpose -> the words to type after the command's name.
        run: does the work; what it returns is printed with `--json`.
        add_arguments: adds the arguments that only this command has.
        configure: reads the configuration, before Paddle is imported.
        needs_config: whether `-c` must be given.
        data_sets: sections whose transforms are checked first, "Train" and "Eval".
        trains: has an optimizer, unless it is a dry run.
        reads_weights: takes the weights that the configuration names as they are, unless it trains.
        needs_paddle: runs or loads a network.
        resumable: goes on where it was when it is run again after an interruption.
        exit_code: of what it returned.
    """

    summary: str
    details: str
    examples: Mapping[str, str]
    run: Callable[[Config, Namespace], Result]
    add_arguments: Callable[[ArgumentParser], object] = lambda _: None
    configure: Callable[[Namespace], Config] = load
    needs_config: bool = True
    data_sets: tuple[str, ...] = ()
    trains: bool = False
    reads_weights: bool = False
    needs_paddle: bool = True
    resumable: bool = False
    exit_code: Callable[[Result], int] = lambda _: 0


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


def _eval(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_eval

    return run_eval(config)


def _predict(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_predict

    return run_predict(config, arguments.images, arguments.out)


def _merge(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_merge

    return run_merge(config, arguments.sources)


def _groups(config: Config, _: Namespace) -> Result:
    from ocrslim.commands import run_groups

    return run_groups(config)


def _config(config: Config, _: Namespace) -> Result:
    from ocrslim.config import listing

    print(listing(config))
    return {"config": config.tree, "origins": dict(config.origins)}


def _import_weights(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_import

    return run_import(config, arguments.source, arguments.destination)


def _model_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="an inference folder, an ONNX file, or a checkpoint beside its config.yml; before -o",
    )
    parser.add_argument(
        "--task", metavar="TASK", help="det, rec or cls: what MODEL is for, where neither -c nor an inference.yml says"
    )


def _images_arguments(parser: ArgumentParser) -> None:
    _model_arguments(parser)
    parser.add_argument(
        "--images", metavar="DIR", help="images without labels: what MODEL finds in them is taken for their labels"
    )


def _prune_arguments(parser: ArgumentParser) -> None:
    _images_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and its costs; change and write nothing")


def _predict_arguments(parser: ArgumentParser) -> None:
    _model_arguments(parser)
    parser.add_argument("--images", required=True, metavar="PATH", help="a folder of images, or one image")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder for drawn images and what was found: boxes.json, texts.json or classes.json",
    )


def _merge_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="folders that sensitivity wrote into; before -o")


def _import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", help="ONNX file, inference folder or checkpoint; before -o")
    parser.add_argument("destination", help="the .pdparams to write")


def _charset(config: Config, arguments: Namespace) -> Result:
    from ocrslim.commands import run_charset

    return run_charset(config, arguments.wanted, arguments.out)


def _charset_configuration(arguments: Namespace) -> Config:
    from ocrslim.config import setting
    from ocrslim.tasks import read_wanted

    if not (arguments.chars or arguments.text or arguments.labels):
        raise OcrSlimError("no characters are named: expected --chars FILE, --text FILE or --labels FILE")
    arguments.wanted = read_wanted(arguments.chars, arguments.text, arguments.labels)
    if arguments.dictionary is not None:
        arguments.opt += [setting("Global.character_dict_path", str(arguments.dictionary))]
    arguments.task = None if arguments.config else "rec"
    return load_of_model(arguments)


def _charset_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="an inference folder, an ONNX file, or a checkpoint beside its config.yml or with -c; before -o",
    )
    files: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "FILE"}
    parser.add_argument("--chars", help="characters to keep, one a line, as in a dictionary", **files)
    parser.add_argument("--text", help="text, all characters of which are kept", **files)
    parser.add_argument("--labels", help="label files, all characters of whose texts are kept", **files)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the smaller model; new or empty")
    parser.add_argument(
        "--dict", dest="dictionary", metavar="FILE", help="dictionary of MODEL, where it does not bring one along"
    )


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
    parser.add_argument(
        "--task", metavar="TASK", help="det, rec or cls: what they are for, where neither -c nor an inference.yml says"
    )
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="where to run them; by default in all that are installed",
        **several,
    )
    parser.add_argument(
        "--threads", type=_count, metavar="N", help="numbers of threads; by default 1, and one a processor", **several
    )
    parser.add_argument(
        "--sizes",
        type=_size,
        metavar="HxW",
        help="sizes of the image in pixels; by default what the task's usual images become by the transforms",
        **several,
    )
    parser.add_argument("--score", action="store_true", help="also score them, on the images of Eval.dataset")
    parser.add_argument("--rounds", type=_count, default=20, metavar="N", help="timed passes of each (default: 20)")


def _count(text: str) -> int:
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


_CONFIG = "-c configs/det/det_mv3_db.yml"
_WEIGHTS = "-o Global.pretrain_weights"

COMMANDS: dict[str, Command] = {
    "sensitivity": Command(
        "measure what each layer loses when pruned -> sen.pickle",
        (
            "Stage 1 of 3. Each layer is pruned alone at each of Prune.ratios, and the network scored on the "
            "evaluation images; the table, its record and two pictures go to Global.save_model_dir. "
            "Interrupted, the same command continues."
        ),
        {
            "every layer at nine ratios, on all evaluation images": f"{_CONFIG} {_WEIGHTS}=PATH/best_accuracy",
            "sooner: only what it takes to know each layer's ratio, and at most 30 minutes": (
                f"{_CONFIG} {_WEIGHTS}=PATH/best_accuracy Prune.mode=adaptive Prune.budget_minutes=30"
            ),
        },
        _sensitivity,
        data_sets=("Eval",),
        reads_weights=True,
        resumable=True,
        add_arguments=_images_arguments,
        configure=load_of_images,
        needs_config=False,
    ),
    "prune": Command(
        "prune, refit and fine-tune -> best_accuracy.pdparams",
        (
            "Stage 2 of 3. Channels are chosen by the table in Global.save_model_dir, for Prune.loss_tolerance "
            "or for Prune.target (which Prune.criterion=reconstruction reaches without a table), and removed; layers "
            "are refitted and the network trained, unless Global.epoch_num is 0, as it is for a MODEL without "
            "configuration. Interrupted, the same command continues."
        ),
        {
            "show the plan that halves the multiply-accumulates, and its costs": (
                f"{_CONFIG} --dry-run {_WEIGHTS}=PATH/best_accuracy Prune.target.macs=0.5"
            ),
            "prune by that plan and train for 100 epochs": (
                f"{_CONFIG} {_WEIGHTS}=PATH/best_accuracy Prune.target.macs=0.5 Global.epoch_num=100"
            ),
            "an exported model and photographs without labels: prune and refit": (
                "inference_model --task det --images DIR -o Prune.criterion=reconstruction Prune.target.macs=0.3"
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
    ),
    "export": Command(
        "export a checkpoint and prove the result -> an inference folder, or the ONNX file it was made from",
        (
            "Stage 3 of 3. Each format is run in its own runtime against the checkpoint on a photograph; past a "
            "difference of 1e-4 the export fails and leaves nothing. No images are needed. Exit code 4: a format is "
            "written, and could not be run here."
        ),
        {
            "the pruned checkpoint": (
                f"{_CONFIG} {_WEIGHTS}=output/det_db/best_accuracy Global.save_inference_dir=inference_model"
            ),
            "proven on a photograph of your own": (
                f"{_CONFIG} {_WEIGHTS}=output/det_db/best_accuracy Global.save_inference_dir=inference_model "
                "Global.infer_img=page.jpg"
            ),
            "for several clients": (
                f"{_CONFIG} {_WEIGHTS}=output/det_db/best_accuracy Global.save_inference_dir=inference_model "
                "'Export.formats=[paddle, pir, onnx]'"
            ),
        },
        _export,
        exit_code=lambda result: UNVERIFIED if result["unverified"] else 0,
        data_sets=("Eval",),
        reads_weights=True,
        add_arguments=_model_arguments,
        configure=load_of_model,
        needs_config=False,
    ),
    "train": Command(
        "train or fine-tune without pruning",
        "A pruned checkpoint is trained on as it is, with its plan. Interrupted, the same command continues.",
        {
            "fine-tune for 100 epochs": f"{_CONFIG} {_WEIGHTS}=PATH/best_accuracy Global.epoch_num=100",
            "start from the weights of a backbone": f"{_CONFIG} {_WEIGHTS}= Global.init_backbone=PATH",
        },
        _train,
        data_sets=("Train", "Eval"),
        trains=True,
        resumable=True,
        add_arguments=_images_arguments,
        configure=load_of_images,
        needs_config=False,
    ),
    "eval": Command(
        "score a checkpoint or an exported model on labelled images",
        "On the images of Eval.dataset, as PaddleOCR counts: precision, recall and hmean of a detector, accuracy of a "
        "classifier and, with the edit distance, of a recogniser.",
        {
            "a checkpoint, pruned or not": f"{_CONFIG} {_WEIGHTS}=output/det_db/best_accuracy",
            "an export, on images of your own": (
                f"{_CONFIG} {_WEIGHTS}=inference_model Eval.dataset.data_dir=DIR "
                "Eval.dataset.label_file_list=[DIR/val.txt]"
            ),
        },
        _eval,
        data_sets=("Eval",),
        reads_weights=True,
        add_arguments=_model_arguments,
        configure=load_of_model,
        needs_config=False,
    ),
    "predict": Command(
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
                f"{_CONFIG} --images page.jpg --out seen {_WEIGHTS}=output/det_db/best_accuracy"
            ),
        },
        _predict,
        _predict_arguments,
        configure=load_of_model,
        needs_config=False,
        data_sets=("Eval",),
        reads_weights=True,
    ),
    "merge": Command(
        "put measurements of several folders, such as shards, together into Global.save_model_dir",
        "They must come from the same configuration, weights and images; anything else is refused by name.",
        {
            "two folders into a third": f"part1 part2 {_CONFIG} -o Global.save_model_dir=output/whole",
            "all folders in shards/": f"shards/* {_CONFIG} -o Global.save_model_dir=output/whole",
        },
        _merge,
        _merge_arguments,
        data_sets=("Eval",),
    ),
    "charset": Command(
        "keep only the characters that are read, of a recogniser's thousands -> a smaller model",
        (
            "The other classes of the last layer are removed exactly, without training: probabilities are those of the "
            "whole model, divided by their sum over the kept classes. The blank stays, and the space where the model "
            "has it. The format stays, with dictionary and settings to match; a checkpoint can be trained on."
        ),
        {
            "the characters of a text file": "en_rec.onnx --text invoices.txt --out small",
            "those of the labels to fine-tune on": (
                "PATH/best_accuracy -c configs/rec/PP-OCRv4/PP-OCRv4_mobile_rec.yml --labels train.txt --out small"
            ),
        },
        _charset,
        add_arguments=_charset_arguments,
        configure=_charset_configuration,
        needs_config=False,
        reads_weights=True,
    ),
    "bench": Command(
        "time exports in the runtimes installed, beside each other",
        (
            "Each runtime and number of threads has a process of its own; in it the exports run in turns, on noise. "
            "Printed are the median and the quartiles of the milliseconds, and the ratio to the first export. Of a "
            "folder each runtime takes the format that it reads, also from the folders onnx and pir in it."
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
    ),
    "groups": Command(
        "list the channel groups, and why the other layers cannot be pruned",
        "No images are needed.",
        {
            "for reading": _CONFIG,
            "of a downloaded model": "inference_model --task det",
            "for a program: one JSON object on the last line": f"{_CONFIG} --json",
        },
        _groups,
        add_arguments=_model_arguments,
        configure=load_of_model,
        needs_config=False,
    ),
    "config": Command(
        "print the resolved configuration, with where each value comes from",
        "Nothing but the configuration is read. What is printed can be used as a configuration itself.",
        {
            "with its defaults": _CONFIG,
            "with overrides": f"{_CONFIG} -o Prune.target.macs=0.5 Global.seed=7",
        },
        _config,
        needs_paddle=False,
    ),
    "import-weights": Command(
        "convert an ONNX file or an inference folder to a checkpoint",
        (
            "The keys are those of PaddleOCR's checkpoints. Nothing that is there already is replaced without "
            "-o Global.overwrite=true."
        ),
        {
            "an ONNX file": f"model.onnx weights/detector.pdparams {_CONFIG}",
            "an inference folder, replacing an earlier import": (
                f"ch_PP-OCRv3_det_infer weights/detector.pdparams {_CONFIG} -o Global.overwrite=true"
            ),
        },
        _import_weights,
        _import_arguments,
    ),
}
