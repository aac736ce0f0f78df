"""The transforms that a detection data set may have: PaddleOCR's operators, their arguments and what these may be.

PaddleOCR takes any argument of any name and leaves the unknown ones unread, so that a misspelt one means nothing. The
names here are those that its operators read; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ocrslim.utils import shortened
from ocrslim.utils.validators import (
    BOOL,
    STRING,
    ZERO_TO_ONE,
    Rule,
    Section,
    choice,
    pair,
    real,
    refuse_unless,
    to_number,
    whole,
)

MAX_SIDE = 16_384
MAX_TRIES = 10_000
_FRACTION = re.compile(r"([0-9.eE+-]+)\s*(?:/\s*([0-9.eE+-]+))?")

SIDE = whole(1, MAX_SIDE)
LENGTH = whole(32, MAX_SIDE)  # PaddleOCR makes nothing smaller than 32 pixels of an image
# Below, PaddleOCR tries a million ratios for a box that cannot be shrunk.
SHRINK = real(0.01, 1, below=True)
_ANGLES = (-360.0, 360.0)


def fraction(value: Any) -> float:
    """`NormalizeImage.scale`: a number, or two as in `1./255.`, which PaddleOCR evaluates as Python.

    Raises:
        ValueError: neither, or nothing to multiply pixels with.
    """
    if isinstance(value, str):
        found = _FRACTION.fullmatch(value.strip()) if len(value) < 100 else None
        refuse_unless(found is not None)
        assert found is not None
        below = float(found[2] or 1)
        refuse_unless(below != 0)
        number = float(found[1]) / below
    else:
        number = to_number(value)
    refuse_unless(1e-6 <= number <= 1e6, "no factor that leaves anything of a pixel")
    return number


def _scale(value: Any) -> Any:
    fraction(value)
    return value


def _three(value: Any) -> list[float]:
    refuse_unless(isinstance(value, list) and len(value) == 3)
    return [real(-1e6, 1e6).convert(item) for item in value]


def _three_above(value: Any) -> list[float]:
    numbers = _three(value)
    refuse_unless(all(number >= 1e-6 for number in numbers), "pixels are divided by it")
    return numbers


def _texts(value: Any) -> list[str]:
    refuse_unless(isinstance(value, list) and len(value) > 0)
    return [STRING.convert(item) for item in value]


def _false(value: Any) -> bool:
    refuse_unless(value is False)
    return False


def _epoch(value: Any) -> Any:
    return value if value == "None" else whole(0, 1_000_000).convert(value)


def _jitter(value: Any) -> Any:
    if isinstance(value, list):
        return pair(real(0, 10), "", ascending=True).convert(value)
    return real(0, 10).convert(value)


def _hue(value: Any) -> Any:
    if isinstance(value, list):
        return pair(real(-0.5, 0.5), "", ascending=True).convert(value)
    return real(0, 0.5).convert(value)


def _turn(value: Any) -> Any:
    if isinstance(value, list):
        return pair(real(*_ANGLES), "", ascending=True).convert(value)
    return real(*_ANGLES).convert(value)


def _factor(value: Any) -> Any:
    if isinstance(value, list):
        return pair(real(0.01, 10), "", ascending=True).convert(value)
    return real(0.01, 10).convert(value)


# The augmenters that PaddleOCR names itself; others are albumentations' and judged by it.
_AUGMENTERS: dict[str, dict[str, Rule]] = {
    "Fliplr": {"p": ZERO_TO_ONE},
    "Flipud": {"p": ZERO_TO_ONE},
    "Affine": {
        "rotate": Rule("degrees, or two of them", _turn),
        "shear": Rule("degrees, or two of them", _turn),
        "scale": Rule("a factor from 0.01 to 10, or two of them", _factor),
    },
    "Resize": {"size": pair(real(0.01, 10), "the smallest and the largest scale", ascending=True)},
}


def augmenters(value: Any) -> list[Any]:
    """`IaaAugment.augmenter_args`: a list of {type: NAME, args: {...}}.

    Raises:
        ValueError: it has another form, or an argument that means nothing.
    """
    refuse_unless(isinstance(value, list) and len(value) <= 100)
    for item in value:
        kind, arguments = augmenter(item)
        for name, argument in arguments.items():
            rule = _AUGMENTERS.get(kind, {}).get(name)
            if rule is not None and not isinstance(argument, dict):  # by axis, as albumentations takes it
                _check(rule, argument, f"{kind}.{name}")
    return list(value)


def augmenter(item: Any) -> tuple[str, Mapping[str, Any]]:
    """The type and the arguments of one augmenter, which may also be a list of the two."""
    if isinstance(item, list) and len(item) in (1, 2):
        item = dict(zip(("type", "args"), item))
    refuse_unless(isinstance(item, dict) and set(item) <= {"type", "args"}, f"an item is {shortened(repr(item))}")
    kind, arguments = item.get("type"), item.get("args", {})
    refuse_unless(isinstance(kind, str) and kind.isidentifier(), f"a type is {shortened(repr(kind))}")
    refuse_unless(isinstance(arguments, dict), f"the args of {kind} are {shortened(repr(arguments))}")
    return kind, arguments


def _check(rule: Rule, value: Any, name: str) -> None:
    try:
        rule.convert(value)
    except ValueError:
        raise ValueError(f"{name} is {shortened(repr(value))}, expected {rule.expected}") from None


_EPOCHS = {
    "total_epoch": whole(1, 1_000_000),
    "epoch": Rule("a whole number", _epoch, optional=True),
}
_PLAIN = Section({})

OPERATORS: dict[str, Section] = {
    "DecodeImage": Section(
        {
            "img_mode": choice("BGR", "RGB"),
            "channel_first": Rule("false: what follows works on height, width, channels", _false),
            "ignore_orientation": BOOL,
        }
    ),
    "DetLabelEncode": _PLAIN,
    "CopyPaste": Section({"objects_paste_ratio": ZERO_TO_ONE, "limit_paste": BOOL}),
    "ColorJitter": Section(
        {
            **dict.fromkeys(("brightness", "contrast", "saturation"), Rule("a number from 0 to 10, or two", _jitter)),
            "hue": Rule("a number from 0 to 0.5, or two from -0.5 to 0.5", _hue),
        }
    ),
    "IaaAugment": Section(
        {"augmenter_args": Rule("a list such as [{type: Fliplr, args: {p: 0.5}}]", augmenters, optional=True)}
    ),
    "RandomScaling": Section(
        {"size": LENGTH, "scale": pair(real(0.01, 10), "the smallest and the largest scale", ascending=True)}
    ),
    "RandomCropFlip": Section(
        {
            "pad_ratio": ZERO_TO_ONE,
            "crop_ratio": ZERO_TO_ONE,
            "iter_num": whole(1, 100),
            "min_area_ratio": ZERO_TO_ONE,
        }
    ),
    "RandomCropPolyInstances": Section({"crop_ratio": ZERO_TO_ONE, "min_side_ratio": ZERO_TO_ONE}),
    "RandomRotatePolyInstances": Section(
        {
            "rotate_ratio": ZERO_TO_ONE,
            "max_angle": real(0, 360),
            "pad_with_fixed_color": BOOL,
            "pad_value": Rule("three numbers", _three),
        }
    ),
    "SquareResizePad": Section(
        {
            "target_size": SIDE,
            "pad_ratio": ZERO_TO_ONE,
            "pad_with_fixed_color": BOOL,
            "pad_value": Rule("three numbers", _three),
        },
        required=("target_size",),
    ),
    "Resize": Section({"size": pair(SIDE, "height and width")}),
    "EastRandomCropData": Section(
        {
            "size": pair(SIDE, "width and height"),
            "max_tries": whole(0, MAX_TRIES),
            "min_crop_side_ratio": ZERO_TO_ONE,
            "keep_ratio": BOOL,
        }
    ),
    "MakeBorderMap": Section(
        {"shrink_ratio": SHRINK, "thresh_min": ZERO_TO_ONE, "thresh_max": ZERO_TO_ONE, **_EPOCHS},
    ),
    "MakeShrinkMap": Section({"shrink_ratio": SHRINK, "min_text_size": real(0, MAX_SIDE), **_EPOCHS}),
    "DetResizeForTest": Section(
        {
            "image_shape": pair(SIDE, "height and width"),
            "keep_ratio": BOOL,
            "limit_side_len": LENGTH,
            "limit_type": choice("min", "max", "resize_long"),
            "resize_long": LENGTH,
        }
    ),
    "NormalizeImage": Section(
        {
            "scale": Rule("a number or a fraction such as 1./255.", _scale, optional=True),
            "mean": Rule("a list of three numbers, one for each channel", _three, optional=True),
            "std": Rule("a list of three numbers above 0, one for each channel", _three_above, optional=True),
            "order": choice("hwc", "chw"),
        }
    ),
    "ToCHWImage": _PLAIN,
    "KeepKeys": Section({"keep_keys": Rule("a list of names", _texts)}, required=("keep_keys",)),
}


def argument_faults(name: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with two arguments of an operator taken together: (the argument, what)."""
    if name == "MakeBorderMap":
        low, high = options.get("thresh_min", 0.3), options.get("thresh_max", 0.7)
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low >= high:
            return [("thresh_min", f"found {low:g}, expected less than thresh_max, which is {high:g}")]
    if name == "DetResizeForTest":
        needs = (("limit_type", "limit_side_len"), ("keep_ratio", "image_shape"))
        return [
            (argument, f"without effect where there is no {other}: set {other} too, or take it out")
            for argument, other in needs
            if argument in options and other not in options
        ]
    return []
