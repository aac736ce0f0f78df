"""A text detector: backbone, neck and head in a row."""

from __future__ import annotations

import paddle
from paddle import nn


class DetectionModel(nn.Layer):
    """The network; its state-dict keys are PaddleOCR's (`backbone.*`, `neck.*`, `head.*`)."""

    # State-dict prefixes of what runs while training only: an exported model does not carry it.
    training_only: tuple[str, ...] = ("head.thresh.",)

    def __init__(self, backbone: nn.Layer, neck: nn.Layer, head: nn.Layer):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """Images [N, 3, H, W], H and W multiples of 32 -> {"maps": ...} as the head returns it."""
        return self.head(self.neck(self.backbone(x)))
