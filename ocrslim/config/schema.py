"""The keys that every configuration may have, as pydantic models; the sections of a task come from its `TaskSchema`.

The keys are those of PaddleOCR's configurations (release/2.x) for the parts that exist here, `Prune` and `Export`. A
key that no model has is an error. The upper bound of a number is where it stops making sense. Every list of allowed
values stands here or in a task's schema; the code that implements them takes it from there, or a test compares them.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Optional

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    create_model,
    field_validator,
)

from ocrslim.config.data_schema import EvalData, TrainData
from ocrslim.config.export_schema import ExportOptions
from ocrslim.config.optimizer_schema import MOST_EPOCHS, Optimizer
from ocrslim.schema import (
    ABSENT,
    ASCENDING,
    MOST,
    ONE_OR_MORE,
    SOME,
    Flag,
    Fraction,
    Number,
    PathText,
    ReadAs,
    Section,
    Text,
    Weight,
    ZeroToOne,
    expected,
    fault,
    real,
    refuse_unless,
    whole,
)
from ocrslim.tasks import TaskSchema

Criterion = Literal["auto", "fpgm", "l1", "l2", "bn_scale", "taylor", "reconstruction", "random"]
GroupScore = Literal["master", "mean", "max"]
Mode = Literal["exact", "adaptive"]
Engine = Literal["auto", "dygraph"]
TARGETS = ("macs", "params", "latency")
MIN_RECOVER_IMAGES = 4


# Two names of one thing: the documented commands use the left one, the resolved configuration the right one.
ALIASES = {
    "Global.pretrain_weights": "Global.pretrained_model",
    "Global.test_batch_size_per_card": "Eval.loader.batch_size_per_card",
}

# The ways to write a key, for messages: an alias, or another word that is replaced once it has been checked.
SPELLINGS = {**ALIASES, "Prune.target.flops": "Prune.target.macs"}

# What PaddleOCR 1.x had, and other keys that people bring along: what to use here.
REPLACED = {
    "Global.reader_yml": "PaddleOCR 1.x kept the data in a file of their own, since 2.0 they are in Train.dataset and "
    "Eval.dataset of this one: copy both sections from a file in configs",
    "Global.train_batch_size_per_card": "PaddleOCR 1.x's key; it is Train.loader.batch_size_per_card now",
    "Global.image_shape": "PaddleOCR 1.x's key; sizes now stand in the transforms: EastRandomCropData.size in "
    "Train.dataset.transforms, DetResizeForTest.image_shape in Eval.dataset.transforms",
    "Global.use_ema": "PP-OCRv6's key; set Optimizer.ema.decay instead",
    "Global.ema_decay": "PP-OCRv6's key; set Optimizer.ema.decay instead",
    "Global.ema_decay_type": "PP-OCRv6's key; Optimizer.ema has one type",
    "Architecture.function": "PaddleOCR 1.x's key; networks now have names: Architecture.model_type and algorithm, "
    "and name in its Backbone, Neck and Head",
    "Backbone": "PaddleOCR 1.x's section; it is Architecture.Backbone now",
    "Neck": "it is Architecture.Neck here",
    "Head": "PaddleOCR 1.x's section; it is Architecture.Head, beside Architecture.Neck, now",
    "Loss.function": "PaddleOCR 1.x's key; it is Loss.name now",
    "PostProcess.function": "PaddleOCR 1.x's key; it is PostProcess.name now",
    "Optimizer.function": "PaddleOCR 1.x's key; it is Optimizer.name now",
    "Optimizer.base_lr": "PaddleOCR 1.x's key; it is Optimizer.lr.learning_rate now",
    "Optimizer.decay": "PaddleOCR 1.x's key; it is Optimizer.lr, with a name such as Cosine, now",
    "Optimizer.l2_decay": "PaddleOCR 1.x's key; it is Optimizer.regularizer, {name: L2, factor: ...}, now",
    "TrainReader": "PaddleOCR 1.x's section; it is Train, with dataset and loader, now",
    "EvalReader": "PaddleOCR 1.x's section; it is Eval, with dataset and loader, now",
    "TestReader": "PaddleOCR 1.x's section; images without labels are read by: predict --images FOLDER",
}

# PaddleOCR's keys on which nothing here depends: accepted, so that its files work as they are.
_FOREIGN_GLOBAL = """
    debug distributed use_xpu use_mlu use_npu use_gcu use_sync_bn find_unused_parameters load_static_weights
    log_smooth_window log_ranks print_mem_info cal_metric_during_train calc_epoch_interval eval_batch_epoch
    vdl_log_dir use_wandb infer_list infer_mode save_res_path save_visual class_path
    amp_level amp_custom_black_list amp_custom_white_list
    d2s_train_image_shape export_with_pir pdx_model_name
    uniform_output_enabled algorithm character_dict_path rec_char_dict_path character_type max_text_length
    use_space_char
    input_size label_list max_seq_len max_new_tokens num_heads rm_symbol start_ema training_step allow_resize_largeImg
""".split()


def _to_eval_step(value: Any) -> Any:
    first, every = value if isinstance(value, list) and len(value) == 2 else (0, value)
    for number, least in ((first, 0), (every, 1)):
        refuse_unless(isinstance(number, int) and not isinstance(number, bool) and least <= number <= MOST)
    return value


def _to_shard(value: Any) -> str:
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", value if isinstance(value, str) else "")
    refuse_unless(found is not None and 1 <= int(found[1]) <= int(found[2]))
    return f"{int(found[1])}/{int(found[2])}" if found else ""


def _to_target(given: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """Demand one target where there is any, and call FLOPs by their name here."""
    found = {("macs" if key == "flops" else key): value for key, value in given.items() if value is not None}
    names = [key for key, value in given.items() if value is not None]
    if len(names) > 1:
        raise fault(
            f"found {' and '.join(names)}, expected one of {', '.join(TARGETS)}; set -o 'Prune.target={{macs: 0.5}}'"
        )
    return found or None


_Whole = Annotated[int, whole(1)]
_Patterns = Annotated[
    tuple[Text, ...],
    ONE_OR_MORE,
    expected("a pattern or a list of patterns over parameter names, such as ['conv1*', 'neck.*']"),
]
_Part = Annotated[Fraction, expected("a number above 0 and below 1: the fraction to remove")]


class GlobalSection(Section):
    """The settings of a run."""

    use_gpu: Flag = ABSENT
    use_amp: Flag = ABSENT
    use_visualdl: Flag = ABSENT
    amp_dtype: Literal["float16", "bfloat16"] = ABSENT
    scale_loss: Annotated[Number, real(0, 2**32, above=True)] = ABSENT
    use_dynamic_loss_scaling: Flag = ABSENT
    epoch_num: Annotated[int, whole(0, MOST_EPOCHS)] = ABSENT  # 0: pruned and refitted, not trained
    print_batch_step: _Whole = ABSENT
    save_epoch_step: _Whole = ABSENT
    eval_batch_step: Annotated[
        Any, PlainValidator(_to_eval_step), expected("[first, every] in batches, or one whole number of at least 1")
    ] = ABSENT
    save_model_dir: PathText = "./output/"
    infer_img: Optional[PathText] = ABSENT
    model_name: Optional[Text] = ABSENT
    save_inference_dir: Optional[PathText] = ABSENT
    pretrained_model: Optional[PathText] = ABSENT
    checkpoints: Optional[PathText] = ABSENT
    init_backbone: Optional[PathText] = ABSENT
    seed: Annotated[int, whole(0)] = 1024
    overwrite: Flag = False
    paddleocr: Optional[PathText] = ABSENT


class Target(Section):
    """The fraction to remove of one of `TARGETS`; FLOPs are another word for MACs."""

    macs: Optional[_Part] = ABSENT
    params: Optional[_Part] = ABSENT
    latency: Optional[_Part] = ABSENT
    flops: Optional[_Part] = ABSENT


class Distill(Section):
    """Weights of losses, and the fraction of the training over which they fall to 0."""

    maps: Weight = 1.0
    features: Weight = 1.0
    fade: ZeroToOne = 0.5


class PruneOptions(Section):
    """The section `Prune`; a *ratio* is the fraction removed, a *loss* is relative to the baseline."""

    criterion: Criterion = "auto"
    group_score: GroupScore = "master"
    calibration_batches: Annotated[int, whole(1, 1_000_000)] = 8
    ratios: Annotated[
        tuple[Annotated[Number, real(0.001, 0.999)], ...],
        SOME,
        ASCENDING,
        expected("a list of fractions from 0.001 to 0.999, ascending, such as [0.1, 0.3, 0.5]"),
    ] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    layers: Annotated[_Patterns, Field(min_length=1)] = ("*",)
    mode: Mode = "exact"
    engine: Engine = "auto"
    workers: Optional[Annotated[int, whole(1, 1024)]] = None
    cache_gib: Annotated[Number, real(0, 1e6)] = 1.5
    budget_minutes: Optional[
        Annotated[Number, real(0, 1e6, above=True), expected("minutes, more than 0 and at most 1000000")]
    ] = None
    shard: Optional[Annotated[str, PlainValidator(_to_shard), expected("which part of how many, such as 2/8")]] = None
    skip: _Patterns = ()
    skip_first: Optional[Annotated[int, whole(0, 15)]] = None
    skip_ratio: Fraction = 0.1
    skip_loss: ZeroToOne = 0.02
    sen_file: Optional[PathText] = None
    loss_tolerance: ZeroToOne = 0.02
    target: Annotated[Optional[Mapping[str, float]], ReadAs(Target), AfterValidator(_to_target)] = None
    rounds: Annotated[int, whole(1, 100)] = 1
    align: Annotated[
        Optional[Annotated[int, whole(1, 4096)]],
        BeforeValidator(lambda value: None if value == "auto" else value),
        expected("a whole number from 1 to 4096, or auto: what the runtime computes at a time"),
    ] = None
    min_channels: Annotated[int, whole(1, 4096)] = 1
    trial_minutes: Optional[Annotated[Number, real(0, 1e6)]] = None
    recover: Flag = True
    recover_images: Annotated[int, whole(MIN_RECOVER_IMAGES, 1_000_000)] = 40
    distill: Annotated[Mapping[str, float], ReadAs(Distill)] = Field(default_factory=lambda: Distill().plain({}))

    @field_validator("rounds")
    @classmethod
    def _towards_a_target(cls, rounds: int, info: ValidationInfo) -> int:
        if rounds > 1 and "target" in info.data and not info.data["target"]:
            raise fault(f"found {rounds} without Prune.target, expected 1; set -o 'Prune.target={{macs: 0.5}}'")
        return rounds


@cache
def configuration(task: TaskSchema) -> type[Section]:
    """Return the model of a whole configuration for a task."""
    anything: Any = (Any, ABSENT)
    everything: Any = create_model("Global", __base__=GlobalSection, **dict.fromkeys(_FOREIGN_GLOBAL, anything))
    sections: dict[str, Any] = {
        "Global": (everything, Field(default_factory=everything)),
        "Architecture": (Optional[task.architecture], ABSENT),
        "Loss": (Optional[task.loss], ABSENT),
        "Optimizer": (Optional[Optimizer], ABSENT),
        "PostProcess": (Optional[task.post_process], ABSENT),
        "Metric": (Optional[task.metric], ABSENT),
        "Train": (Optional[TrainData], ABSENT),
        "Eval": (Optional[EvalData], ABSENT),
        "Prune": (PruneOptions, Field(default_factory=PruneOptions)),
        "Export": (ExportOptions, Field(default_factory=ExportOptions)),
        **dict.fromkeys(("profiler_options", "wandb", "AMP"), anything),
    }
    return create_model("Configuration", __base__=Section, **sections)
