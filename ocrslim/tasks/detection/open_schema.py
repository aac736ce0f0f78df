"""The configuration of detectors that are not built in: sections that PaddleOCR's own classes check."""

import functools
from collections.abc import Mapping
from typing import Any, Literal, Optional

from ocrslim.schema import ABSENT, OpenSection, Text
from ocrslim.tasks.detection.operators import EXCLUSIVE, OPERATORS
from ocrslim.tasks.detection.pipeline import EVAL, TRAIN
from ocrslim.tasks.detection.schema import BUILT_IN, DETECTION, dataset_faults
from ocrslim.tasks.schema import TaskSchema

_DB_HEADS = ("DBHead", "PFHeadLocal")  # trained on the two maps that `dataset_faults` asks for
# Each evaluation needs one of every row, in this order.
_EVALUATED = (
    ("DecodeImage",),
    ("DetLabelEncode", "CTLabelEncode"),
    ("DetResizeForTest", "ScaleAlignedShort"),
    ("ToCHWImage",),
)


class Named(OpenSection):
    """A section whose name chooses a class of PaddleOCR."""

    name: Text


class OpenArchitecture(OpenSection):
    """Parts that PaddleOCR's `BaseModel` puts together."""

    model_type: Literal["det"]
    algorithm: Text
    Transform: Optional[Named] = ABSENT
    Backbone: Named
    Neck: Optional[Named] = ABSENT
    Head: Named


class OpenMetric(OpenSection):
    """PaddleOCR's metrics of detectors; the scores are computed here, where `f_score` is called `hmean`."""

    name: Text
    main_indicator: Literal["hmean", "precision", "recall", "f_score"] = ABSENT


def foreign_part(architecture: Any) -> str:
    """Return the key of the first name in an `Architecture` section that is not built in; "" where all are.

    A part that is missing, or that has no name, is none: what it needs is said by the schema of what is built in.
    """
    if not isinstance(architecture, Mapping):
        return ""
    for part, known in BUILT_IN.items():
        section = architecture.get(part)
        name = section.get("name") if isinstance(section, Mapping) else None
        if isinstance(name, str) and name not in known:
            return f"Architecture.{part}.name"
    return ""


def head_of(architecture: Mapping[str, Any]) -> str:
    """Return the name of the head."""
    section = architecture.get("Head")
    return str(section.get("name")) if isinstance(section, Mapping) else ""


def is_db(head: str) -> bool:
    """Tell whether a head gives DB's maps."""
    return head in _DB_HEADS


def schema_of(tree: Mapping[str, Any]) -> TaskSchema:
    """Return the schema of a detector: that of what is built in, unless a name is not, or PaddleOCR's copy is named."""
    architecture, settings = tree.get("Architecture"), tree.get("Global")
    foreign = foreign_part(architecture)
    if not foreign and not (isinstance(settings, Mapping) and settings.get("paddleocr")):
        return DETECTION
    db = isinstance(architecture, Mapping) and is_db(head_of(architecture))
    return open_schema(foreign, db)


def _open_faults(dataset: Mapping[str, Any], mode: str) -> list[tuple[str, str]]:
    """Name what keeps a data set from being learnt from or scored, of what any detector needs."""
    names = [name for entry in dataset.get("transforms") or [] for name in entry]
    needed = _EVALUATED if mode == EVAL else (*_EVALUATED[:2], ("KeepKeys",))
    missing = [" or ".join(row) for row in needed if not set(row) & set(names)]
    faults = [("transforms", f"{each} is missing; compare with a file of PaddleOCR's configs/det") for each in missing]
    if not faults and mode == TRAIN:
        (kept,) = (entry["KeepKeys"] for entry in dataset["transforms"] if "KeepKeys" in entry)
        if kept["keep_keys"][0] != "image":
            faults.append(("transforms", f"KeepKeys.keep_keys starts with {kept['keep_keys'][0]}, expected image"))
    return faults


@functools.cache
def open_schema(needs: str = "", db: bool = False) -> TaskSchema:
    """Return the schema of what PaddleOCR's classes check; the same object for the same arguments.

    Args:
        needs: `TaskSchema.needs_source`.
        db: whether the data set is to have what DB learns from.
    """
    return TaskSchema(
        architecture=OpenArchitecture,
        loss=Named,
        post_process=Named,
        metric=OpenMetric,
        transforms=OPERATORS,
        dataset_faults=dataset_faults if db else _open_faults,
        exclusive=EXCLUSIVE,
        open=True,
        needs_source=needs,
        built_in=BUILT_IN[needs.split(".")[1]] if needs else (),
    )
