"""The settings of detectors for clients, with every value that takes effect: clients have other defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RESIZE = "DetResizeForTest"
_SMALLEST = {"limit_side_len": 736, "limit_type": "min"}  # PaddleOCR's size where none is given
_NORMALISED = {"scale": "1./255.", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "chw"}
_DB = "DBPostProcess"
DB_DEFAULTS: Mapping[str, Any] = {  # of PaddleOCR's class; PaddleOCR 3's and RapidOCR's are others
    "thresh": 0.3,
    "box_thresh": 0.7,
    "max_candidates": 1000,
    "unclip_ratio": 2.0,
    "use_dilation": False,
    "score_mode": "fast",
    "box_type": "quad",
}


def written_out(transforms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the transforms with the arguments of those that clients read filled in."""
    return [
        {name: _FILLED[name](options or {}) if name in _FILLED else options}
        for entry in transforms
        for name, options in entry.items()
    ]


def post_processing(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section `PostProcess` with PaddleOCR's defaults filled in, where its decoder is DB's."""
    return {**section, **DB_DEFAULTS, **section} if section.get("name") == _DB else dict(section)


def _sized(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the size; `resize_long` says it to PaddleX, which passes over `limit_side_len` here."""
    if "image_shape" in options:
        return {"keep_ratio": False, **options}
    if "resize_long" in options and "limit_side_len" not in options:
        return dict(options)
    sized = {**_SMALLEST, **options} if "limit_side_len" in options else {**options, **_SMALLEST}
    if sized["limit_type"] == "max":
        sized["resize_long"] = sized["limit_side_len"]
    return sized


def _normalised(options: Mapping[str, Any]) -> dict[str, Any]:
    return {**_NORMALISED, **{name: value for name, value in options.items() if value is not None}}


_FILLED = {RESIZE: _sized, "NormalizeImage": _normalised}
