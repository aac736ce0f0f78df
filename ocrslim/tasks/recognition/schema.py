"""The configuration of recognisers: its networks, losses and decoders are PaddleOCR's, which checks their arguments."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ocrslim.schema import ABSENT, Flag, OpenSection, Section, Text
from ocrslim.tasks.input_shape import RESIZES
from ocrslim.tasks.sections import line_schema
from ocrslim.tasks.values import Defaults, adam


class Architecture(OpenSection):
    model_type: Literal["rec"]
    algorithm: Text = ABSENT


class RecMetric(Section):
    name: Literal["RecMetric"]
    main_indicator: Literal["acc", "norm_edit_dis"] = ABSENT
    ignore_space: Flag = ABSENT
    is_filter: Flag = ABSENT


def dataset_faults(dataset: Mapping[str, Any], mode: str) -> list[tuple[str, str]]:
    """Name what keeps a data set from being learnt from or scored: (its key, the fault)."""
    entries = dataset.get("transforms") or []
    named = [(str(name), options or {}) for entry in entries for name, options in entry.items()]
    sized_by_sampler = dataset.get("name") == "MultiScaleDataSet"
    faults = [*_missing([name for name, _ in named], mode, sized_by_sampler), *_misplaced(named, mode)]
    return [("transforms", f"{fault}; compare with a file in configs/rec") for fault in faults]


def _missing(names: Sequence[str], mode: str, sized_by_sampler: bool) -> list[str]:
    faults = [f"{name} is missing" for name in ("DecodeImage", "KeepKeys") if name not in names]
    encoders = [name for name in names if name.endswith("LabelEncode")]
    if len(encoders) != 1:
        found = f"there are {' and '.join(encoders)}" if encoders else "the encoder of labels is missing"
        faults.append(f"{found}, expected one, such as CTCLabelEncode")
    if not any(name in RESIZES for name in names) and not (mode == "Train" and sized_by_sampler):
        faults.append("nothing brings the images to one height: RecResizeImg is missing")
    return faults


def _misplaced(named: Sequence[tuple[str, Mapping[str, Any]]], mode: str) -> list[str]:
    names, faults = [name for name, _ in named], []
    if names[:1] != ["DecodeImage"] and "DecodeImage" in names:
        faults.append(f"{names[0]} comes before DecodeImage, expected after it")
    if "KeepKeys" in names:
        kept = named[names.index("KeepKeys")][1].get("keep_keys") or [""]
        if names[-1] != "KeepKeys":
            faults.append(f"{names[-1]} comes after KeepKeys, expected before it")
        if kept[0] != "image":
            faults.append(f"KeepKeys.keep_keys: found {kept[0]!r} in front, expected image")
        if len(kept) < 2:
            faults.append("KeepKeys.keep_keys: names no label, expected it after image")
    return faults


RECOGNITION = line_schema(Architecture, RecMetric, "RecResizeImg", dataset_faults)

_SHAPE = [3, 48, 320]
_DECODED = {"DecodeImage": {"img_mode": "BGR", "channel_first": False}}
_ENCODED = {"CTCLabelEncode": None}
_KEPT = {"KeepKeys": {"keep_keys": ["image", "label", "length"]}}
DEFAULTS = Defaults(
    transforms=(_DECODED, _ENCODED, {"RecResizeImg": {"image_shape": _SHAPE, "eval_mode": True}}, _KEPT),
    post_process={"name": "CTCLabelDecode"},
    training=(_DECODED, _ENCODED, {"RecResizeImg": {"image_shape": _SHAPE}}, _KEPT),
    loss={"name": "CTCLoss"},
    batch_size=16,
    settings={"use_space_char": True, "max_text_length": 25},
    optimizer=adam(learning_rate=0.00005, warmup_steps=10, beta2=0.99),
)
