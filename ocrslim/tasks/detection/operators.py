"""The transforms that a detection data set may have: PaddleOCR's operators, their arguments and what these may be.

PaddleOCR takes any argument of any name and leaves the unknown ones unread, so that a misspelt one means nothing. The
names here are those that its operators read; a test compares the two.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, ValidationError, model_validator

from ocrslim.schema import (
    ABSENT,
    ORDERED,
    TWO,
    Flag,
    Number,
    Off,
    Section,
    Text,
    ZeroToOne,
    described,
    expected,
    fault,
    real,
    refuse_unless,
    to_number,
    whole,
)
from ocrslim.utils import shortened

MAX_SIDE = 16_384
MAX_TRIES = 10_000
_FRACTION = re.compile(r"([0-9.eE+-]+)\s*(?:/\s*([0-9.eE+-]+))?")


def fraction(value: Any) -> float:
    """Read `NormalizeImage.scale`: a number, or two as in `1./255.`, which PaddleOCR evaluates as Python.

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


def _to_scale(value: Any) -> Any:
    fraction(value)
    return value


def _divisors(numbers: list[float]) -> list[float]:
    refuse_unless(all(number >= 1e-6 for number in numbers), "pixels are divided by it")
    return numbers


def one_or_two(low: float, high: float, lowest: float) -> PlainValidator:
    """Take a number from `low` to `high`, or two from `lowest` to `high`, ascending."""

    def check(value: Any) -> Any:
        two = Annotated[list[Annotated[Number, real(lowest, high)]], TWO, ORDERED]
        return TypeAdapter(two if isinstance(value, list) else Annotated[Number, real(low, high)]).validate_python(
            value
        )

    return PlainValidator(check)


Side = Annotated[int, whole(1, MAX_SIDE)]
Length = Annotated[int, whole(32, MAX_SIDE)]  # PaddleOCR makes nothing smaller than 32 pixels of an image
# Below, PaddleOCR tries a million ratios for a box that cannot be shrunk.
Shrink = Annotated[Number, real(0.01, 1, below=True)]
Three = Annotated[list[Annotated[Number, real(-1e6, 1e6)]], Field(min_length=3, max_length=3)]
Scales = Annotated[
    list[Annotated[Number, real(0.01, 10)]],
    TWO,
    ORDERED,
    expected("the smallest and the largest scale: two, each a number of at least 0.01 and at most 10"),
]
_EACH_SIDE = f"two, each a whole number from 1 to {MAX_SIDE}"
HeightWidth = Annotated[list[Side], TWO, expected(f"height and width: {_EACH_SIDE}")]
WidthHeight = Annotated[list[Side], TWO, expected(f"width and height: {_EACH_SIDE}")]
Jitter = Annotated[Any, one_or_two(0, 10, 0), expected("a number from 0 to 10, or two")]
Degrees = Annotated[Any, one_or_two(-360, 360, -360), expected("degrees, or two of them")]

# The augmenters that PaddleOCR names itself; others are albumentations', which checks them.
_AUGMENTERS: dict[str, dict[str, Any]] = {
    "Fliplr": {"p": ZeroToOne},
    "Flipud": {"p": ZeroToOne},
    "Affine": {
        "rotate": Degrees,
        "shear": Degrees,
        "scale": Annotated[Any, one_or_two(0.01, 10, 0.01), expected("a factor from 0.01 to 10, or two of them")],
    },
    "Resize": {"size": Scales},
}


def augmenters(value: Any) -> list[Any]:
    """Check `IaaAugment.augmenter_args`: a list of {type: NAME, args: {...}}.

    Raises:
        ValueError: it has another form, or an argument that means nothing.
    """
    refuse_unless(isinstance(value, list) and len(value) <= 100)
    for item in value:
        kind, arguments = augmenter(item)
        for name, argument in arguments.items():
            taken = _AUGMENTERS.get(kind, {}).get(name)
            if taken is not None and not isinstance(argument, dict):  # by axis, as albumentations takes it
                _check(taken, argument, f"{kind}.{name}")
    return list(value)


def augmenter(item: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the type and the arguments of one augmenter, which may also be a list of the two."""
    if isinstance(item, list) and len(item) in (1, 2):
        item = dict(zip(("type", "args"), item))
    refuse_unless(isinstance(item, dict) and set(item) <= {"type", "args"}, f"an item is {shortened(repr(item))}")
    kind, arguments = item.get("type"), item.get("args", {})
    refuse_unless(isinstance(kind, str) and kind.isidentifier(), f"a type is {shortened(repr(kind))}")
    refuse_unless(isinstance(arguments, dict), f"the args of {kind} are {shortened(repr(arguments))}")
    return kind, arguments


def _check(taken: Any, value: Any, name: str) -> None:
    try:
        TypeAdapter(taken).validate_python(value)
    except ValidationError:
        raise ValueError(f"{name} is {shortened(repr(value))}, expected {described(taken)}") from None


class DetLabelEncode(Section): ...


class ToCHWImage(Section): ...


class DecodeImage(Section):
    img_mode: Literal["BGR", "RGB"] = ABSENT
    channel_first: Annotated[Off, expected("false: what follows works on height, width, channels")] = ABSENT
    ignore_orientation: Flag = ABSENT


class CopyPaste(Section):
    objects_paste_ratio: ZeroToOne = ABSENT
    limit_paste: Flag = ABSENT


class ColorJitter(Section):
    brightness: Jitter = ABSENT
    contrast: Jitter = ABSENT
    saturation: Jitter = ABSENT
    hue: Annotated[Any, one_or_two(0, 0.5, -0.5), expected("a number from 0 to 0.5, or two from -0.5 to 0.5")] = ABSENT


class IaaAugment(Section):
    augmenter_args: Annotated[
        Optional[Annotated[list[Any], PlainValidator(augmenters)]],
        expected("a list such as [{type: Fliplr, args: {p: 0.5}}]"),
    ] = ABSENT


class RandomScaling(Section):
    size: Length = ABSENT
    scale: Scales = ABSENT


class RandomCropFlip(Section):
    pad_ratio: ZeroToOne = ABSENT
    crop_ratio: ZeroToOne = ABSENT
    iter_num: Annotated[int, whole(1, 100)] = ABSENT
    min_area_ratio: ZeroToOne = ABSENT


class RandomCropPolyInstances(Section):
    crop_ratio: ZeroToOne = ABSENT
    min_side_ratio: ZeroToOne = ABSENT


class RandomRotatePolyInstances(Section):
    rotate_ratio: ZeroToOne = ABSENT
    max_angle: Annotated[Number, real(0, 360)] = ABSENT
    pad_with_fixed_color: Flag = ABSENT
    pad_value: Annotated[Three, expected("three numbers")] = ABSENT


class SquareResizePad(Section):
    target_size: Side
    pad_ratio: ZeroToOne = ABSENT
    pad_with_fixed_color: Flag = ABSENT
    pad_value: Annotated[Three, expected("three numbers")] = ABSENT


class Resize(Section):
    size: HeightWidth = ABSENT


class EastRandomCropData(Section):
    size: WidthHeight = ABSENT
    max_tries: Annotated[int, whole(0, MAX_TRIES)] = ABSENT
    min_crop_side_ratio: ZeroToOne = ABSENT
    keep_ratio: Flag = ABSENT


class _Map(Section):
    """A map that PaddleOCR can make another one with every epoch."""

    shrink_ratio: Shrink = ABSENT
    total_epoch: Annotated[int, whole(1, 1_000_000)] = ABSENT
    epoch: Annotated[
        Optional[Union[Literal["None"], Annotated[int, whole(0, 1_000_000)]]], expected("a whole number")
    ] = ABSENT


class MakeBorderMap(_Map):
    thresh_min: ZeroToOne = ABSENT
    thresh_max: ZeroToOne = ABSENT

    @model_validator(mode="after")
    def _from_low_to_high(self) -> "MakeBorderMap":
        low = 0.3 if self.thresh_min is ABSENT else self.thresh_min
        high = 0.7 if self.thresh_max is ABSENT else self.thresh_max
        if low >= high:
            raise fault(f"found {low:g}, expected less than thresh_max, which is {high:g}", "thresh_min")
        return self


class MakeShrinkMap(_Map):
    min_text_size: Annotated[Number, real(0, MAX_SIDE)] = ABSENT


class DetResizeForTest(Section):
    image_shape: HeightWidth = ABSENT
    keep_ratio: Flag = ABSENT
    limit_side_len: Length = ABSENT
    limit_type: Literal["min", "max", "resize_long"] = ABSENT
    resize_long: Length = ABSENT

    @model_validator(mode="after")
    def _without_effect(self) -> "DetResizeForTest":
        for argument, other in (("limit_type", "limit_side_len"), ("keep_ratio", "image_shape")):
            if argument in self.model_fields_set and other not in self.model_fields_set:
                raise fault(f"without effect where there is no {other}: set {other} too, or take it out", argument)
        return self


class NormalizeImage(Section):
    scale: Annotated[
        Optional[Annotated[Any, PlainValidator(_to_scale)]], expected("a number or a fraction such as 1./255.")
    ] = ABSENT
    mean: Annotated[Optional[Three], expected("a list of three numbers, one for each channel")] = ABSENT
    std: Annotated[
        Optional[Annotated[Three, AfterValidator(_divisors)]],
        expected("a list of three numbers above 0, one for each channel"),
    ] = ABSENT
    order: Literal["hwc", "chw"] = ABSENT


class KeepKeys(Section):
    keep_keys: Annotated[list[Text], Field(min_length=1), expected("a list of names")]


_ALL: tuple[type[Section], ...] = (
    *(DecodeImage, DetLabelEncode, CopyPaste, ColorJitter, IaaAugment, RandomScaling, RandomCropFlip),
    *(RandomCropPolyInstances, RandomRotatePolyInstances, SquareResizePad, Resize, EastRandomCropData),
    *(MakeBorderMap, MakeShrinkMap, DetResizeForTest, NormalizeImage, ToCHWImage, KeepKeys),
)
OPERATORS = {operator.__name__: operator for operator in _ALL}
# PaddleOCR's DetResizeForTest obeys the first of these groups that is there and ignores the others.
EXCLUSIVE = {
    "DetResizeForTest": (("image_shape", "keep_ratio"), ("limit_side_len", "limit_type"), ("resize_long",)),
}
