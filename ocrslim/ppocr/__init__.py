"""PaddleOCR's own code, as far as it is used here; imported when it is first used, as the import takes a second."""

from typing import TYPE_CHECKING, Any

from ocrslim.ppocr.source import KEY, REMEDY, Source, find_source, imported_from, use_source, used_source

if TYPE_CHECKING:
    from ocrslim.ppocr.imported import alpha_to_color, build_post_process, create_operators, imaug, transform

_LATE = ("alpha_to_color", "build_post_process", "create_operators", "imaug", "transform")

__all__ = [
    "KEY",
    "REMEDY",
    "Source",
    "alpha_to_color",
    "build_post_process",
    "create_operators",
    "find_source",
    "imaug",
    "imported_from",
    "transform",
    "use_source",
    "used_source",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ocrslim.ppocr import imported

    return getattr(imported, name)
