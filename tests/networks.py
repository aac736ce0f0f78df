"""Small networks, one for each way in which channels can be connected; `x` is [1, 3, 8, 8] unless they say so."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.vision.ops import DeformConv2D


def conv(channels, out, size=3, **options):
    return nn.Conv2D(channels, out, size, padding=size // 2, **options)


class Plain(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = conv(3, 8), nn.BatchNorm2D(8), conv(8, 6)
        self.end = nn.Linear(6, 2)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.norm(self.first(x))), 2)
        return self.end(F.hardswish(self.second(x)).mean([2, 3]))


class Residual(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = conv(3, 8), conv(8, 6), conv(6, 8)
        self.end = conv(8, 2)

    def forward(self, x):
        x = self.stem(x)
        return self.end(F.relu(x + self.two(F.relu(self.one(x)))))


class Concat(nn.Layer):
    """Two branches, the image itself and a bypass of the first, one behind the other."""

    def __init__(self):
        super().__init__()
        self.left, self.right = conv(3, 4), conv(3, 6)
        self.norm, self.end = nn.BatchNorm2D(17), conv(17, 2)

    def forward(self, x):
        left = self.left(x)
        return self.end(self.norm(paddle.concat([left, x, self.right(x), left], axis=1)))


class Depthwise(nn.Layer):
    """Depthwise convolutions, one with a multiplier."""

    def __init__(self):
        super().__init__()
        self.stem, self.same, self.twice = conv(3, 6), conv(6, 6, groups=6), conv(6, 12, groups=6)
        self.end = conv(12, 2)

    def forward(self, x):
        return self.end(F.relu6(self.twice(F.relu6(self.same(self.stem(x))))))


class Grouped(nn.Layer):
    """Few conv-groups, which lose the same places each, then many, which go whole."""

    def __init__(self):
        super().__init__()
        self.stem, self.few, self.many = conv(3, 8), conv(8, 8, groups=2), conv(8, 12, groups=4)
        self.end = conv(12, 2)

    def forward(self, x):
        x = F.relu(self.few(self.stem(x)))
        return self.end(F.relu(self.many(x)))


class Transposed(nn.Layer):
    """Transposed convolutions: plain, depthwise, grouped."""

    def __init__(self):
        super().__init__()
        self.stem, self.up = conv(3, 6), nn.Conv2DTranspose(6, 8, 2, stride=2)
        self.each, self.pairs = nn.Conv2DTranspose(8, 8, 2, stride=2, groups=8), nn.Conv2DTranspose(8, 12, 1, groups=4)
        self.end = conv(12, 2)

    def forward(self, x):
        return self.end(F.relu(self.pairs(self.each(F.relu(self.up(self.stem(x)))))))


class SqueezeExcite(nn.Layer):
    """Gates from convolutions and from linear layers over what `reshape` makes of the pooled map."""

    def __init__(self):
        super().__init__()
        self.stem, self.down, self.up = conv(3, 8), conv(8, 4, 1), conv(4, 8, 1)
        self.narrow, self.wide, self.end = nn.Linear(8, 4), nn.Linear(4, 8), conv(8, 2)

    def forward(self, x):
        x = self.stem(x)
        x = x * F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        batch, channels = x.shape[:2]
        gate = self.wide(F.relu(self.narrow(F.adaptive_avg_pool2d(x, 1).reshape([batch, channels]))))
        return self.end(x * F.sigmoid(gate).reshape([batch, channels, 1, 1]))


class SpatialAttention(nn.Layer):
    """A map of one channel over all: the source stays prunable."""

    def __init__(self):
        super().__init__()
        self.stem, self.map, self.end = conv(3, 8), conv(8, 1), conv(8, 2)

    def forward(self, x):
        x = self.stem(x)
        return self.end(x * F.sigmoid(self.map(x)))


class SharedInput(nn.Layer):
    """A pyramid: one map feeds two branches, which meet at another scale."""

    def __init__(self):
        super().__init__()
        self.stem, self.fine, self.coarse = conv(3, 8), conv(8, 6), conv(8, 6)
        self.end = conv(6, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        coarse = F.interpolate(self.coarse(F.avg_pool2d(x, 2)), scale_factor=2)
        return self.end(self.fine(x) + coarse)


class Flattened(nn.Layer):
    """Space flattened into a linear layer, then batch norm over rank 2."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide, self.norm, self.end = conv(3, 4), nn.Linear(16, 6), nn.BatchNorm1D(6), nn.Linear(6, 2)

    def forward(self, x):
        return self.end(F.relu(self.norm(self.wide(F.avg_pool2d(self.stem(x), 4).flatten(1)))))


class Recurrent(nn.Layer):
    """Height into channels, width into time, by default two layers in both directions."""

    def __init__(self, kind, layers=2, direction="bidirect"):
        super().__init__()
        self.stem = conv(3, 4)
        self.rnn = kind(8, 5, num_layers=layers, direction=direction)
        self.end = nn.Linear(10 if direction == "bidirect" else 5, 2)

    def forward(self, x):
        x = F.avg_pool2d(self.stem(x), (4, 1))  # [1, 4, 2, 8]
        sequence, _ = self.rnn(x.flatten(1, 2).transpose([0, 2, 1]))
        return self.end(sequence)


class SingleRecurrent(nn.Layer):
    """One layer in one direction, height pooled away."""

    def __init__(self):
        super().__init__()
        self.stem, self.rnn, self.end = conv(3, 6), nn.LSTM(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.end(self.rnn(self.stem(x).mean(2).transpose([0, 2, 1]))[0])


class LastState(nn.Layer):
    """The last states of an LSTM instead of its sequence, the first ones given by the code."""

    def __init__(self, size=None):
        super().__init__()
        self.size = size
        self.stem, self.rnn, self.end, self.cell = conv(3, 6), nn.LSTM(6, 5), nn.Linear(5, 2), nn.Linear(5, 2)

    def forward(self, x):
        state = paddle.full([1, 1, self.size or self.rnn.hidden_size], 0.5)
        _, (hidden, cell) = self.rnn(self.stem(x).mean(2).transpose([0, 2, 1]), (state, state))
        return self.end(hidden[0]) + self.cell(cell[0])


class Shuffled(nn.Layer):
    """Halves, one of which is worked on, and a channel shuffle computed of the shape."""

    def __init__(self):
        super().__init__()
        self.stem, self.side, self.end = conv(3, 8), conv(4, 4), conv(8, 2)

    def forward(self, x):
        left, right = paddle.split(self.stem(x), 2, axis=1)
        x = paddle.concat([left, self.side(right)], axis=1)
        batch, channels, height, width = x.shape
        x = x.reshape([batch, 2, channels // 2, height, width]).transpose([0, 2, 1, 3, 4])
        return self.end(x.reshape([batch, channels, height, width]))


class PixelShuffled(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.end = conv(3, 16), conv(4, 6), conv(24, 2)

    def forward(self, x):
        x = self.middle(F.pixel_shuffle(self.stem(x), 2))
        return self.end(F.pixel_unshuffle(F.relu(x), 2))


class Slopes(nn.Layer):
    """PReLU with a slope a channel, and with one for all."""

    def __init__(self):
        super().__init__()
        self.stem, self.each, self.middle, self.one, self.end = (
            conv(3, 8),
            nn.PReLU(8),
            conv(8, 6),
            nn.PReLU(),
            conv(6, 2),
        )

    def forward(self, x):
        return self.end(self.one(self.middle(self.each(self.stem(x)))))


class Norms(nn.Layer):
    """Instance norm, group norm, and layer norm over channels, which stay."""

    def __init__(self):
        super().__init__()
        self.a, self.instance, self.b, self.group = conv(3, 6), nn.InstanceNorm2D(6), conv(6, 8), nn.GroupNorm(4, 8)
        self.c, self.layer, self.end = conv(8, 6), nn.LayerNorm([6, 8, 8]), conv(6, 2)

    def forward(self, x):
        x = self.group(self.b(self.instance(self.a(x))))
        return self.end(self.layer(self.c(x)))


class ChannelsLast(nn.Layer):
    def __init__(self):
        super().__init__()
        layout = {"data_format": "NHWC"}
        self.stem, self.norm = nn.Conv2D(3, 8, 3, padding=1, **layout), nn.BatchNorm2D(8, **layout)
        self.each, self.slope = nn.Conv2D(8, 8, 3, padding=1, groups=8, **layout), nn.PReLU(8, **layout)
        self.mix, self.end = nn.Linear(8, 6), nn.Conv2D(6, 2, 1, **layout)

    def forward(self, x):
        x = self.norm(self.stem(x.transpose([0, 2, 3, 1])))
        x = F.max_pool2d(self.slope(self.each(x)), 2, **{"data_format": "NHWC"})
        return self.end(F.relu(self.mix(x)))


class Attention(nn.Layer):
    """One head over positions, scaled by a literal or by the number of its channels."""

    def __init__(self, literal=True):
        super().__init__()
        self.literal = literal
        self.stem = conv(3, 6)
        self.query, self.key, self.value, self.end = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        x = F.avg_pool2d(self.stem(x), 2).flatten(2).transpose([0, 2, 1])
        query = self.query(x)
        scores = paddle.matmul(query, self.key(x), transpose_y=True)
        scores = scores * (0.5 if self.literal else query.shape[-1] ** -0.5)
        return self.end(paddle.matmul(F.softmax(scores), self.value(x)))


class FusedAttention(nn.Layer):
    """Two heads whose queries, keys and values one layer makes, as PaddleOCR's SVTR has them."""

    def __init__(self, literal=False):
        super().__init__()
        self.num_heads, self.head_dim, self.dim, self.literal = 2, 4, 8, literal
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        size = 4 if self.literal else self.head_dim
        query, key, value = self.qkv(x).reshape([0, -1, 3, self.num_heads, size]).transpose([2, 0, 3, 1, 4])
        scores = F.softmax(paddle.matmul(query, key.transpose([0, 1, 3, 2])) * 0.5)
        return self.proj(paddle.matmul(scores, value).transpose([0, 2, 1, 3]).reshape([0, -1, self.dim]))


class Transformer(nn.Layer):
    """A block of attention and one of two linear layers, with norms on the way past both of them."""

    def __init__(self, literal=False):
        super().__init__()
        self.stem, self.attention, self.norm = conv(3, 8), FusedAttention(literal), nn.LayerNorm(8)
        self.wide, self.narrow, self.end = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = F.avg_pool2d(self.stem(x), 2).flatten(2).transpose([0, 2, 1])
        x = self.norm(x + self.attention(x))
        return self.end(self.norm(x + self.narrow(F.gelu(self.wide(x)))))


class OneDimension(nn.Layer):
    """Convolutions over the columns of a map: `x` becomes [1, 3, 64]."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv1D(3, 8, 3, padding=1), nn.BatchNorm1D(8)
        self.each, self.up, self.end = (
            nn.Conv1D(8, 8, 3, groups=8),
            nn.Conv1DTranspose(8, 6, 2, stride=2),
            nn.Conv1D(6, 2, 1),
        )

    def forward(self, x):
        x = F.max_pool1d(self.norm(self.stem(x.flatten(2))), 2)
        return self.end(F.relu(self.up(self.each(x))))


class ThreeDimensions(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.up = nn.Conv3D(3, 8, 1), nn.BatchNorm3D(8), nn.Conv3DTranspose(8, 6, 1)
        self.end = nn.Conv3D(6, 2, 1)

    def forward(self, x):
        x = F.avg_pool3d(self.norm(self.stem(x.unsqueeze(2))), (1, 2, 2))
        return self.end(F.relu(self.up(x)))


class TwoInputs(nn.Layer):
    """`x` and `y`, [1, 2, 8, 8]; a dictionary and lists as output; one output is used inside as well."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.middle = conv(3, 8), conv(2, 8), conv(8, 6)
        self.side, self.end = conv(6, 4), conv(4, 2)

    def forward(self, x, y):
        x = F.relu(self.middle(self.left(x) + self.right(y)))
        side = self.side(x)
        return {"maps": [side, self.end(F.relu(side))], "size": side.shape[2]}


class UsedTwice(nn.Layer):
    """One layer over two branches of different producers, and over its own output's likes."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.shared = conv(3, 6), conv(3, 6), conv(6, 6)
        self.end = conv(6, 2)

    def forward(self, x):
        return self.end(self.shared(F.relu(self.left(x))) * self.shared(self.shared(F.relu(self.right(x)))))


class SharedOverScales(nn.Layer):
    """One layer over two scales of the same producer."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared, self.end = conv(3, 6), conv(6, 4), conv(4, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return [self.end(F.relu(self.shared(scale))) for scale in (x, F.avg_pool2d(x, 2))]


class Tied(nn.Layer):
    """A linear layer whose weight, transposed, leads back."""

    def __init__(self):
        super().__init__()
        self.stem, self.code, self.end = conv(3, 6), nn.Linear(6, 4), nn.Linear(6, 2)

    def forward(self, x):
        x = self.stem(x).mean([2, 3])
        hidden = F.relu(self.code(x))
        return self.end(F.relu(paddle.matmul(hidden, self.code.weight, transpose_y=True)))


class OwnParameters(nn.Layer):
    """Scales, slopes and a multiplying buffer that the network holds itself, in several layouts."""

    def __init__(self):
        super().__init__()
        self.stem, self.end = conv(3, 6), conv(6, 2)
        self.gamma, self.beta = self.create_parameter([1, 6, 1, 1]), self.create_parameter([6])
        self.gain = self.create_parameter([1])
        self.register_buffer("mask", paddle.linspace(0.5, 1.5, 6).reshape([6, 1, 1]))

    def forward(self, x):
        x = self.stem(x) * self.gamma + self.beta.reshape([1, -1, 1, 1])
        return self.end(F.relu(x * self.mask) * self.gain)


class NotRun(nn.Layer):
    """A layer that is never run, one that only training runs, and one that it runs of a pruned source."""

    def __init__(self):
        super().__init__()
        self.stem, self.end = conv(3, 6), conv(6, 2)
        self.idle, self.auxiliary, self.out = conv(6, 4), conv(6, 4), conv(4, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        if self.training:
            return self.end(x), self.out(F.relu(self.auxiliary(x)))
        return self.end(x)


class Deformed(nn.Layer):
    """Deformable convolutions: one of two blocks of channels with offsets of their own, and one of a single block."""

    def __init__(self):
        super().__init__()
        self.stem, self.offsets, self.mask = conv(3, 12), conv(3, 2 * 2 * 9), conv(3, 2 * 9)
        self.two = DeformConv2D(12, 6, 3, padding=1, deformable_groups=2)
        self.few = conv(6, 2 * 9)
        self.one, self.end = DeformConv2D(6, 4, 3, padding=1), conv(4, 2)

    def forward(self, x):
        y = F.relu(self.two(self.stem(x), self.offsets(x), F.sigmoid(self.mask(x))))
        return self.end(self.one(y, self.few(y)))


class Embedded(nn.Layer):
    """The rows of a table, looked up by the largest of some scores."""

    def __init__(self):
        super().__init__()
        self.score, self.table, self.end = nn.Linear(8, 7), nn.Embedding(7, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.end(self.table(self.score(x).argmax(-1)).cumsum(1))


class LiteralReshape(nn.Layer):
    """A number of channels in the code: the trace supposes that it follows, only a run can tell."""

    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.end = conv(3, 8), conv(8, 6), conv(6, 2)

    def forward(self, x):
        x = self.stem(x).reshape([1, 8, 64]).reshape([1, 8, 8, 8])
        return self.end(F.relu(self.middle(x)))


class LiteralSplit(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.end = conv(3, 8), conv(4, 6), conv(6, 2)

    def forward(self, x):
        left, right = paddle.split(self.stem(x), [4, 4], axis=1)
        return self.end(F.relu(self.middle(left * right)))


class Conditional(nn.Layer):
    """What runs depends on the data: an `if` around one layer, a `while` behind another."""

    def __init__(self):
        super().__init__()
        self.first, self.inside, self.second = conv(3, 6), conv(6, 6), conv(6, 4)
        self.third, self.end = conv(4, 6), conv(6, 2)

    def forward(self, x):
        positive = x.mean()
        x = F.relu(self.first(x))
        if positive > 0:
            x = self.inside(x)
        x = self.second(x)
        while positive < 1:
            x = x * 2
            positive = positive + 1
        return self.end(F.relu(self.third(x)))


class Between(nn.Layer):
    """A function of the test's choice between two convolutions and another two."""

    def __init__(self, function):
        super().__init__()
        self.first, self.second = conv(3, 6), conv(6, 4)
        self.third, self.end = conv(4, 6), conv(6, 2)
        self.function = function

    def forward(self, x):
        x = self.function(self.second(F.relu(self.first(x))))
        return self.end(F.relu(self.third(x)))
