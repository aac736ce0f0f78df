"""The size of a network's input, read from the transforms that make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocrslim.tasks.values import Operator, Size

PROBE_WIDTH = 96  # of a small input, where the width is free; PaddleOCR's recognisers make 12 to 24 steps of it
# Operators by the order of the sides in their `image_shape`.
_CHANNELS_FIRST = (
    *("RecResizeImg", "ClsResizeImg", "SVTRRecResizeImg", "VLRecResizeImg", "RFLRecResizeImg", "SRNRecResizeImg"),
    *("ABINetRecResizeImg", "SARRecResizeImg", "RobustScannerRecResizeImg"),
)
_WIDTH_FIRST = ("GrayRecResizeImg", "SPINRecResizeImg")  # of grey images
_HEIGHT_FIRST = ("PRENResizeImg",)
RESIZES = (*_CHANNELS_FIRST, *_WIDTH_FIRST, *_HEIGHT_FIRST)
_OF_A_GIVEN_SIZE = ("SVTR", "CPPD", "ViTSTR")  # algorithms whose networks hold one position code for a size


@dataclass(frozen=True)
class InputShape:
    """What a network takes.

    Attributes:
        free: whether the width may vary; `width` is then the usual one.
    """

    channels: int
    height: int
    width: int
    free: bool = False

    @property
    def nominal(self) -> tuple[int, int, int, int]:
        """[1, C, H, W] at which costs are counted."""
        return 1, self.channels, self.height, self.width

    @property
    def probe(self) -> tuple[int, int, int, int]:
        """[1, C, H, W] of a small input."""
        return 1, self.channels, self.height, PROBE_WIDTH if self.free else self.width

    @property
    def variable(self) -> tuple[int, int, int, int]:
        """[N, C, H, W] with -1 for what may vary."""
        return -1, self.channels, self.height, -1 if self.free else self.width


def input_shape(tree: Mapping[str, Any], default: InputShape) -> InputShape:
    """Return what the network of a configuration takes.

    The transforms of `Eval` say so, else those of `Train`, else `Global.d2s_train_image_shape`. The width is free where
    `RecResizeImg` keeps an image's ratio, unless the network has a part that is made for one size.
    """
    for mode in ("Eval", "Train"):
        dataset = (tree.get(mode) or {}).get("dataset") or {}
        for entry in dataset.get("transforms") or []:
            for name, options in entry.items():
                sides = sides_of(name, options or {})
                if sides is not None:
                    keeps = name == "RecResizeImg" and (options or {}).get("padding", True)
                    return InputShape(*sides, free=bool(keeps) and not _is_bound(tree))
    sides = (tree.get("Global") or {}).get("d2s_train_image_shape")
    if isinstance(sides, Sequence) and len(sides) == 3 and all(isinstance(side, int) for side in sides):
        height, width = (side if side > 0 else usual for side, usual in zip(sides[1:], (default.height, default.width)))
        return InputShape(sides[0], height, width, default.free and not _is_bound(tree))
    return default


def sides_of(name: str, options: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Return channels, height and width of what an operator makes; None for one that changes no size."""
    shape = options.get("image_shape")
    if name not in RESIZES or not isinstance(shape, Sequence):
        return None
    if name in _HEIGHT_FIRST:
        return 3, int(shape[0]), int(shape[1])
    if name in _WIDTH_FIRST and len(shape) == 2:
        return 1, int(shape[1]), int(shape[0])
    return int(shape[0]), int(shape[1]), int(shape[-1])  # of two widths the last one is what is padded to


def resized_to(operator: Operator, size: Size) -> Size | None:
    """Return the height and width that one of PaddleOCR's resizing operators makes of an image; None for others."""
    resize: Any = operator
    name = type(operator).__name__
    sides = sides_of(name, {"image_shape": getattr(resize, "image_shape", None)})
    if sides is None or not type(operator).__module__.startswith("ppocr."):
        return None
    _, height, width = sides
    if name == "RecResizeImg" and (resize.eval_mode or (resize.infer_mode and resize.character_dict_path is not None)):
        width = int(height * max(width / height, size[1] / size[0]))
    return height, width


def _is_bound(tree: Mapping[str, Any]) -> bool:
    architecture = tree.get("Architecture") or {}
    return architecture.get("Transform") is not None or architecture.get("algorithm") in _OF_A_GIVEN_SIZE
