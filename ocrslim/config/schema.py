"""What a configuration may say: every key this project owns or reads, as tables.

The keys are those of PaddleOCR's detection configurations (release/2.x) for the parts that exist here,
and `Prune`. A key outside the tables is an error. What a number may be at most is where it stops to mean anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ocrslim.utils.validators import (
    ANYTHING,
    BELOW_ONE,
    BOOL,
    CHARACTERS,
    COMPUTED,
    EPOCH_NUM,
    EPOCHS,
    EVAL_STEP,
    FOLDER,
    FRACTION,
    LABEL_FILES,
    MINUTES,
    MOST_EPOCHS,
    NO_ASF,
    NOTHING,
    ONE_IMAGE,
    PART,
    PATH,
    PATTERNS,
    RATE,
    RATES,
    RATIOS,
    SHARD,
    SHARES,
    SOME_PATTERNS,
    STRING,
    TINY,
    TRANSFORMS,
    WEIGHT,
    ZERO_TO_ONE,
    Node,
    Rule,
    Section,
    Variants,
    choice,
    named,
    real,
    whole,
)

MIN_RECOVER_IMAGES = 4
TARGETS = ("macs", "params", "latency")


@dataclass(frozen=True)
class PruneOptions:
    """The section `Prune`; a *ratio* is the fraction removed, a *loss* is relative to the baseline."""

    criterion: str = "fpgm"
    group_score: str = "master"
    calibration_batches: int = 8
    ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    layers: tuple[str, ...] = ("*",)
    mode: str = "exact"
    engine: str = "auto"
    workers: int | None = None
    cache_gib: float = 1.5
    budget_minutes: float | None = None
    shard: str | None = None
    skip: tuple[str, ...] = ()
    skip_first: int = 4
    skip_ratio: float = 0.1
    skip_loss: float = 0.02
    sen_file: str | None = None
    loss_tolerance: float = 0.02
    target: Mapping[str, float] | None = None  # {what: fraction of it to remove}, one of TARGETS
    rounds: int = 1
    align: int | None = None
    min_channels: int = 1
    recover: bool = True
    recover_images: int = 40
    # weights of losses, and the fraction of the training over which they fall to 0
    distill: Mapping[str, float] = field(default_factory=lambda: {"maps": 1.0, "features": 1.0, "fade": 0.5})


# Two names of one thing: the documented commands use the left one, the resolved configuration the right one.
ALIASES = {
    "Global.pretrain_weights": "Global.pretrained_model",
    "Global.test_batch_size_per_card": "Eval.loader.batch_size_per_card",
}

# What PaddleOCR 1.x had, and other keys that people bring along: what to use here.
REPLACED = {
    "Global.reader_yml": "PaddleOCR 1.x kept the data in a file of their own, since 2.0 they are in Train.dataset and "
    "Eval.dataset of this one: copy both sections from a file in configs/det",
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
""".split()

_GLOBAL = Section(
    keys={
        **dict.fromkeys(_FOREIGN_GLOBAL, ANYTHING),
        "use_gpu": BOOL,
        "use_amp": BOOL,
        "use_visualdl": BOOL,
        "amp_dtype": choice("float16", "bfloat16"),
        "scale_loss": real(0, 2**32, above=True),
        "use_dynamic_loss_scaling": BOOL,
        "epoch_num": whole(1, MOST_EPOCHS),
        "print_batch_step": whole(1),
        "save_epoch_step": whole(1),
        "eval_batch_step": EVAL_STEP,
        "save_model_dir": FOLDER,
        "infer_img": PATH,
        "model_name": Rule("text", STRING.convert, optional=True, textual=True),
        "save_inference_dir": PATH,
        "pretrained_model": PATH,
        "checkpoints": PATH,
        "init_backbone": PATH,
        "seed": whole(0, 2**31 - 1),
        "overwrite": BOOL,
    },
    defaults={"save_model_dir": "./output/", "seed": 1024, "overwrite": False},
)

IMAGE_CHANNELS = Rule("3: images have three channels", whole(3, 3).convert)
_MOBILENET_V3 = Section(
    named(
        in_channels=IMAGE_CHANNELS,
        model_name=choice("large", "small"),
        scale=choice(0.35, 0.5, 0.75, 1.0, 1.25),
        disable_se=BOOL,
    )
)
_OUT_CHANNELS = whole(4, 4096, step=4)  # a quarter of them for each of the four levels
_DB_FPN = Section(named(in_channels=COMPUTED, out_channels=_OUT_CHANNELS, use_asf=NO_ASF), required=("out_channels",))
_RSE_FPN = Section(named(in_channels=COMPUTED, out_channels=_OUT_CHANNELS, shortcut=BOOL), required=("out_channels",))
_DB_HEAD = Section(named(in_channels=COMPUTED, k=real(0, 1000, above=True)))

_ARCHITECTURE = Section(
    keys={
        "model_type": choice("det"),
        "algorithm": choice("DB"),
        "Transform": NOTHING,
        "Backbone": Variants({"MobileNetV3": _MOBILENET_V3}),
        "Neck": Variants({"DBFPN": _DB_FPN, "RSEFPN": _RSE_FPN}),
        "Head": Variants({"DBHead": _DB_HEAD}),
    },
    required=("model_type", "algorithm", "Backbone", "Neck", "Head"),
)

_DB_LOSS = Section(
    named(
        balance_loss=BOOL,
        main_loss_type=choice("DiceLoss", "BCELoss"),
        alpha=WEIGHT,
        beta=WEIGHT,
        ohem_ratio=WEIGHT,
        eps=TINY,
    )
)

_WARM_UP: dict[str, Node] = {"warmup_epoch": EPOCH_NUM}
_ONE_RATE = Section(named(learning_rate=RATE, **_WARM_UP), required=("learning_rate",))
_SCHEDULES = Variants(
    {
        "Const": _ONE_RATE,
        "Cosine": _ONE_RATE,
        # PaddleOCR's files often leave `learning_rate` beside the values, where it means nothing
        "Piecewise": Section(
            named(decay_epochs=EPOCHS, values=RATES, learning_rate=RATE, **_WARM_UP),
            required=("decay_epochs", "values"),
        ),
    },
    default="Const",
)
_DECAY = Section(named(factor=ZERO_TO_ONE), required=("factor",))
_NORM = real(0, 1e9, above=True)
_COMMON: dict[str, Node] = {
    "lr": _SCHEDULES,
    "regularizer": Variants(dict.fromkeys(("L1", "L2", "L1Decay", "L2Decay"), _DECAY)),
    "clip_norm": _NORM,
    "clip_norm_global": _NORM,
    "ema": Section({"decay": BELOW_ONE}, defaults={"decay": 0.999}),
}
_ADAM: dict[str, Node] = {"beta1": BELOW_ONE, "beta2": BELOW_ONE, "epsilon": TINY, **_COMMON}
_OPTIMIZER = Variants(
    {
        "Adam": Section(named(**_ADAM), required=("lr",)),
        "AdamW": Section(named(weight_decay=ZERO_TO_ONE, **_ADAM), required=("lr",)),
        "Momentum": Section(named(momentum=BELOW_ONE, **_COMMON), required=("lr",)),
    }
)

_DB_POST_PROCESS = Section(
    named(
        thresh=FRACTION,
        box_thresh=BELOW_ONE,
        max_candidates=whole(1, 1_000_000),
        unclip_ratio=real(0, 20, above=True),
        use_dilation=BOOL,
        score_mode=choice("fast", "slow"),
        box_type=choice("quad", "poly"),
    )
)

_TARGET = Section(dict.fromkeys((*TARGETS, "flops"), PART))
_DISTILL = Section(named(maps=WEIGHT, features=WEIGHT, fade=ZERO_TO_ONE), defaults=PruneOptions().distill)

_PRUNE = Section(
    keys={
        "criterion": choice("fpgm", "l1", "l2", "bn_scale", "taylor", "reconstruction", "random"),
        "group_score": choice("master", "mean", "max"),
        "calibration_batches": whole(1, 1_000_000),
        "ratios": RATIOS,
        "layers": SOME_PATTERNS,
        "mode": choice("exact", "adaptive"),
        "engine": choice("auto", "dygraph"),
        "workers": whole(1, 1024, optional=True),
        "cache_gib": real(0, 1e6),
        "budget_minutes": MINUTES,
        "shard": SHARD,
        "skip": PATTERNS,
        "skip_first": whole(0, 15),
        "skip_ratio": FRACTION,
        "skip_loss": ZERO_TO_ONE,
        "sen_file": PATH,
        "loss_tolerance": ZERO_TO_ONE,
        "target": _TARGET,
        "rounds": whole(1, 100),
        "align": whole(1, 4096, optional=True),
        "recover": BOOL,
        "recover_images": whole(MIN_RECOVER_IMAGES, 1_000_000),
        "distill": _DISTILL,
        "min_channels": whole(1, 4096),
    },
    defaults={k: list(v) if isinstance(v, tuple) else v for k, v in asdict(PruneOptions()).items()},
)

_SIMPLE_DATA_SET = Section(
    named(
        data_dir=FOLDER,
        label_file_list=LABEL_FILES,
        ratio_list=SHARES,
        transforms=TRANSFORMS,
        delimiter=CHARACTERS,
        ext_op_transform_idx=whole(0, 100),
        ds_width=BOOL,
    ),
    required=("data_dir", "label_file_list", "transforms"),
)


def _loader(batch_size: Rule, defaults: Mapping[str, Any]) -> Section:
    return Section(
        keys={
            "shuffle": BOOL,
            "drop_last": BOOL,
            "batch_size_per_card": batch_size,
            "num_workers": whole(0, 1024),
            "use_shared_memory": BOOL,
        },
        required=("batch_size_per_card",),
        defaults={"drop_last": False, "num_workers": 0, **defaults},
    )


def _data(loader: Section) -> Section:
    return Section({"dataset": Variants({"SimpleDataSet": _SIMPLE_DATA_SET}), "loader": loader})


SCHEMA = Section(
    keys={
        "Global": _GLOBAL,
        "Architecture": _ARCHITECTURE,
        "Loss": Variants({"DBLoss": _DB_LOSS}),
        "Optimizer": _OPTIMIZER,
        "PostProcess": Variants({"DBPostProcess": _DB_POST_PROCESS}),
        "Metric": Variants({"DetMetric": Section(named(main_indicator=choice("hmean", "precision", "recall")))}),
        "Train": _data(_loader(whole(1, 65536), {"shuffle": True})),
        "Eval": _data(_loader(ONE_IMAGE, {"shuffle": False, "batch_size_per_card": 1})),
        "Prune": _PRUNE,
        "profiler_options": ANYTHING,
        "wandb": ANYTHING,
        "AMP": ANYTHING,
    },
    defaults={"Global": _GLOBAL.defaults, "Prune": _PRUNE.defaults},
)


def known_keys(node: Node = SCHEMA, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the tables, sections included; variants together, aliases left out."""
    sections = node.options.values() if isinstance(node, Variants) else [node]
    for section in sections:
        if isinstance(section, Section):
            for key, child in section.keys.items():
                yield prefix + key
                yield from known_keys(child, f"{prefix}{key}.")
