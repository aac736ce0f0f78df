"""Feature pyramids of the DB detectors: from four maps to one at a quarter of the input's size."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from ocrslim.errors import ConfigError
from ocrslim.models.backbones.mobilenet_v3 import SEModule
from ocrslim.tasks import NECK_STEP

_LEVELS = 4


def _upsample(x: paddle.Tensor, factor: int) -> paddle.Tensor:
    return F.interpolate(x, scale_factor=factor, mode="nearest")


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2D:
    initializer = paddle.ParamAttr(initializer=nn.initializer.KaimingUniform())
    return nn.Conv2D(in_channels, out_channels, kernel, padding=kernel // 2, weight_attr=initializer, bias_attr=False)


def _check(name: str, in_channels: Sequence[int], out_channels: int) -> None:
    if len(in_channels) != _LEVELS:
        raise ConfigError(
            f"Architecture.Neck.name: {name} takes {_LEVELS} feature maps, this backbone gives "
            f"{len(in_channels)}: choose another backbone"
        )
    if not isinstance(out_channels, int) or out_channels < NECK_STEP or out_channels % NECK_STEP:
        raise ConfigError(
            f"Architecture.Neck.out_channels: {out_channels!r} is not a positive multiple of {NECK_STEP}: "
            "PaddleOCR's detectors use 96 or 256"
        )


class _Pyramid(nn.Layer):
    """The wiring that both necks share: top-down sums, one smoothing layer a level, concatenation."""

    def _lateral(self, level: int) -> nn.Layer:
        raise NotImplementedError

    def _smooth(self, level: int) -> nn.Layer:
        raise NotImplementedError

    @paddle.jit.not_to_static  # as the backbone's
    def forward(self, maps: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """Four maps, finest first, each half the size of the one before -> [N, out_channels, H/4, W/4].

        Channels of the result: coarsest level first, a quarter each.
        """
        top = None
        fused = []
        for level in reversed(range(_LEVELS)):
            lateral = self._lateral(level)(maps[level])
            top = lateral if top is None else lateral + _upsample(top, 2)
            smooth = self._smooth(level)(top)
            fused.append(_upsample(smooth, 2**level) if level else smooth)
        return paddle.concat(fused, axis=1)


class DBFPN(_Pyramid):
    """Feature pyramid of DB (Liao et al., arXiv 1911.08947), without adaptive scale fusion.

    Args:
        in_channels: channels of the four maps, finest first.
        out_channels: channels of the result; a quarter of them comes from each map.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        _check("DBFPN", in_channels, out_channels)
        self.out_channels = out_channels
        for level, channels in enumerate(in_channels):
            self.add_sublayer(f"in{level + 2}_conv", _conv(channels, out_channels, 1))
        for level in reversed(range(_LEVELS)):
            self.add_sublayer(f"p{level + 2}_conv", _conv(out_channels, out_channels // 4, 3))

    def _lateral(self, level: int) -> nn.Layer:
        return getattr(self, f"in{level + 2}_conv")

    def _smooth(self, level: int) -> nn.Layer:
        return getattr(self, f"p{level + 2}_conv")


class RSELayer(nn.Layer):
    """Convolution and squeeze-excitation, with a shortcut around the latter if asked for."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, shortcut: bool = True):
        super().__init__()
        self.in_conv = _conv(in_channels, out_channels, kernel)
        self.se_block = SEModule(out_channels)
        self.shortcut = shortcut

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in, H, W] -> [N, out, H, W]."""
        x = self.in_conv(x)
        return x + self.se_block(x) if self.shortcut else self.se_block(x)


class RSEFPN(_Pyramid):
    """Feature pyramid with residual squeeze-excitation, from PP-OCRv3 (Li et al., arXiv 2206.03001).

    Args:
        in_channels: channels of the four maps, finest first.
        out_channels: channels of the result; a quarter of them comes from each map.
        shortcut: add each convolution's output to its gated copy.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, shortcut: bool = True):
        super().__init__()
        _check("RSEFPN", in_channels, out_channels)
        self.out_channels = out_channels
        self.ins_conv = nn.LayerList()
        self.inp_conv = nn.LayerList()
        # Level by level, not list by list: the order in which PaddleOCR's parameters are numbered.
        for channels in in_channels:
            self.ins_conv.append(RSELayer(channels, out_channels, 1, shortcut))
            self.inp_conv.append(RSELayer(out_channels, out_channels // 4, 3, shortcut))

    def _lateral(self, level: int) -> nn.Layer:
        return self.ins_conv[level]

    def _smooth(self, level: int) -> nn.Layer:
        return self.inp_conv[level]
