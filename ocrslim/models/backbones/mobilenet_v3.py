"""MobileNetV3 as PaddleOCR's text detectors use it (Howard et al., arXiv 1905.02244, tables 1 and 2).

Layers are created in PaddleOCR's order: the numbers that Paddle gives to parameters are what identifies
them in an inference model (see `ocrslim/weights.py`). No parameter is named explicitly, because a second
model with the same names cannot be built in one process.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from ocrslim.errors import ConfigError
from ocrslim.tasks import SCALES


class Block(NamedTuple):
    """One inverted residual: kernel size, channels inside and after (at scale 1), and how it runs."""

    kernel: int
    expanded: int
    out: int
    se: bool
    activation: str
    stride: int


# Stages are cut in front of the blocks that halve the resolution, where the neck taps the features.
STAGES: dict[str, tuple[tuple[Block, ...], ...]] = {
    "large": (
        (
            Block(3, 16, 16, False, "relu", 1),
            Block(3, 64, 24, False, "relu", 2),
            Block(3, 72, 24, False, "relu", 1),
        ),
        (
            Block(5, 72, 40, True, "relu", 2),
            Block(5, 120, 40, True, "relu", 1),
            Block(5, 120, 40, True, "relu", 1),
        ),
        (
            Block(3, 240, 80, False, "hardswish", 2),
            Block(3, 200, 80, False, "hardswish", 1),
            Block(3, 184, 80, False, "hardswish", 1),
            Block(3, 184, 80, False, "hardswish", 1),
            Block(3, 480, 112, True, "hardswish", 1),
            Block(3, 672, 112, True, "hardswish", 1),
        ),
        (
            Block(5, 672, 160, True, "hardswish", 2),
            Block(5, 960, 160, True, "hardswish", 1),
            Block(5, 960, 160, True, "hardswish", 1),
        ),
    ),
    "small": (
        (Block(3, 16, 16, True, "relu", 2),),
        (
            Block(3, 72, 24, False, "relu", 2),
            Block(3, 88, 24, False, "relu", 1),
        ),
        (
            Block(5, 96, 40, True, "hardswish", 2),
            Block(5, 240, 40, True, "hardswish", 1),
            Block(5, 240, 40, True, "hardswish", 1),
            Block(5, 120, 48, True, "hardswish", 1),
            Block(5, 144, 48, True, "hardswish", 1),
        ),
        (
            Block(5, 288, 96, True, "hardswish", 2),
            Block(5, 576, 96, True, "hardswish", 1),
            Block(5, 576, 96, True, "hardswish", 1),
        ),
    ),
}
_STEM_CHANNELS = 16
_LAST_CHANNELS = {"large": 960, "small": 576}
_ACTIVATIONS = {"relu": F.relu, "hardswish": F.hardswish}


def scaled_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never below it, and never down by more than a tenth."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvBNLayer(nn.Layer):
    """Convolution without bias, batch norm, and an activation if one is named; keeps the size at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2D(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=(kernel - 1) // 2,
            groups=groups,
            bias_attr=False,
        )
        self.bn = nn.BatchNorm(out_channels)
        self.activation = activation

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in, H, W] -> [N, out, H / stride, W / stride]."""
        x = self.bn(self.conv(x))
        return _ACTIVATIONS[self.activation](x) if self.activation else x


class SEModule(nn.Layer):
    """Squeeze and excitation (Hu et al., arXiv 1709.01507): scales each channel by a gate in [0, 1]."""

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.conv1 = nn.Conv2D(channels, channels // reduction, 1)
        self.conv2 = nn.Conv2D(channels // reduction, channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, C, H, W] -> the same shape."""
        gate = self.conv2(F.relu(self.conv1(self.avg_pool(x))))
        # PaddleOCR's slope, not the 1/6 of the paper: its weights are trained with it.
        return x * F.hardsigmoid(gate, slope=0.2, offset=0.5)


class InvertedResidual(nn.Layer):
    """Expand, filter depthwise, gate (optional), project; adds its input where the shapes allow it."""

    def __init__(self, block: Block, in_channels: int, scale: float):
        super().__init__()
        expanded, out_channels = scaled_channels(scale * block.expanded), scaled_channels(scale * block.out)
        self.shortcut = block.stride == 1 and in_channels == out_channels
        self.expand_conv = ConvBNLayer(in_channels, expanded, 1, activation=block.activation)
        self.bottleneck_conv = ConvBNLayer(
            expanded, expanded, block.kernel, block.stride, groups=expanded, activation=block.activation
        )
        self.mid_se = SEModule(expanded) if block.se else None
        self.linear_conv = ConvBNLayer(expanded, out_channels, 1)
        self.out_channels = out_channels

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in, H, W] -> [N, out, H / stride, W / stride]."""
        y = self.bottleneck_conv(self.expand_conv(x))
        if self.mid_se is not None:
            y = self.mid_se(y)
        y = self.linear_conv(y)
        return x + y if self.shortcut else y


class MobileNetV3(nn.Layer):
    """The backbone; its four maps lie at 1/4, 1/8, 1/16 and 1/32 of the input's height and width.

    Args:
        in_channels: channels of the image.
        model_name: 'large' or 'small'.
        scale: width multiplier, one of `SCALES`.
        disable_se: leave out every squeeze-and-excitation module.

    Raises:
        ConfigError: no such `model_name` or `scale`.
    """

    def __init__(self, in_channels: int = 3, model_name: str = "large", scale: float = 0.5, disable_se: bool = False):
        super().__init__()
        _check(model_name, scale)
        channels = scaled_channels(scale * _STEM_CHANNELS)
        self.conv = ConvBNLayer(in_channels, channels, 3, stride=2, activation="hardswish")
        self.out_channels: list[int] = []
        stages = STAGES[model_name]
        for index, blocks in enumerate(stages):
            layers: list[nn.Layer] = []
            for block in blocks:
                layers.append(InvertedResidual(block._replace(se=block.se and not disable_se), channels, scale))
                channels = layers[-1].out_channels
            if index == len(stages) - 1:
                last = scaled_channels(scale * _LAST_CHANNELS[model_name])
                layers.append(ConvBNLayer(channels, last, 1, activation="hardswish"))
                channels = last
            self.add_sublayer(f"stage{index}", nn.Sequential(*layers))
            self.out_channels.append(channels)

    @paddle.jit.not_to_static  # no value decides what runs, so a trace need not translate the code, its longest part
    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """[N, in, H, W] -> one map for each stage, [N, out_channels[i], H / 2^(i+2), W / 2^(i+2)]."""
        x = self.conv(x)
        maps = []
        for index in range(len(self.out_channels)):
            x = getattr(self, f"stage{index}")(x)
            maps.append(x)
        return maps


def _check(model_name: str, scale: float) -> None:
    problems = []
    if model_name not in STAGES:
        problems.append(
            f"Architecture.Backbone.model_name: {model_name!r} is not a MobileNetV3: choose one of {', '.join(STAGES)}"
        )
    if scale not in SCALES:
        problems.append(
            f"Architecture.Backbone.scale: {scale!r} is not a width of MobileNetV3: "
            f"choose one of {', '.join(map(str, SCALES))}"
        )
    if problems:
        raise ConfigError(problems)
