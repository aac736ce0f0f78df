"""What a configuration may say: every key this project owns or reads, as tables of rules.

The keys are those of PaddleOCR's detection configurations (release/2.x) for the parts that exist here,
and `Prune`. A key outside the tables is an error; transforms are PaddleOCR's own to judge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Union

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class PruneOptions:
    """The section `Prune`; a *ratio* is always the fraction removed, a *loss* is relative to the baseline."""

    criterion: str = "fpgm"
    ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    layers: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    skip_first: int = 4
    skip_ratio: float = 0.1
    skip_loss: float = 0.02
    sen_file: str | None = None
    loss_tolerance: float = 0.02
    align: int | None = None


@dataclass(frozen=True)
class Rule:
    """A single value: `convert` returns it as the program reads it, or raises ValueError."""

    expected: str
    convert: Callable[[Any], Any]
    optional: bool = False  # an empty value (null) stands for "not set"


@dataclass(frozen=True)
class Section:
    """A mapping: its keys, which of them must be there, and what the others are when absent."""

    keys: Mapping[str, Node]
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variants:
    """A mapping whose key `name` decides which other keys it takes."""

    options: Mapping[str, Section]
    default: str | None = None


Node = Union[Rule, Section, Variants]


def _refuse_unless(condition: bool, detail: str = "") -> None:
    if not condition:
        raise ValueError(detail)


def to_number(value: Any) -> int | float:
    """Return `value` as a finite number; YAML 1.1 reads `1e-3` as text, people mean the number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    _refuse_unless(isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value))
    return value


def _text(value: Any) -> str:
    _refuse_unless(isinstance(value, str) and value.strip() != "")
    return value


def _flag(value: Any) -> bool:
    _refuse_unless(isinstance(value, bool))
    return value


def _integer(value: Any) -> int:
    _refuse_unless(isinstance(value, int) and not isinstance(value, bool))
    return value


def _texts(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    _refuse_unless(isinstance(items, list))
    return [_text(item) for item in items]


def _some_texts(value: Any) -> list[str]:
    items = _texts(value)
    _refuse_unless(len(items) > 0, "the list is empty")
    return items


def _eval_step(value: Any) -> Any:
    if isinstance(value, list):
        _refuse_unless(len(value) == 2)
        start, every = (_integer(item) for item in value)
        _refuse_unless(start >= 0 and every >= 1)
        return [start, every]
    _refuse_unless(_integer(value) >= 1)
    return value


def _ratios(value: Any) -> list[float]:
    _refuse_unless(isinstance(value, list) and len(value) > 0)
    ratios = [float(to_number(item)) for item in value]
    _refuse_unless(all(0 < ratio < 1 for ratio in ratios))
    _refuse_unless(all(a < b for a, b in zip(ratios, ratios[1:])), "not ascending")
    return ratios


def _shares(value: Any) -> Any:
    """`ratio_list`: the share of each label file to use; one number serves all files."""
    shares = [to_number(item) for item in (value if isinstance(value, list) else [value])]
    _refuse_unless(all(0 < share <= 1 for share in shares))
    return shares if isinstance(value, list) else shares[0]


def _numbers(value: Any) -> list[int | float]:
    _refuse_unless(isinstance(value, list) and len(value) > 0)
    return [to_number(item) for item in value]


def _epochs(value: Any) -> list[int]:
    _refuse_unless(isinstance(value, list) and len(value) > 0)
    epochs = [_integer(item) for item in value]
    _refuse_unless(epochs[0] >= 1 and all(a < b for a, b in zip(epochs, epochs[1:])))
    return epochs


def _transforms(value: Any) -> list[dict[str, Any]]:
    _refuse_unless(isinstance(value, list) and len(value) > 0)
    for index, item in enumerate(value):
        fault = f"item {index} is {item!r}"
        _refuse_unless(isinstance(item, dict) and len(item) == 1, fault)
        ((name, options),) = item.items()
        _refuse_unless(isinstance(name, str) and (options is None or isinstance(options, dict)), fault)
    return value


def _nothing(value: Any) -> None:
    raise ValueError


def _whole(low: int, high: int | None = None, optional: bool = False, step: int = 1) -> Rule:
    def convert(value: Any) -> int:
        number = _integer(value)
        _refuse_unless(number >= low and (high is None or number <= high) and number % step == 0)
        return number

    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    multiple = f", a multiple of {step}" if step > 1 else ""
    return Rule(f"a whole number {bounds}{multiple}", convert, optional)


def _real(low: float, high: float | None = None, *, above: bool = False, below: bool = False) -> Rule:
    """A number from `low` to `high`; `above`, `below`: without the bound itself."""

    def convert(value: Any) -> float:
        number = to_number(value)
        _refuse_unless(number > low if above else number >= low)
        _refuse_unless(high is None or (number < high if below else number <= high))
        return number

    lower = f"above {low:g}" if above else f"of at least {low:g}"
    upper = "" if high is None else f" and {'below' if below else 'at most'} {high:g}"
    return Rule(f"a number {lower}{upper}", convert)


def _choice(*options: Any) -> Rule:
    def convert(value: Any) -> Any:
        number = to_number(value) if isinstance(options[0], float) else value
        _refuse_unless(any(number == option and type(number) is type(option) for option in options))
        return number

    names = ", ".join(str(option) for option in options)
    return Rule(names if len(options) == 1 else f"one of {names}", convert)


_ANYTHING = Rule("anything", lambda value: value, optional=True)
_BOOL = Rule("true or false", _flag)
_STRING = Rule("text", _text)
_PATH = Rule("a path", _text, optional=True)
_PATTERNS = Rule("a pattern or a list of patterns over parameter names, such as ['conv1*', 'neck.*']", _texts)
_LABEL_FILES = Rule("a label file or a list of label files", _some_texts)
_TRANSFORMS = Rule("a list of transforms, each a mapping with its name as only key", _transforms)
_SHARE = _real(0, 1, above=True, below=True)
_ZERO_TO_ONE = _real(0, 1)
_ONE_IMAGE = Rule(
    "1: images are evaluated one by one, each at its own size", lambda v: _whole(1, 1).convert(v)
)

# PaddleOCR's keys that nothing here depends on: accepted, so that its files work as they are.
_FOREIGN_GLOBAL = """
    debug use_xpu use_mlu use_npu use_gcu distributed log_smooth_window cal_metric_during_train
    load_static_weights use_visualdl vdl_log_dir use_wandb infer_img infer_list infer_mode save_res_path
    d2s_train_image_shape use_amp amp_level amp_dtype amp_custom_black_list amp_custom_white_list scale_loss
    use_dynamic_loss_scaling use_sync_bn find_unused_parameters log_ranks print_mem_info
    calc_epoch_interval eval_batch_epoch character_dict_path rec_char_dict_path character_type
    max_text_length use_space_char uniform_output_enabled export_with_pir model_name pdx_model_name
    class_path save_visual algorithm
""".split()

_GLOBAL = Section(
    keys={
        **dict.fromkeys(_FOREIGN_GLOBAL, _ANYTHING),
        "use_gpu": _BOOL,
        "epoch_num": _whole(1),
        "print_batch_step": _whole(1),
        "save_epoch_step": _whole(1),
        "eval_batch_step": Rule("[first, every] in batches, or one whole number of at least 1", _eval_step),
        "save_model_dir": _STRING,
        "save_inference_dir": _PATH,
        "pretrained_model": _PATH,
        "checkpoints": _PATH,
        "init_backbone": _PATH,
        "seed": _whole(0, 2**31 - 1),
        "overwrite": _BOOL,
    },
    defaults={"save_model_dir": "./output/", "seed": 1024, "overwrite": False},
)

_NAME = Rule("a name", _text)


def _named(**keys: Node) -> dict[str, Node]:
    return {"name": _NAME, **keys}


_BACKBONES = Variants(
    {
        "MobileNetV3": Section(
            _named(
                scale=_choice(0.35, 0.5, 0.75, 1.0, 1.25),
                model_name=_choice("large", "small"),
                disable_se=_BOOL,
                in_channels=_whole(1),
            )
        )
    }
)
_NECKS = Variants(
    {
        "DBFPN": Section(
            _named(
                out_channels=_whole(4, step=4),
                in_channels=_ANYTHING,
                use_asf=Rule("false: adaptive scale fusion (DB++) is not supported", _choice(False).convert),
            ),
            required=("out_channels",),
        ),
        "RSEFPN": Section(
            _named(out_channels=_whole(4, step=4), shortcut=_BOOL, in_channels=_ANYTHING),
            required=("out_channels",),
        ),
    }
)
_HEADS = Variants({"DBHead": Section(_named(k=_real(0, above=True), in_channels=_whole(1)))})

_ARCHITECTURE = Section(
    keys={
        "model_type": _choice("det"),
        "algorithm": _choice("DB"),
        "Transform": Rule("nothing: detection has no such part", _nothing, optional=True),
        "Backbone": _BACKBONES,
        "Neck": _NECKS,
        "Head": _HEADS,
    },
    required=("model_type", "algorithm", "Backbone", "Neck", "Head"),
)

_LOSS = Variants(
    {
        "DBLoss": Section(
            _named(
                balance_loss=_BOOL,
                main_loss_type=_choice("DiceLoss", "BCELoss"),
                alpha=_real(0),
                beta=_real(0),
                ohem_ratio=_real(0),
                eps=_real(0, above=True),
            )
        )
    }
)

_RATE = _real(0, above=True)
_SCHEDULES = Variants(
    {
        "Const": Section(
            _named(learning_rate=_RATE, warmup_epoch=_whole(0)),
            required=("learning_rate",),
        ),
        "Cosine": Section(
            _named(learning_rate=_RATE, warmup_epoch=_whole(0)),
            required=("learning_rate",),
        ),
        "Piecewise": Section(
            _named(
                learning_rate=_RATE,
                decay_epochs=Rule("a list of epochs, ascending", _epochs),
                values=Rule("a list of learning rates, one more than decay_epochs", _numbers),
                warmup_epoch=_whole(0),
            ),
            required=("decay_epochs", "values"),
        ),
    },
    default="Const",
)
_REGULARIZERS = Variants(
    {name: Section(_named(factor=_real(0)), required=("factor",)) for name in ("L1", "L2")}
)
_BETA = _real(0, 1, below=True)
_ADAM: dict[str, Node] = _named(
    beta1=_BETA, beta2=_BETA, epsilon=_real(0, above=True), lr=_SCHEDULES, regularizer=_REGULARIZERS
)
_OPTIMIZER = Variants(
    {
        "Adam": Section(_ADAM, required=("lr",)),
        "AdamW": Section({**_ADAM, "weight_decay": _real(0)}, required=("lr",)),
        "Momentum": Section(
            _named(momentum=_BETA, weight_decay=_real(0), lr=_SCHEDULES, regularizer=_REGULARIZERS),
            required=("lr",),
        ),
    }
)

_POST_PROCESS = Variants(
    {
        "DBPostProcess": Section(
            _named(
                thresh=_ZERO_TO_ONE,
                box_thresh=_ZERO_TO_ONE,
                max_candidates=_whole(1),
                unclip_ratio=_real(0, above=True),
                use_dilation=_BOOL,
                score_mode=_choice("fast", "slow"),
                box_type=_choice("quad", "poly"),
            )
        )
    }
)
_METRIC = Variants({"DetMetric": Section(_named(main_indicator=_choice("hmean", "precision", "recall")))})

_PRUNE = Section(
    keys={
        "criterion": _choice("fpgm", "l1", "l2"),
        "ratios": Rule("a list of fractions between 0 and 1, ascending, such as [0.1, 0.3, 0.5]", _ratios),
        "layers": _PATTERNS,
        "skip": _PATTERNS,
        "skip_first": _whole(0, 15),
        "skip_ratio": _SHARE,
        "skip_loss": _real(0),
        "sen_file": _PATH,
        "loss_tolerance": _ZERO_TO_ONE,
        "align": _whole(1, optional=True),
    },
    defaults={k: list(v) if isinstance(v, tuple) else v for k, v in asdict(PruneOptions()).items()},
)

_DATASET = Variants(
    {
        "SimpleDataSet": Section(
            _named(
                data_dir=_STRING,
                label_file_list=_LABEL_FILES,
                ratio_list=Rule("a fraction of the label file to use, above 0 and at most 1", _shares),
                transforms=_TRANSFORMS,
                delimiter=Rule("text", lambda v: v if isinstance(v, str) and v else _nothing(v)),
                ext_op_transform_idx=_whole(0),
                ds_width=_BOOL,
            ),
            required=("data_dir", "label_file_list", "transforms"),
        )
    }
)


def _mode(batch_size: Rule, defaults: Mapping[str, Any], required: tuple[str, ...]) -> Section:
    loader = Section(
        keys={
            "shuffle": _BOOL,
            "drop_last": _BOOL,
            "batch_size_per_card": batch_size,
            "num_workers": _whole(0),
            "use_shared_memory": _BOOL,
        },
        required=required,
        defaults={"drop_last": False, "num_workers": 0, **defaults},
    )
    return Section({"dataset": _DATASET, "loader": loader})


SCHEMA = Section(
    {
        "Global": _GLOBAL,
        "Architecture": _ARCHITECTURE,
        "Loss": _LOSS,
        "Optimizer": _OPTIMIZER,
        "PostProcess": _POST_PROCESS,
        "Metric": _METRIC,
        "Train": _mode(_whole(1), {"shuffle": True}, ("batch_size_per_card",)),
        "Eval": _mode(_ONE_IMAGE, {"shuffle": False, "batch_size_per_card": 1}, ()),
        "Prune": _PRUNE,
        "profiler_options": _ANYTHING,
        "wandb": _ANYTHING,
        "AMP": _ANYTHING,
    }
)

# Two names of one thing: this project's documentation uses the left one, the resolved tree the right one.
ALIASES = {
    "Global.pretrain_weights": "Global.pretrained_model",
    "Global.test_batch_size_per_card": "Eval.loader.batch_size_per_card",
}


def known_keys(node: Node = SCHEMA, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the tables, sections included, the aliases last."""
    sections = node.options.values() if isinstance(node, Variants) else [node]
    for section in sections:
        if isinstance(section, Section):
            for key, child in section.keys.items():
                yield prefix + key
                yield from known_keys(child, f"{prefix}{key}.")
    if node is SCHEMA:
        yield from ALIASES
