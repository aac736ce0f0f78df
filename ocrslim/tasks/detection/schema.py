"""The configuration of text detectors: network, loss, post-processing, metric, and the transforms of their data."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, Field

from ocrslim.schema import (
    ABSENT,
    BelowOne,
    Flag,
    Fraction,
    Never,
    Number,
    Off,
    Section,
    Tiny,
    Weight,
    expected,
    real,
    refuse_unless,
    whole,
)
from ocrslim.tasks.detection.operators import EXCLUSIVE, OPERATORS
from ocrslim.tasks.detection.pipeline import copy_paste_faults, pipeline_faults
from ocrslim.tasks.schema import TaskSchema
from ocrslim.tasks.values import Defaults

SCALES = (0.35, 0.5, 0.75, 1.0, 1.25)
NECK_STEP = 16  # a quarter of the neck's channels for each of the four levels, a quarter of those in its attention
_BY_NAME = Field(discriminator="name")
_COMPUTED = Field(exclude=True)  # checked, but left out of the resolved configuration: it decides nothing


def _to_scale(value: float) -> float:
    refuse_unless(value in SCALES)
    return float(value)


class MobileNetV3(Section):
    name: Literal["MobileNetV3"]
    in_channels: Annotated[int, whole(3, 3), expected("3: images have three channels")] = ABSENT
    model_name: Literal["large", "small"] = ABSENT
    scale: Annotated[
        Number, AfterValidator(_to_scale), expected(f"one of {', '.join(str(scale) for scale in SCALES)}")
    ] = ABSENT
    disable_se: Flag = ABSENT


class _Neck(Section):
    in_channels: Annotated[Any, _COMPUTED] = ABSENT
    out_channels: Annotated[int, whole(NECK_STEP, 4096, step=NECK_STEP)]


class DBFPN(_Neck):
    name: Literal["DBFPN"]
    use_asf: Annotated[Optional[Off], _COMPUTED, expected("false: adaptive scale fusion (DB++) is not supported")] = (
        ABSENT
    )


class RSEFPN(_Neck):
    name: Literal["RSEFPN"]
    shortcut: Flag = ABSENT


class DBHead(Section):
    name: Literal["DBHead"]
    in_channels: Annotated[Any, _COMPUTED] = ABSENT
    k: Annotated[Number, real(0, 1000, above=True)] = ABSENT


class Architecture(Section):
    model_type: Literal["det"]
    algorithm: Literal["DB"]
    Transform: Annotated[Optional[Never], expected("nothing: detection has no such part")] = ABSENT
    Backbone: Annotated[MobileNetV3, _BY_NAME]
    Neck: Annotated[Union[DBFPN, RSEFPN], _BY_NAME]
    Head: Annotated[DBHead, _BY_NAME]


class DBLoss(Section):
    name: Literal["DBLoss"]
    balance_loss: Flag = ABSENT
    main_loss_type: Literal["DiceLoss", "BCELoss"] = ABSENT
    alpha: Weight = ABSENT
    beta: Weight = ABSENT
    ohem_ratio: Weight = ABSENT
    eps: Tiny = ABSENT


class DBPostProcess(Section):
    name: Literal["DBPostProcess"]
    thresh: Fraction = ABSENT
    box_thresh: BelowOne = ABSENT
    max_candidates: Annotated[int, whole(1, 1_000_000)] = ABSENT
    unclip_ratio: Annotated[Number, real(0, 20, above=True)] = ABSENT
    use_dilation: Flag = ABSENT
    score_mode: Literal["fast", "slow"] = ABSENT
    box_type: Literal["quad", "poly"] = ABSENT


class DetMetric(Section):
    name: Literal["DetMetric"]
    main_indicator: Literal["hmean", "precision", "recall"] = ABSENT


def dataset_faults(dataset: Mapping[str, Any], mode: str) -> list[tuple[str, str]]:
    """Name what keeps a data set from being learnt from or scored: (its key, the fault)."""
    transforms = dataset.get("transforms") or []
    faults = pipeline_faults(transforms, mode)
    if faults:
        return [("transforms", f"{fault}; compare with a file in configs/det") for fault in faults]
    taken = dataset.get("ext_op_transform_idx", 2)
    return [("ext_op_transform_idx", fault) for fault in copy_paste_faults(transforms, taken) if mode == "Train"]


# The networks that need no copy of PaddleOCR's code, by the names that their parts may have.
BUILT_IN = {
    "Transform": (),
    "Backbone": ("MobileNetV3",),
    "Neck": ("DBFPN", "RSEFPN"),
    "Head": ("DBHead",),
}
DETECTION = TaskSchema(
    architecture=Architecture,
    loss=Annotated[DBLoss, _BY_NAME],
    post_process=Annotated[DBPostProcess, _BY_NAME],
    metric=Annotated[DetMetric, _BY_NAME],
    transforms=OPERATORS,
    dataset_faults=dataset_faults,
    exclusive=EXCLUSIVE,
)

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
_DECODED = ({"DecodeImage": {"img_mode": "BGR", "channel_first": False}}, {"DetLabelEncode": None})
_NORMALISED = (
    {"NormalizeImage": {"scale": "1./255.", "mean": list(_MEAN), "std": list(_DEVIATION), "order": "hwc"}},
    {"ToCHWImage": None},
)
DEFAULTS = Defaults(
    transforms=(
        *_DECODED,
        {"DetResizeForTest": {"limit_side_len": 960, "limit_type": "max"}},
        *_NORMALISED,
        {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
    ),
    post_process={
        "name": "DBPostProcess",
        "thresh": 0.3,
        "box_thresh": 0.6,
        "max_candidates": 1000,
        "unclip_ratio": 1.5,
    },
    training=(
        *_DECODED,
        {"EastRandomCropData": {"size": [640, 640], "max_tries": 50, "keep_ratio": True}},
        {"MakeBorderMap": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
        {"MakeShrinkMap": {"shrink_ratio": 0.4, "min_text_size": 8}},
        *_NORMALISED,
        {"KeepKeys": {"keep_keys": ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]}},
    ),
    loss={
        "name": "DBLoss",
        "balance_loss": True,
        "main_loss_type": "DiceLoss",
        "alpha": 5,
        "beta": 10,
        "ohem_ratio": 3,
    },
    batch_size=4,
)
