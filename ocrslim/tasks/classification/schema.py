"""The configuration of classifiers; networks and losses are PaddleOCR's, which checks their arguments."""

from collections.abc import Mapping
from typing import Any, Literal

from ocrslim.schema import ABSENT, OpenSection, Section, Text
from ocrslim.tasks.input_shape import RESIZES
from ocrslim.tasks.sections import line_schema
from ocrslim.tasks.values import Defaults

_NEEDED = ("DecodeImage", "ClsLabelEncode", "KeepKeys")


class Architecture(OpenSection):
    model_type: Literal["cls"]
    algorithm: Text = ABSENT


class ClsMetric(Section):
    name: Literal["ClsMetric"]
    main_indicator: Literal["acc"] = ABSENT


def dataset_faults(dataset: Mapping[str, Any], mode: str) -> list[tuple[str, str]]:
    """Name what keeps a data set from being learnt from or scored: (its key, the fault)."""
    named = [(str(name), options or {}) for entry in dataset.get("transforms") or [] for name, options in entry.items()]
    names = [name for name, _ in named]
    faults = [f"{name} is missing" for name in _NEEDED if name not in names]
    if not any(name in RESIZES for name in names):
        faults.append("nothing brings the images to one size: ClsResizeImg is missing")
    kept = dict(named).get("KeepKeys", {}).get("keep_keys")
    if not faults and kept != ["image", "label"]:
        faults.append(f"KeepKeys.keep_keys: found {kept}, expected ['image', 'label'], in this order")
    return [("transforms", f"{fault}; compare with a file in configs/cls") for fault in faults]


CLASSIFICATION = line_schema(Architecture, ClsMetric, "ClsResizeImg", dataset_faults)

_TRANSFORMS = (
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"ClsLabelEncode": None},
    {"ClsResizeImg": {"image_shape": [3, 48, 192]}},
    {"KeepKeys": {"keep_keys": ["image", "label"]}},
)
DEFAULTS = Defaults(
    transforms=_TRANSFORMS,
    post_process={"name": "ClsPostProcess"},
    training=_TRANSFORMS,
    loss={"name": "ClsLoss"},
    batch_size=32,
)
