"""Small networks, one for each kind of rewriting that an export makes."""

from __future__ import annotations

import paddle
from branches import Branches
from paddle import nn
from paddle.nn import functional as F


def upsampled(x, factor=2, mode="nearest"):
    return F.interpolate(x, scale_factor=factor, mode=mode)


class Pyramid(nn.Layer):
    """The neck and head of a DB detector: sums, upsamplings, a concatenation, transposed convolutions in a row."""

    def __init__(self, lateral_bias=False, mode="nearest", dead=False):
        super().__init__()
        self.mode, self.dead = mode, dead
        self.downs = nn.LayerList([nn.Conv2D(a, b, 3, 2, 1) for a, b in ((3, 8), (8, 16), (16, 24))])
        bias = None if lateral_bias else False
        self.laterals = nn.LayerList([nn.Conv2D(width, 32, 1, bias_attr=bias) for width in (8, 16, 24)])
        self.smooths = nn.LayerList([nn.Conv2D(32, 8, 3, padding=1, bias_attr=False) for _ in range(3)])
        self.head, self.norm = nn.Conv2D(24, 8, 3, padding=1, bias_attr=False), nn.BatchNorm2D(8)
        self.up, self.up_norm, self.last = (
            nn.Conv2DTranspose(8, 8, 2, 2),
            nn.BatchNorm2D(8),
            nn.Conv2DTranspose(8, 1, 2, 2),
        )

    def forward(self, x):
        levels = []
        for down in self.downs:
            x = F.relu(down(x))
            levels.append(x)
        sums = [self.laterals[2](levels[2])]
        for level in (1, 0):
            sums.insert(0, self.laterals[level](levels[level]) + upsampled(sums[0], mode=self.mode))
        maps = [smooth(one) for smooth, one in zip(self.smooths, sums)]
        joined = paddle.concat([upsampled(maps[2], 4, self.mode), upsampled(maps[1], mode=self.mode), maps[0]], 1)
        x = F.relu(self.norm(self.head(joined)))
        result = F.sigmoid(self.last(F.relu(self.up_norm(self.up(x)))))
        return {"maps": result, "inner": joined} if self.dead else result


class Sum(nn.Layer):
    """A convolution of a sum of convolutions of one pixel, which has a border."""

    def __init__(self, bias=False, mean=False):
        super().__init__()
        self.mean, bias = mean, None if bias else False
        self.stems = nn.LayerList([nn.Conv2D(3, 8, 3, padding=1) for _ in range(2)])
        self.sides = nn.LayerList([nn.Conv2D(8, 32, 1, bias_attr=bias) for _ in range(2)])
        self.last = nn.Conv2D(32, 8, 3, padding=1)

    def forward(self, x):
        one, two = (F.relu(stem(x)) for stem in self.stems)
        two = F.adaptive_avg_pool2d(two, 1) if self.mean else two
        return self.last(self.sides[0](one) + self.sides[1](two))


class Fed(nn.Layer):
    """An image and its convolution, joined below one another, of channels that no weight tells, upsampled."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2D(3, 3, 3, padding=1), nn.Conv2D(3, 2, 3, padding=1)

    def forward(self, x):
        tall = F.relu(paddle.concat([x, self.conv(x)], 2))
        return self.last(F.relu(upsampled(tall)))


class Gated(nn.Layer):
    """A map plus itself times a gate, as in RSEFPN."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate, self.last = nn.Conv2D(3, 8, 3, padding=1), nn.Conv2D(8, 8, 1), nn.Conv2D(8, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        x = x + x * F.hardsigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)), slope=0.2)
        return self.last(x)


class Scaled(nn.Layer):
    """Factors and norms behind activations, in front of a convolution of one pixel and of one with a border."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.mix = nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.Conv2D(8, 8, 1)
        self.scale, self.shift = (self.create_parameter([1]) for _ in range(2))
        self.last = nn.Conv2D(8, 4, 3, padding=1)

    def forward(self, x):
        x = self.mix(self.norm(F.hardswish(self.conv(x))))
        return self.last(F.leaky_relu(x) * self.scale + self.shift)


class Parallel(nn.Layer):
    """Branches that train in parallel."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2D(3, 8, 1), Branches(8, 8), Branches(8, 12)

    def forward(self, x):
        return self.second(F.relu(self.first(self.stem(x))))


class Parts(nn.Layer):
    """Parts of a list, dropout, and activations of many kinds."""

    def __init__(self):
        super().__init__()
        self.stem, self.drop = nn.Conv2D(3, 12, 3, padding=1), nn.Dropout(0.3)
        self.convs = nn.LayerList([nn.Conv2D(4, 4, 3, padding=1, groups=groups) for groups in (1, 2, 4)])
        self.last = nn.Conv2D(12, 3, 1)

    def forward(self, x):
        parts = paddle.split(self.drop(self.stem(x)), 3, axis=1)
        gelu, mish, relu6 = (conv(part) for conv, part in zip(self.convs, parts))
        return self.last(paddle.concat([F.gelu(gelu), F.mish(mish), F.relu6(relu6)], 1)).tanh()
