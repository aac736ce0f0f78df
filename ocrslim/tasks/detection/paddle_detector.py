"""Detectors of PaddleOCR's own classes: what their heads return, and its losses and post-processing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ocrslim.tasks.base import Task
from ocrslim.tasks.detection.open_schema import is_db, open_schema
from ocrslim.tasks.detection.task import Detection
from ocrslim.tasks.values import Distilled, Losses, PostProcess

if TYPE_CHECKING:
    from paddle import Tensor


class _Output(NamedTuple):
    """An output of a head in evaluation: its channels (-1: as the configuration has it) and its stride."""

    channels: int
    stride: int


# By name, as Paddle puts the entries of a dictionary when it exports a network.
_HEADS = {
    "EASTHead": {"f_geo": _Output(8, 4), "f_score": _Output(1, 4)},
    "SASTHead": {"f_border": _Output(4, 4), "f_score": _Output(1, 4), "f_tco": _Output(2, 4), "f_tvo": _Output(8, 4)},
    "PSEHead": {"maps": _Output(-1, 4)},
    "FCEHead": {f"level_{level}": _Output(-1, stride) for level, stride in enumerate((8, 16, 32))},
    "CT_Head": {"maps": _Output(-1, 4), "score": _Output(0, 4)},  # 0: the score has no axis of channels
}
_DB = {"maps": _Output(1, 1)}
_CT_SHAPE = 6  # numbers: height, width and channels of the source and of the input


def paddle_detector(head: str) -> PaddleDetector:
    """Return the task of a detector of PaddleOCR's classes by the name of its head."""
    return PaddleDBDetector(_DB) if is_db(head) else PaddleDetector(_HEADS.get(head, {}), head == "SASTHead")


class PaddleDetector(Detection):
    """A detector of PaddleOCR's classes.

    Args:
        outputs: what its head gives in evaluation; empty where that is not known.
        deep: whether its backbone halves an image seven times.

    Attributes:
        evaluated: the names of the outputs, of all that the head returns in evaluation.
    """

    schema = open_schema()
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(self, outputs: Mapping[str, _Output], deep: bool = False):
        self._outputs = outputs
        self.evaluated = tuple(outputs)
        if deep:
            self.probe_shape = (1, 3, 128, 128)

    def configured(self, tree: Mapping[str, Any]) -> Task:
        return Detection().configured(tree)

    def output(self, result: Any) -> Any:
        """Return the maps that the post-processing reads: one tensor, or a tuple of several."""
        outputs = [result[name] for name in self._outputs or sorted(result)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def output_shape(self, shape: Sequence[int]) -> tuple[Any, ...]:
        """Return the shape of the output, or a tuple of shapes for several."""
        shapes: list[tuple[Any, ...]] = [_shape(output, shape) for output in self._outputs.values()]
        return shapes[0] if len(shapes) == 1 else tuple(shapes)

    def post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> PostProcess:
        """PaddleOCR's: what `output` gives, as arrays, and what the transforms did, to polygons [k, 2] in pixels."""
        from ocrslim.ppocr import build_decoder

        decode = build_decoder(section, settings)

        def run(output: np.ndarray | tuple[np.ndarray, ...], shape: np.ndarray) -> list[np.ndarray]:
            arrays = output if isinstance(output, tuple) else (output,)
            shape = shape.astype(int) if shape.shape[1] == _CT_SHAPE else shape
            found = decode(dict(zip(self._outputs, arrays)), shape)
            return [np.asarray(points, dtype=np.float32).reshape(-1, 2) for points in found[0]["points"]]

        return run

    def loss(self, section: Mapping[str, Any]) -> Losses:
        """PaddleOCR's; of what it returns, the scalars."""
        from ocrslim.ppocr import build_loss

        loss = build_loss(section)

        def run(predictions: Mapping[str, Any], batch: Sequence[Tensor]) -> dict[str, Any]:
            parts = loss(dict(predictions), list(batch))
            return {"loss": parts["loss"].sum(), **_scalars(parts)}

        return run

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        """Return nothing: these heads have no map that says the same in two networks."""
        return None


class PaddleDBDetector(PaddleDetector):
    """A detector with one of DB's heads."""

    training_only = Detection.training_only

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        return Detection.distilled(self, section, model)


def _shape(output: _Output, shape: Sequence[int]) -> tuple[int, ...]:
    size = tuple(side // output.stride if side > 0 else -1 for side in shape[2:])
    return (shape[0], output.channels, *size) if output.channels else (shape[0], *size)


def _scalars(parts: Mapping[str, Any]) -> dict[str, Any]:
    from paddle import Tensor

    return {
        name: part.sum()
        for name, part in parts.items()
        if name != "loss" and isinstance(part, Tensor) and part.size == 1
    }
