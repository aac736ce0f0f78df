"""Small networks in PaddleOCR's manner: a head that takes labels, and layers that train as parallel branches."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


class Labelled(nn.Layer):
    """A recogniser with two heads; one of them takes labels and only runs in training (PaddleOCR's MultiHead)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.ReLU())
        self.mix = nn.Conv2D(8, 12, 3, padding=1)
        self.ctc = nn.Linear(12, 5)
        self.bridge = nn.Linear(12, 6)
        self.characters = nn.Embedding(5, 6)
        self.decode = nn.Linear(6, 5)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, data=None):
        x = self.mix(self.stem(x)).mean(axis=2).transpose([0, 2, 1])
        ctc = self.ctc(x)
        if not self.training:
            return ctc
        context = self.drop(self.bridge(x)).mean(axis=1, keepdim=True)
        return {"ctc": ctc, "gtc": self.decode(self.characters(data[0]) + context)}


def labelled_forward(model, batch):
    """Run a network as PaddleOCR's training step does."""
    return model(batch[0], data=batch[1:])


class Branches(nn.Layer):
    """Parallel convolutions and an identity that `rep` makes one convolution of, from sizes that it keeps itself."""

    def __init__(self, in_channels, out_channels, groups=1):
        super().__init__()
        self.is_repped = False
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = 3
        self.identity = nn.BatchNorm2D(in_channels) if in_channels == out_channels else None
        self.wide = nn.LayerList([branch(in_channels, out_channels, 3, groups) for _ in range(2)])
        self.narrow = branch(in_channels, out_channels, 1, groups)

    def forward(self, x):
        if self.is_repped:
            return self.one(x)
        branches = [*self.wide, self.narrow, *([] if self.identity is None else [self.identity])]
        return sum(one(x) for one in branches[1:]) + branches[0](x)

    def rep(self):
        """Add the branches up."""
        weight, bias = merged(self.narrow[0].weight, self.narrow[1])
        weight = F.pad(weight, [1, 1, 1, 1])
        for one in self.wide:
            more, shift = merged(one[0].weight, one[1])
            weight, bias = weight + more, bias + shift
        if self.identity is not None:
            each = self.in_channels // self.groups
            kernel = paddle.zeros([self.in_channels, each, 3, 3])
            for channel in range(self.in_channels):
                kernel[channel, channel % each, 1, 1] = 1
            more, shift = merged(kernel, self.identity)
            weight, bias = weight + more, bias + shift
        self.one = nn.Conv2D(self.in_channels, self.out_channels, self.kernel_size, padding=1, groups=self.groups)
        self.one.weight.set_value(weight)
        self.one.bias.set_value(bias)
        self.is_repped = True


def branch(in_channels, out_channels, size, groups):
    """A convolution with a batch norm."""
    conv = nn.Conv2D(in_channels, out_channels, size, padding=size // 2, groups=groups, bias_attr=False)
    return nn.Sequential(conv, nn.BatchNorm2D(out_channels))


def merged(weight, norm):
    """Weight and bias of a convolution that computes what one with `weight` and `norm` do."""
    scale = norm.weight / (norm._variance + norm._epsilon).sqrt()
    return weight * scale.reshape([-1, 1, 1, 1]), norm.bias - norm._mean * scale


class Deploying(nn.Layer):
    """A pointwise and a depthwise layer of parallel branches, in a network that has other layers too."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, padding=1)
        self.one = Branches(8, 12)
        self.two = Branches(12, 12, groups=12)
        self.last = nn.Conv2D(12, 2, 1)

    def forward(self, x):
        return self.last(F.relu(self.two(F.relu(self.one(self.first(x))))))


def deploying(seed=0):
    """A `Deploying` with weights and statistics of its own."""
    paddle.seed(seed)
    model = Deploying()
    for norm in model.sublayers():
        if isinstance(norm, nn.BatchNorm2D):
            norm._mean.set_value(paddle.randn(norm._mean.shape) * 0.1)
            norm._variance.set_value(paddle.rand(norm._variance.shape) + 0.5)
    model.eval()
    return model
