"""Small networks with their channel groups written by hand: one for each way in which channels couple."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

from ocrslim.graph.groups import FOLLOWS, INPUT, OUTPUT, ChannelGraph, Group, Member


@dataclass
class Net:
    """A network in eval mode, its groups, and the shape of its input."""

    model: nn.Layer
    graph: ChannelGraph
    shape: tuple[int, ...] = (2, 3, 6, 6)

    def image(self):
        return paddle.to_tensor(np.random.default_rng(7).standard_normal(self.shape).astype("float32"))

    def run(self):
        with paddle.no_grad():
            return self.model(self.image()).numpy()

    def silence(self, cuts):
        """Zero what the removed channels feed: the entries of the axes that read them."""
        readers = {(m.key, m.axis) for g in self.graph.groups.values() for m in g.members if m.role == INPUT}
        tensors = self.model.state_dict()
        for cut in cuts:
            if (cut.key, cut.axis) in readers:
                value = tensors[cut.key].numpy()
                gone = sorted(set(range(cut.size)) - set(cut.keep))
                value[(slice(None),) * cut.axis + (gone,)] = 0
                tensors[cut.key].set_value(value)


class Chain(nn.Layer):
    """Named layers run one after the other; a function in between is run as it is."""

    def __init__(self, **layers):
        super().__init__()
        self.steps = list(layers.values())
        for name, layer in layers.items():
            if isinstance(layer, nn.Layer):
                setattr(self, name, layer)

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x


def one_to_one(count, start=0):
    return tuple((start + index,) for index in range(count))


def blocks(count, width):
    return tuple(tuple(range(width * index, width * (index + 1))) for index in range(count))


def member(key, axis, units, role=FOLLOWS, size=None):
    return Member(key, axis, size or 1 + max(p for unit in units for p in unit), units, role)


def norm_members(name, units):
    return [member(f"{name}.{part}", 0, units) for part in ("weight", "bias", "_mean", "_variance")]


def net(model, *groups, unprunable=None, **options):
    rng = np.random.default_rng(0)
    for key, value in model.state_dict().items():
        low = 0.5 if key.endswith("_variance") else -1.0
        value.set_value(rng.uniform(low, 1.5, value.shape).astype("float32"))
    model.eval()
    graph = ChannelGraph({m[0].key: Group(m[0].key, tuple(m)) for m in groups}, unprunable or {})
    return Net(model, graph, **options)


def plain():
    model = Chain(a=nn.Conv2D(3, 6, 3), norm=nn.BatchNorm2D(6), act=nn.ReLU(), b=nn.Conv2D(6, 4, 3))
    units = one_to_one(6)
    group = [member("a.weight", 0, units, OUTPUT), member("a.bias", 0, units), *norm_members("norm", units)]
    return net(model, [*group, member("b.weight", 1, units, INPUT)], unprunable={"b.weight": "it makes the output"})


class Residual(nn.Layer):
    def __init__(self):
        super().__init__()
        self.a, self.one = nn.Conv2D(3, 6, 1, bias_attr=False), nn.BatchNorm2D(6)
        self.b, self.another = nn.Conv2D(6, 6, 1, bias_attr=False), nn.BatchNorm2D(6)
        self.c = nn.Conv2D(6, 2, 1)

    def forward(self, x):
        x = self.one(self.a(x))
        return self.c(nn.functional.relu(x + self.another(self.b(x))))


def residual():
    units = one_to_one(6)
    makers = [member("a.weight", 0, units, OUTPUT), *norm_members("one", units)]
    makers += [member("b.weight", 0, units, OUTPUT), *norm_members("another", units)]
    readers = [member(key, 1, units, INPUT) for key in ("b.weight", "c.weight")]
    return net(Residual(), [*makers, *readers])


class Concat(nn.Layer):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2D(3, 4, 1), nn.Conv2D(3, 6, 1)
        self.c = nn.Conv2D(10, 5, 1)

    def forward(self, x):
        return self.c(paddle.concat([self.a(x), self.b(x)], axis=1))


def concat():
    groups = []
    for name, size, start in (("a", 4, 0), ("b", 6, 4)):
        units = one_to_one(size)
        groups.append(
            [
                member(f"{name}.weight", 0, units, OUTPUT),
                member(f"{name}.bias", 0, units),
                member("c.weight", 1, one_to_one(size, start), INPUT, size=10),
            ]
        )
    return net(Concat(), *groups)


def depthwise(multiplier=1):
    size = 4 * multiplier
    model = Chain(a=nn.Conv2D(3, 4, 1), deep=nn.Conv2D(4, size, 3, groups=4), b=nn.Conv2D(size, 2, 1))
    wide = blocks(4, multiplier)
    group = [member("a.weight", 0, one_to_one(4), OUTPUT), member("a.bias", 0, one_to_one(4))]
    group += [member("deep.weight", 0, wide), member("deep.bias", 0, wide), member("b.weight", 1, wide, INPUT)]
    return net(model, group)


def grouped_by_block():
    """Whole groups of the grouped convolution go, with the inputs and outputs that are theirs."""
    model = Chain(a=nn.Conv2D(3, 8, 1), wide=nn.Conv2D(8, 12, 3, groups=4), b=nn.Conv2D(12, 2, 1))
    group = [member("a.weight", 0, blocks(4, 2), OUTPUT), member("a.bias", 0, blocks(4, 2))]
    group += [member(key, 0, blocks(4, 3)) for key in ("wide.weight", "wide.bias")]
    return net(model, [*group, member("b.weight", 1, blocks(4, 3), INPUT)])


def grouped_by_offset():
    """The same channel of every group goes: one group of channels before the convolution, one behind it."""
    model = Chain(a=nn.Conv2D(3, 8, 1), wide=nn.Conv2D(8, 12, 3, groups=4), b=nn.Conv2D(12, 2, 1))
    inputs = tuple(tuple(range(offset, 8, 2)) for offset in range(2))
    outputs = tuple(tuple(range(offset, 12, 3)) for offset in range(3))
    before = [member("a.weight", 0, inputs, OUTPUT), member("a.bias", 0, inputs)]
    before += [member("wide.weight", 1, one_to_one(2), INPUT)]
    behind = [member("wide.weight", 0, outputs, OUTPUT), member("wide.bias", 0, outputs)]
    return net(model, before, [*behind, member("b.weight", 1, outputs, INPUT)])


def transposed():
    model = Chain(a=nn.Conv2D(3, 6, 1), up=nn.Conv2DTranspose(6, 4, 2, stride=2), b=nn.Conv2D(4, 2, 1))
    units = one_to_one(6)
    before = [member("a.weight", 0, units, OUTPUT), member("a.bias", 0, units), member("up.weight", 0, units, INPUT)]
    units = one_to_one(4)
    behind = [member("up.weight", 1, units, OUTPUT), member("up.bias", 0, units), member("b.weight", 1, units, INPUT)]
    return net(model, before, behind)


def grouped_transposed():
    up = nn.Conv2DTranspose(8, 12, 2, stride=2, groups=4)
    model = Chain(a=nn.Conv2D(3, 8, 1), up=up, b=nn.Conv2D(12, 2, 1))
    group = [member("a.weight", 0, blocks(4, 2), OUTPUT), member("a.bias", 0, blocks(4, 2))]
    group += [member("up.weight", 0, blocks(4, 2)), member("up.bias", 0, blocks(4, 3))]
    return net(model, [*group, member("b.weight", 1, blocks(4, 3), INPUT)])


def flattened():
    model = Chain(a=nn.Conv2D(3, 4, 5), flat=nn.Flatten(), b=nn.Linear(16, 5), act=nn.ReLU(), c=nn.Linear(5, 2))
    units = one_to_one(4)
    first = [member("a.weight", 0, units, OUTPUT), member("a.bias", 0, units)]
    first += [member("b.weight", 0, blocks(4, 4), INPUT)]
    units = one_to_one(5)
    second = [member("b.weight", 1, units, OUTPUT), member("b.bias", 0, units), member("c.weight", 0, units, INPUT)]
    return net(model, first, second)


def prelu_and_norms():
    model = Chain(
        a=nn.Conv2D(3, 8, 1),
        groups=nn.GroupNorm(4, 8),
        act=nn.PReLU(8),
        each=nn.InstanceNorm2D(8),
        b=nn.Conv2D(8, 2, 1),
    )
    units = blocks(4, 2)  # a group norm's groups go whole
    keys = ("a.bias", "groups.weight", "groups.bias", "act._weight", "each.scale", "each.bias")
    group = [member("a.weight", 0, units, OUTPUT), *(member(key, 0, units) for key in keys)]
    return net(model, [*group, member("b.weight", 1, units, INPUT)])


class Sequence(nn.Layer):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1D(3, 6, 1)
        self.lstm = nn.LSTM(6, 5, direction="bidirect")
        self.b = nn.Linear(10, 2)

    def forward(self, x):
        return self.b(self.lstm(self.a(x).transpose([0, 2, 1]))[0])


def sequence():
    """One unit of an LSTM is four rows, one for each gate, in both directions; it reads itself."""
    channels, units, rows = one_to_one(6), one_to_one(5), tuple(tuple(range(unit, 20, 5)) for unit in range(5))
    group = [member("a.weight", 0, channels, OUTPUT), member("a.bias", 0, channels)]
    group += [member(f"lstm.weight_ih_l0{way}", 1, channels, INPUT) for way in ("", "_reverse")]
    hidden = [
        member(f"lstm.weight_{part}_l0{way}", 0, rows, OUTPUT) for way in ("", "_reverse") for part in ("ih", "hh")
    ]
    hidden += [member(f"lstm.bias_{part}_l0{way}", 0, rows) for way in ("", "_reverse") for part in ("ih", "hh")]
    hidden += [member(f"lstm.weight_hh_l0{way}", 1, units, INPUT) for way in ("", "_reverse")]
    hidden += [member("b.weight", 0, tuple((unit, 5 + unit) for unit in range(5)), INPUT)]
    return net(Sequence(), group, hidden, shape=(2, 3, 7))


NETS = {
    "plain": plain,
    "residual": residual,
    "concat": concat,
    "depthwise": depthwise,
    "depthwise with multiplier": lambda: depthwise(2),
    "whole groups": grouped_by_block,
    "one channel of each group": grouped_by_offset,
    "transposed": transposed,
    "whole groups, transposed": grouped_transposed,
    "flattened": flattened,
    "PReLU, group and instance norm": prelu_and_norms,
    "LSTM": sequence,
}
