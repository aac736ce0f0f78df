"""Operators that recognisers, classifiers and other detectors are made of: as dygraph, unpruned and pruned by group."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from networks import conv
from oracle import randomise
from paddle import nn
from paddle.vision.ops import DeformConv2D

from ocrslim.errors import LoweringError
from ocrslim.graph.frontends.dygraph import trace
from ocrslim.inference.compiler.conversion.from_program import to_steps
from ocrslim.inference.incremental.activation_cache import ActivationCache
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.runner import GroupRunner
from ocrslim.inference.tracing import arrays_of, traced_for_task
from ocrslim.models import output_of
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import pruned
from ocrslim.utils.timing import Clock

TOLERANCE = 1e-5  # of the largest output
HEIGHT, CHANNELS = 16, 8
WIDTHS = (32, 56)
TASK = SimpleNamespace(free_shape=(-1, 3, HEIGHT, -1), probe_shape=(1, 3, HEIGHT, 40))


class Net(nn.Layer):
    """A convolution, `function` of the network itself and what that makes, and layers under their names."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        self.stem = conv(3, CHANNELS, stride=2)
        for name, part in parts.items():
            made = part if isinstance(part, nn.Layer) else self.create_parameter(part)
            setattr(self, name, made)

    def forward(self, x):
        return self.function(self, F.relu(self.stem(x)))


def sequence(x):
    """[N, C, H, W] -> [N, H W, C], as SVTR makes it."""
    return x.flatten(2).transpose([0, 2, 1])


def attention(self, x):
    x = sequence(x)
    qkv = self.qkv(x).reshape([0, -1, 3, 2, 4]).transpose([2, 0, 3, 1, 4])
    q, k, v = qkv[0] * 0.5, qkv[1], qkv[2]
    scores = F.softmax(q.matmul(k.transpose([0, 1, 3, 2])))
    return self.out(scores.matmul(v).transpose([0, 2, 1, 3]).reshape([0, -1, 8])) + x


def shuffled(self, x):
    n, c, h, w = x.shape
    return self.b(x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w]))


def flattened_by_sizes(self, x):
    n, c, h, w = x.shape
    return self.b(x.reshape([n, c, h * w]).transpose([0, 2, 1]))


def resized_to_sizes(self, x):
    _, _, h, w = x.shape
    return self.b(F.interpolate(F.max_pool2d(x, 2), size=[h, w], mode="bilinear"))


def with_a_parameter(self, x):
    first = F.adaptive_avg_pool2d(x, 1)
    return self.b(paddle.concat([first, self.p.expand([x.shape[0], 2, 1, 1])], 1))


def there_and_back(self, x):
    """To a sequence and back to a map, by sizes that are read off the map."""
    n, c, h, w = x.shape
    return self.b(self.norm(sequence(x)).reshape([n, h, w, c]).transpose([0, 3, 1, 2]))


def pooled(self, x):
    return self.b(F.adaptive_avg_pool2d(x, 1).reshape([x.shape[0], -1]))


def tail(**parts):
    return {"b": conv(CHANNELS, 6, 1), **parts}


EACH = {
    **{
        name: getattr(F, name)
        for name in ("gelu", "tanh", "mish", "softplus", "elu", "log_softmax", "softmax", "sigmoid", "swish")
    },
    "gelu, approximately": lambda x: F.gelu(x, approximate=True),
    "square root": lambda x: paddle.sqrt(x + 0.1),
    "reciprocal root": lambda x: paddle.rsqrt(x + 0.1),
    "exponential and logarithm": lambda x: paddle.log(paddle.exp(-x) + 1),
    "power": lambda x: (x + 0.1) ** 1.5,
    "clipped": lambda x: paddle.clip(x, 0.1, 0.9),
    "minus a number": lambda x: x - 0.3,
    "a number minus": lambda x: 0.3 - x,
    "a number over": lambda x: 1 / (x + 1.5),
    "quotient": lambda x: x / (x + 1),
    "larger of both": lambda x: paddle.maximum(x, 1 - x),
    "smaller of both": lambda x: paddle.minimum(x, 1 - x),
    "dropout": lambda x: F.dropout(x, 0.3, training=False),
    "dropout that scales": lambda x: F.dropout(x, 0.3, training=False, mode="downscale_in_infer"),
    "padded": lambda x: F.pad(x, [0, 1, 2, 0]),
    "padded by reflection": lambda x: F.pad(x, [1, 1, 1, 1], mode="reflect"),
    "resized to half the height": lambda x: F.interpolate(x, size=[4, 10], mode="bilinear", align_corners=True),
    "resized to another map": lambda x: F.interpolate(F.max_pool2d(x, 2), size=paddle.shape(x)[2:]),
    "resized by cubes": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "largest of parts": lambda x: F.adaptive_max_pool2d(x, 3),
    "parts of the height": lambda x: F.adaptive_avg_pool2d(x, [1, 5]),
    "mean of the height": lambda x: x.mean(2, keepdim=True),
    "sum of the width": lambda x: x.sum([-1], keepdim=True),
    "largest of the height": lambda x: x.max(2, keepdim=True),
    "slices of the width": lambda x: x[:, :, :, 2:] + x[:, :, :, :-2],
    "every row": lambda x: sum(paddle.unbind(x, 2)).unsqueeze(2),
    "repeated": lambda x: paddle.tile(x, [1, 1, 2, 1]),
    "of numbers in double precision": lambda x: (x.astype("float64") * 2).astype("float32"),
}
WHOLE = {
    "attention": Net(attention, qkv=nn.Linear(8, 24), out=nn.Linear(8, 8)),
    "layer norm": Net(lambda s, x: s.b(s.norm(sequence(x))), norm=nn.LayerNorm(8), b=nn.Linear(8, 5)),
    "layer norm on a map": Net(there_and_back, **tail(norm=nn.LayerNorm(8))),
    "linear layers with activation": Net(
        lambda s, x: F.softmax(s.c(F.gelu(s.b(sequence(x))))), b=nn.Linear(8, 12), c=nn.Linear(12, 5)
    ),
    "linear layer of one pixel": Net(pooled, b=nn.Linear(8, 5)),
    "linear layer of a flattened map": Net(
        lambda s, x: s.b(F.adaptive_avg_pool2d(x, [2, 3]).flatten(1)), b=nn.Linear(48, 5)
    ),
    "batch norm of a vector": Net(
        lambda s, x: s.b(s.norm(x.mean([2, 3]) * 2)), norm=nn.BatchNorm1D(8), b=nn.Linear(8, 5)
    ),
    "mean without an axis": Net(lambda s, x: s.b(x.mean([2, 3])), b=nn.Linear(8, 5)),
    "squeezed height": Net(
        lambda s, x: F.softmax(s.b(F.max_pool2d(x, [8, 1]).squeeze(2).transpose([0, 2, 1])), axis=2), b=nn.Linear(8, 5)
    ),
    "LSTM": Net(lambda s, x: s.b(s.lstm(sequence(x))[0]), lstm=nn.LSTM(8, 4), b=nn.Linear(4, 5)),
    "LSTM of two layers and directions": Net(
        lambda s, x: s.b(s.lstm(sequence(x))[0]),
        lstm=nn.LSTM(8, 4, num_layers=2, direction="bidirectional"),
        b=nn.Linear(8, 5),
    ),
    "GRU": Net(lambda s, x: s.b(s.gru(sequence(x))[0]), gru=nn.GRU(8, 4), b=nn.Linear(4, 5)),
    "position embedding": Net(lambda s, x: s.b(s.p * x[:, :, :2, :4] + s.p), **tail(p=(1, 8, 2, 4))),
    "position embedding of a sequence": Net(
        lambda s, x: s.b(sequence(F.adaptive_avg_pool2d(x, [2, 4])) + s.p), p=(1, 8, 8), b=nn.Linear(8, 5)
    ),
    "computed parameters": Net(lambda s, x: s.b(x * F.sigmoid(s.p * 2)), **tail(p=(1, 8, 1, 1))),
    "resized to sizes": Net(resized_to_sizes, **tail()),
    "concatenation with a parameter": Net(with_a_parameter, p=(1, 2, 1, 1), b=conv(10, 5, 1)),
    "a channel spread over others": Net(lambda s, x: s.b(x.mean(1, keepdim=True) * s.p), **tail(p=(1, 8, 1, 1))),
    "halves of the channels": Net(lambda s, x: s.b(paddle.concat(paddle.chunk(x, 2, 1)[::-1], 1)), **tail()),
    "named parts of the channels": Net(lambda s, x: s.b(paddle.concat(paddle.split(x, [3, 5], 1), 1)), **tail()),
    "shuffled channels": Net(shuffled, **tail()),
    "to a sequence by sizes": Net(flattened_by_sizes, b=nn.Linear(8, 5)),
    "product of two maps": Net(
        lambda s, x: paddle.matmul(s.b(x), s.c(x), transpose_y=True), b=conv(8, 4, 1), c=conv(8, 4, 1)
    ),
    "map times column": Net(lambda s, x: s.b(F.adaptive_avg_pool2d(x, [1, 4]) * x[:, :, :, :1]), **tail()),
    "instance norm": Net(lambda s, x: s.b(s.norm(x)), **tail(norm=nn.InstanceNorm2D(8))),
    "group norm": Net(lambda s, x: s.b(s.norm(x)), **tail(norm=nn.GroupNorm(2, 8))),
    "slopes of their own": Net(lambda s, x: s.b(s.a(x - 0.5)), **tail(a=nn.PReLU(8))),
    "deformable convolution": Net(
        lambda s, x: s.b(s.d(x, s.offset(x), F.sigmoid(s.mask(x)))),
        offset=conv(8, 18),
        mask=conv(8, 9),
        d=DeformConv2D(8, 8, 3, padding=1),
        b=conv(8, 5, 1),
    ),
    "sampled at places": Net(
        lambda s, x: s.b(F.grid_sample(x, F.tanh(s.g(x)).transpose([0, 2, 3, 1]))), **tail(g=conv(8, 2))
    ),
    "convolutions padded unevenly": Net(
        lambda s, x: s.b(s.d(s.c(x))),
        **tail(c=nn.Conv2D(8, 8, 3, padding=[0, 1, 2, 1]), d=nn.Conv2D(8, 8, 3, 2, padding="SAME")),
    ),
    "branches of one value": Net(
        lambda s, x: s.b(s.m(x) + s.n(s.c(x)) + s.d(x) + s.e(x) + s.f(x)),
        **tail(
            **{"m": nn.BatchNorm2D(8), "n": nn.BatchNorm2D(8), "c": conv(8, 8), "d": conv(8, 8)},
            **{"e": conv(8, 8, 1), "f": nn.Conv2D(8, 8, (1, 3), padding=(0, 1))},
        ),
    ),
    "branches of each channel": Net(
        lambda s, x: s.b(F.relu(s.c(x) + s.d(x) + s.m(x)) * 2 + 1),
        **tail(c=conv(8, 8, 5, groups=8), d=conv(8, 8, 1, groups=8), m=nn.BatchNorm2D(8)),
    ),
    "branches that do not fit": Net(
        lambda s, x: s.b(s.c(x) + s.d(x) + s.e(x)),
        **tail(c=conv(8, 8), d=nn.Conv2D(8, 8, 3, padding=2, dilation=2), e=conv(8, 8, 3, groups=4)),
    ),
    "several outputs": Net(lambda s, x: (F.sigmoid(s.b(x)), s.c(x)), **tail(c=conv(8, 4))),
    "outputs by name": Net(lambda s, x: {"z": s.b(x), "a": s.c(x), "x": x.mean([2, 3])}, **tail(c=conv(8, 4))),
    "an output that no group reaches": Net(lambda s, x: [s.b(x), s.c(x), x], **tail(c=conv(8, 4))),
}
NETWORKS = {**{name: Net(lambda s, x, f=f: s.b(f(x)), **tail()) for name, f in EACH.items()}, **WHOLE}


class Images:
    """Inputs of several widths, the last one of two images."""

    def __init__(self):
        rng = np.random.default_rng(0)
        shapes = [(1, 3, HEIGHT, width) for width in WIDTHS] + [(2, 3, HEIGHT, WIDTHS[0])]
        self.arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]

    def image(self, index):
        return self.arrays[index]

    @property
    def pixels(self):
        return sum(array[:, 0].size for array in self.arrays)


def outputs(model, images):
    with paddle.no_grad():
        results = [output_of(model, model(paddle.to_tensor(image))) for image in images.arrays]
    return [[one.numpy() for one in paddle.utils.flatten(result)] for result in results]


def assert_same(runner, wanted, what):
    for index, arrays in enumerate(wanted):
        found = runner(index)
        found = list(found) if isinstance(found, tuple) else [found]
        assert [one.shape for one in found] == [one.shape for one in arrays], what
        for one, other in zip(found, arrays):
            assert np.abs(one - other).max() <= TOLERANCE * max(1, np.abs(other).max()), what


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_dygraph_unpruned_and_by_group(name):
    paddle.seed(0)
    model = randomise(NETWORKS[name])
    model.eval()
    images = Images()
    network = RuntimeNetwork(traced_for_task(model, TASK), arrays_of(model), TASK.probe_shape)
    runner = GroupRunner(network, None, ActivationCache(network, images, 1 << 30, None, Clock()))
    runner.load(Variant())
    assert_same(runner, outputs(model, images), name)
    graph = trace(model, TASK.probe_shape)
    pruner = ChannelPruner(model, graph, "random")
    for group in graph.groups.values():
        if group.fixed_by:  # its code may have numbers that the cut does not change
            continue
        for ratio in (0.3, 0.6):
            cuts = pruner.cuts({group.name: ratio})
            keys = {cut.key for cut in cuts}
            with pruned(model, Plan({}, cuts)):
                arrays = {key: array for key, array in arrays_of(model).items() if key in keys}
                groups = {
                    f"{key}.weight": layer._groups
                    for key, layer in model.named_sublayers()
                    if isinstance(layer, nn.Conv2D)
                }
                wanted = outputs(model, images)
            runner = GroupRunner(network, group, ActivationCache(network, images, 1 << 30, None, Clock()))
            runner.load(Variant(group, frozenset(pruner.removed(group.name, ratio)), arrays, groups))
            for _ in range(2):  # from the image, and from what is kept of it
                assert_same(runner, wanted, f"{group.name} at {ratio}")
            assert_same(list(runner.many(range(3))).__getitem__, wanted, f"{group.name} at {ratio}, together")


def test_enough_of_the_networks_have_groups_that_are_pruned():
    with_groups = sum(
        any(not group.fixed_by for group in trace(model, TASK.probe_shape).groups.values())
        for model in NETWORKS.values()
    )
    assert with_groups > 0.7 * len(NETWORKS)


def test_branches_of_one_value_cost_one_convolution():
    model = randomise(NETWORKS["branches of one value"])
    model.eval()
    program = traced_for_task(model, TASK)
    steps = to_steps(program.ops, program.outputs, arrays_of(model), {})
    assert [step.kind for step in steps] == ["conv2d"] * 3


def of_unequal_lengths(self, x):
    return self.lstm(sequence(x), sequence_length=paddle.full([x.shape[0]], 3, "int32"))[0]


def test_sequences_of_several_lengths_are_refused():
    model = Net(of_unequal_lengths, lstm=nn.LSTM(8, 4))
    model.eval()
    with pytest.raises(LoweringError, match=r"^rnn .*several lengths"):
        RuntimeNetwork(traced_for_task(model, TASK), arrays_of(model), TASK.probe_shape)
