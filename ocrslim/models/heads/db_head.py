"""The head of DB: two maps at full resolution and their differentiable binarisation."""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import nn


class MapBranch(nn.Layer):
    """From features at 1/4 of the input's size to one map of values in (0, 1) at full size."""

    def __init__(self, in_channels: int):
        super().__init__()
        channels = in_channels // 4
        self.conv1 = nn.Conv2D(in_channels, channels, 3, padding=1, bias_attr=False)
        self.conv_bn1 = self._norm(channels)
        self.conv2 = self._double(channels, channels)
        self.conv_bn2 = self._norm(channels)
        self.conv3 = self._double(channels, 1)

    @staticmethod
    def _norm(channels: int) -> nn.BatchNorm:
        return nn.BatchNorm(
            channels,
            param_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(1.0)),
            bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(1e-4)),
        )

    @staticmethod
    def _double(in_channels: int, out_channels: int) -> nn.Conv2DTranspose:
        bound = 1.0 / math.sqrt(in_channels)
        return nn.Conv2DTranspose(
            in_channels,
            out_channels,
            2,
            stride=2,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingUniform()),
            bias_attr=paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound)),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in, H/4, W/4] -> [N, 1, H, W]."""
        x = F.relu(self.conv_bn1(self.conv1(x)))
        x = F.relu(self.conv_bn2(self.conv2(x)))
        return F.sigmoid(self.conv3(x))


class DBHead(nn.Layer):
    """Differentiable binarisation (Liao et al., arXiv 1911.08947, equation 2).

    Args:
        in_channels: channels of the neck's output.
        k: steepness of the soft step between the shrink map and the threshold map.
    """

    def __init__(self, in_channels: int, k: float = 50):
        super().__init__()
        self.k = k
        self.binarize = MapBranch(in_channels)
        self.thresh = MapBranch(in_channels)

    @paddle.jit.not_to_static  # as the backbone's
    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """[N, in, H/4, W/4] -> {"maps": ...}.

        While training: [N, 3, H, W], the shrink, threshold and binary map. In eval mode: [N, 1, H, W],
        the shrink map, and the threshold branch does not run.
        """
        shrink = self.binarize(x)
        if not self.training:
            return {"maps": shrink}
        threshold = self.thresh(x)
        binary = paddle.reciprocal(1 + paddle.exp(-self.k * (shrink - threshold)))
        return {"maps": paddle.concat([shrink, threshold, binary], axis=1)}
