"""PaddleOCR's own code, as far as it is used here; imported when it is first used, as the import takes a second."""

from typing import TYPE_CHECKING, Any

from ocrslim.ppocr.builders import (
    base_model,
    build_decoder,
    build_loss,
    build_metric,
    building,
    network_arguments,
)
from ocrslim.ppocr.faults import section_faults, transform_fault
from ocrslim.ppocr.source import (
    KEY,
    REMEDY,
    Source,
    code_folder,
    find_source,
    imported_from,
    is_named,
    use_source,
    used_source,
)

if TYPE_CHECKING:
    from ocrslim.ppocr.imported import alpha_to_color, build_post_process, create_operators, imaug, transform

_LATE = ("alpha_to_color", "build_post_process", "create_operators", "imaug", "transform")

__all__ = [
    "KEY",
    "REMEDY",
    "Source",
    "alpha_to_color",
    "base_model",
    "build_decoder",
    "build_loss",
    "build_metric",
    "build_post_process",
    "building",
    "code_folder",
    "create_operators",
    "find_source",
    "imaug",
    "imported_from",
    "is_named",
    "network_arguments",
    "section_faults",
    "transform",
    "transform_fault",
    "use_source",
    "used_source",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ocrslim.ppocr import imported

    return getattr(imported, name)
