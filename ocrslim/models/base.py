"""A network of PaddleOCR's form: backbone, neck and head in a row."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

from ocrslim.tasks import Task


class OcrModel(nn.Layer):
    """The network; its state-dict keys are PaddleOCR's (`backbone.*`, `neck.*`, `head.*`).

    Attributes:
        task: what it is for.
        neck: missing where there is none.
    """

    def __init__(self, task: Task, backbone: nn.Layer, head: nn.Layer, neck: nn.Layer | None = None):
        super().__init__()
        self.task = task
        self.backbone = backbone
        if neck is not None:
            self.neck = neck
        self.head = head

    @property
    def training_only(self) -> tuple[str, ...]:
        """State-dict prefixes of the layers that run in training only: an exported model does not contain them."""
        return self.task.training_only

    def forward(self, x: paddle.Tensor) -> Any:
        """Images [N, C, H, W], of a size that the task's networks take -> what the head returns."""
        features = self.backbone(x)
        return self.head(self.neck(features) if "neck" in self._sub_layers else features)


def output_of(model: nn.Layer, result: Any) -> paddle.Tensor:
    """Return the output that an exported model returns, of what `model` has returned.

    A network that is no `OcrModel` returns it as it is, or as the first value of a dictionary.
    """
    task = getattr(model, "task", None)
    if isinstance(task, Task):
        return task.output(result)
    return next(iter(result.values())) if isinstance(result, dict) else result
