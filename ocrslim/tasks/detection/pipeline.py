"""Checks of a list of transforms: which ones training or evaluating a DB detector needs, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TRAIN, EVAL = "Train", "Eval"
# The tensors that the loss takes, in this order.
TENSORS = ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]
_ONCE = {
    TRAIN: (
        "DecodeImage",
        "DetLabelEncode",
        "MakeBorderMap",
        "MakeShrinkMap",
        "NormalizeImage",
        "ToCHWImage",
        "KeepKeys",
    ),
    EVAL: ("DecodeImage", "DetLabelEncode", "DetResizeForTest", "NormalizeImage", "ToCHWImage"),
}
_AT_MOST_ONCE = {TRAIN: ("CopyPaste",), EVAL: ("KeepKeys",)}
# Operators that bring images to one size, and the argument that sets it.
_SIZERS = {"EastRandomCropData": "size", "Resize": "size", "SquareResizePad": "target_size"}
# Operators that change the size of an image; then the augmenters of `IaaAugment` that do not.
_RESIZING = ("IaaAugment", "RandomScaling", "RandomCropFlip", "RandomCropPolyInstances", "RandomRotatePolyInstances")
_KEEPING = {"Fliplr", "Flipud", "Affine"}
STRIDE = 32  # the network halves an image five times
_CHANGES_LABELS = 2
_PLACES = {
    "DecodeImage": 0,
    "DetLabelEncode": 1,
    "DetResizeForTest": _CHANGES_LABELS,
    "MakeBorderMap": 3,
    "MakeShrinkMap": 3,
    "NormalizeImage": 3,
    "ToCHWImage": 4,
    "KeepKeys": 6,
}
Transforms = Sequence[Mapping[str, Any]]


def pipeline_faults(transforms: Transforms, mode: str) -> list[str]:
    """List the faults of the transforms of `mode`, Train or Eval, taken together; one line each."""
    named = [(str(name), options or {}) for entry in transforms for name, options in entry.items()]
    names = [name for name, _ in named]
    faults = [*_missing(names, mode), *_repeated(names, mode), *_foreign(names, mode)]
    return faults or [*_order(named), *_sized_last(named, mode), *_together(dict(named), mode)]


def copy_paste_faults(transforms: Transforms, taken: int) -> list[str]:
    """List the faults of `ext_op_transform_idx`: `taken` operators make the image that `CopyPaste` takes text from."""
    names = [str(name) for entry in transforms for name in entry]
    if "CopyPaste" not in names or "DetLabelEncode" not in names:
        return []
    low, high = names.index("DetLabelEncode") + 1, names.index("CopyPaste")
    if low <= taken <= high:
        return []
    right = str(low) if low >= high else f"{low} to {high}"
    return [
        f"found {taken}, expected {right}: the transforms up to DetLabelEncode, and not CopyPaste itself, "
        "make the second image that it takes text from"
    ]


def _missing(names: Sequence[str], mode: str) -> list[str]:
    faults = [f"{name} is missing" for name in _ONCE[mode] if name not in names]
    if mode == TRAIN and not any(name in _SIZERS for name in names):
        faults.append("nothing brings the images to one size: EastRandomCropData is missing")
    return faults


def _repeated(names: Sequence[str], mode: str) -> list[str]:
    once = (*_ONCE[mode], *_AT_MOST_ONCE[mode])
    return [f"{name} is there {names.count(name)} times, expected once" for name in once if names.count(name) > 1]


def _foreign(names: Sequence[str], mode: str) -> list[str]:
    """Operators that change what is scored, or give it another size than its labels have."""
    if mode == TRAIN:
        return ["DetResizeForTest leaves the labels as they are, expected EastRandomCropData or Resize"] * (
            "DetResizeForTest" in names
        )
    known = (*_ONCE[EVAL], *_AT_MOST_ONCE[EVAL])
    return [
        f"{name} changes images or labels that are to be scored as they are: take it out"
        for name in dict.fromkeys(names)
        if name not in known
    ]


def _order(named: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Report the first operator that stands behind one that has to follow it."""
    places = [(_place(name, options), name) for name, options in named]
    for (first, earlier), (second, later) in zip(places, places[1:]):
        if second < first:
            hint = ", since its order is chw" if "NormalizeImage" in (earlier, later) and 5 in (first, second) else ""
            return [f"{later} comes after {earlier}, expected before it{hint}"]
    return []


def _sized_last(named: Sequence[tuple[str, Mapping[str, Any]]], mode: str) -> list[str]:
    """Operators that change the size behind the last one that sets it."""
    if mode == EVAL:
        return []
    last = max(place for place, (name, _) in enumerate(named) if name in _SIZERS)
    return [
        f"{name} changes sizes and comes after {named[last][0]}, expected before it"
        for name, options in named[last + 1 :]
        if name in _RESIZING and not _keeps_size(options)
    ]


def _keeps_size(options: Mapping[str, Any]) -> bool:
    """Tell whether an `IaaAugment` with these options keeps the size of an image."""
    listed = options.get("augmenter_args")
    return listed is not None and all(
        (item.get("type") if isinstance(item, Mapping) else item[0]) in _KEEPING for item in listed
    )


def _place(name: str, options: Mapping[str, Any]) -> int:
    if name == "NormalizeImage" and options.get("order", "chw") == "chw":
        return 5
    return _PLACES.get(name, _CHANGES_LABELS)


def _together(options: Mapping[str, Mapping[str, Any]], mode: str) -> list[str]:
    """List the faults of arguments that the loss or the network's sizes rule out."""
    if mode == EVAL:
        resize = options["DetResizeForTest"]
        sides = resize.get("image_shape", [])
        return _sides("DetResizeForTest.image_shape", sides[: 1 if resize.get("keep_ratio") else 2])
    last = [name for name in options if name in _SIZERS][-1]
    size = options[last].get(_SIZERS[last], [])
    faults = _sides(f"{last}.{_SIZERS[last]}", size if isinstance(size, list) else [size])
    kept = options["KeepKeys"].get("keep_keys")
    if kept != TENSORS:
        faults.append(f"KeepKeys.keep_keys: found {kept}, expected {TENSORS}, in this order")
    return faults


def _sides(key: str, sides: Sequence[int]) -> list[str]:
    if all(side % STRIDE == 0 for side in sides):
        return []
    near = [max(STRIDE, round(side / STRIDE) * STRIDE) for side in sides]
    return [f"{key}: found {list(sides)}, expected multiples of {STRIDE}, such as {near}"]
