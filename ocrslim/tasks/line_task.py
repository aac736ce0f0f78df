"""What tasks share whose networks take images of one line, resized as the configuration's transforms say."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from ocrslim.tasks.base import Task
from ocrslim.tasks.input_shape import InputShape, input_shape, resized_to
from ocrslim.tasks.values import Operator, Shapes, Size

_LAST = ("fc.bias", "fc2.bias", "generator.bias", "prediction.bias")  # of the layers that tell classes apart
_JOINING = ("RecConAug",)  # of several images, and their labels
LineTaskType = TypeVar("LineTaskType", bound="LineTask")


class LineTask(Task):
    """A task on images of lines.

    Attributes:
        usual: the input's shape where the configuration does not say.
        shape: the input's shape.
    """

    usual: ClassVar[InputShape]
    single_lines = True
    refit_images = 256
    usual_images = ((32, 160), (32, 480))  # a word, a line
    sample_box: ClassVar[tuple[int, int, int, int]] = (0, 8, 300, 36)  # "Region-based segmentation"

    def __init__(self) -> None:
        self._take(self.usual)

    def shaped(self: LineTaskType, tree: Mapping[str, Any]) -> LineTaskType:
        """Return a copy of the task with the input's shape of a configuration."""
        task = copy.copy(self)
        task._take(input_shape(tree, self.usual))
        return task

    def _take(self, shape: InputShape) -> None:
        self.shape = shape
        self.nominal_shape, self.probe_shape, self.free_shape = shape.nominal, shape.probe, shape.variable

    def resized(self, operator: Operator, size: Size) -> Size | None:
        return resized_to(operator, size)

    def shape_of(self, data: Mapping[str, Any]) -> Any:
        return np.array(data["decoded"].shape[:2])

    def augments_images(self, name: str) -> bool:
        return augments(name) and name not in _JOINING

    def without_chance(self, operators: Sequence[Operator]) -> list[Operator]:
        return [operator for operator in operators if not augments(type(operator).__name__)]


def augments(name: str) -> bool:
    """Tell whether a transform of PaddleOCR changes images by chance."""
    return name.endswith(("Aug", "Augment", "DataAugmentation"))


def other_classes(found: Shapes, expected: Shapes) -> tuple[int, int] | None:
    """Return how many classes weights are for and how many a network has, where nothing else is different.

    All sizes that depend on the number of classes, in the head alone, then differ by the same amount; in a pruned
    network the last bias is as it was.
    """
    if found.keys() != expected.keys():
        return None
    pairs, others = [], [key for key in expected if found[key] != expected[key]]
    if not any(key.endswith(_LAST) for key in others):
        return None
    for key in others:
        differing = [(a, b) for a, b in zip(found[key], expected[key]) if a != b]
        if not key.startswith("head.") or len(found[key]) != len(expected[key]) or len(differing) != 1:
            return None
        pairs += differing
    if len({a - b for a, b in pairs}) != 1:
        return None
    return min(pairs)
