"""Whatever the runtime takes equals dygraph, whatever it does not take it says: one small network for each case."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from networks import conv
from oracle import randomise
from paddle import nn

from ocrslim.errors import LoweringError
from ocrslim.graph.frontends.dygraph import traced
from ocrslim.inference.compiler.conversion.from_program import to_steps
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.compiler.lowering import lower
from ocrslim.models import state_arrays

TOLERANCE = 2e-6  # of the largest output
SIZES = ((64, 96), (36, 50))
Function = Callable[..., object]


class Net(nn.Layer):
    """`function` of the network itself and its input; the layers under their names, parameters by their shapes."""

    def __init__(self, function: Function, **parts):
        super().__init__()
        self.function = function
        positive = nn.initializer.Uniform(0.5, 1.5)
        for name, one in parts.items():
            made = one if isinstance(one, nn.Layer) else self.create_parameter(one, default_initializer=positive)
            setattr(self, name, made)

    def forward(self, x):
        return self.function(self, x)


def after_conv(function: Function, **parts) -> Net:
    return Net(lambda s, x: function(s, s.a(x)), a=conv(3, 8), **parts)


def predictor(model: nn.Layer) -> Executable:
    program = traced(model, [(-1, 3, -1, -1)], training=False)
    steps = to_steps(program.ops, program.outputs, state_arrays(model), {})
    return Executable(lower(steps, [v.id for v in program.inputs], [v.id for v in program.outputs]))


def assert_equals_dygraph(model: nn.Layer) -> None:
    paddle.seed(0)
    randomise(model)
    ours = predictor(model)
    for size in SIZES:
        image = np.random.default_rng(1).standard_normal((1, 3, *size)).astype("float32")
        with paddle.no_grad():
            wanted = [output.numpy() for output in paddle.utils.flatten(model(paddle.to_tensor(image)))]
        found = ours([image])
        assert [one.shape for one in found] == [one.shape for one in wanted]
        for one, other in zip(found, wanted):
            assert np.abs(one - other).max() <= TOLERANCE * np.abs(other).max(), size


CONVOLUTIONS = {
    "uneven kernel, stride, dilation": nn.Conv2D(3, 8, (3, 5), (2, 1), (1, 2), (1, 3)),
    "height and width padded apart": nn.Conv2D(3, 8, 3, padding=[2, 1]),
    "padding in full form": nn.Conv2D(3, 8, 3, padding=[[0, 0], [0, 0], [1, 1], [2, 2]]),
    "dilated": nn.Conv2D(3, 8, 3, padding=2, dilation=2),
    "groups": nn.Conv2D(3, 9, 3, padding=1, groups=3),
    "depthwise": nn.Conv2D(3, 3, 3, padding=1, groups=3),
    "depthwise with multiplier": nn.Conv2D(3, 9, 3, padding=1, groups=3),
    "depthwise and dilated": nn.Conv2D(3, 3, 3, padding=2, dilation=2, groups=3),
    "transposed": nn.Conv2DTranspose(3, 8, 2, 2),
    "transposed, overlapping": nn.Conv2DTranspose(3, 8, 3, 2, 1),
    "transposed, output padded": nn.Conv2DTranspose(3, 8, 3, 2, 1, output_padding=1),
    "transposed, output padded in height": nn.Conv2DTranspose(3, 8, 3, 2, 1, output_padding=[1, 0]),
    "transposed, dilated": nn.Conv2DTranspose(3, 8, 3, 2, dilation=2),
    "transposed, groups": nn.Conv2DTranspose(3, 12, 2, 2, groups=3),
    "transposed, depthwise": nn.Conv2DTranspose(3, 3, 2, 2, groups=3),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_with_what_is_folded_into_them(name):
    layer = CONVOLUTIONS[name]
    channels = layer.bias.shape[0]
    parts = {"layer": layer, "norm": nn.BatchNorm2D(channels), "g": (1, channels, 1, 1)}
    assert_equals_dygraph(Net(lambda s, x: F.hardswish(s.norm(s.layer(x)) * 0.5 + s.g), **parts))
    layer.bias = None
    assert_equals_dygraph(Net(lambda s, x: [s.layer(x), F.relu(s.layer(x) * s.g)], layer=layer, g=(1, channels, 1, 1)))


ACTIVATIONS = {
    "relu": F.relu,
    "relu in place": F.relu_,
    "relu6": F.relu6,
    "leaky relu": F.leaky_relu,
    "leaky relu, steep": lambda x: F.leaky_relu(x, 0.3),
    "leaky relu, negative": lambda x: F.leaky_relu(x, -0.3),
    "sigmoid": F.sigmoid,
    "swish": F.swish,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "hardsigmoid, steep": lambda x: F.hardsigmoid(x, 0.3, 0.4),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_behind_everything(name):
    """Behind a convolution, a transposed one, a sum and on their own: each is written in another way."""
    f = ACTIVATIONS[name]
    upsampling = nn.Conv2DTranspose(8, 8, 2, stride=2)
    model = Net(
        lambda s, x: [f(F.max_pool2d(4 * x, 2)), f(s.a(x)), f(s.a(x) + s.b(x)), f(s.up(f(s.b(x))))],
        a=conv(3, 8),
        b=conv(3, 8),
        up=upsampling,
    )
    assert_equals_dygraph(model)


POOLS = {
    "max": lambda x: F.max_pool2d(x, 2),
    "max, overlapping": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max, rounded up": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max, uneven padding": lambda x: F.max_pool2d(x, 3, 2, [0, 1, 1, 0]),
    "max, SAME": lambda x: F.max_pool2d(x, 3, 2, "SAME"),
    "max, VALID": lambda x: F.max_pool2d(x, 3, 2, "VALID"),
    "mean": lambda x: F.avg_pool2d(x, 2),
    "mean, padding left out": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "mean, padding counted": lambda x: F.avg_pool2d(x, 3, 2, 1, exclusive=False),
    "mean, rounded up": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "mean, rounded up, padding counted": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, exclusive=False),
    "mean, uneven padding": lambda x: F.avg_pool2d(x, 3, 2, [0, 1, 1, 0]),
    "mean, SAME": lambda x: F.avg_pool2d(x, 3, 2, "SAME"),
    "mean, own divisor": lambda x: F.avg_pool2d(x, 3, 2, divisor_override=5),
    "mean, uneven": lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (0, 1)),
    "mean of all": lambda x: F.adaptive_avg_pool2d(x, 1),
    "mean of parts": lambda x: F.adaptive_avg_pool2d(x, 3),
    "mean of parts that do not split": lambda x: F.adaptive_avg_pool2d(x, (4, 8)),
    "mean of odd parts": lambda x: F.adaptive_avg_pool2d(x, (5, 7)),
}
RESIZED = {
    f"{mode} {scale} {settings}": (mode, scale, settings)
    for mode, scales, variants in (
        ("nearest", (2, 3, 1.5, 0.5, [2, 3], [0.5, 2]), ({},)),
        ("bilinear", (2, 3, 1.5, 0.5, [2, 3]), ({}, {"align_corners": True}, {"align_mode": 1})),
    )
    for scale in scales
    for settings in variants
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling(name):
    assert_equals_dygraph(after_conv(lambda s, x: s.b(POOLS[name](x)), b=conv(8, 4, 1)))


@pytest.mark.parametrize("name", RESIZED)
def test_resizing(name):
    mode, scale, settings = RESIZED[name]
    parts = {"b": conv(8, 4, 1)}
    assert_equals_dygraph(
        after_conv(lambda s, x: s.b(F.interpolate(x, scale_factor=scale, mode=mode, **settings)), **parts)
    )


def gate(s, x):
    return s.b(F.adaptive_avg_pool2d(x, 1))


JOINS = {
    "residual": after_conv(lambda s, x: F.relu(x + s.b(F.relu(x))), b=conv(8, 8)),
    "residual of residual": after_conv(lambda s, x: (lambda y: y + s.c(y))(x + s.b(x)), b=conv(8, 8), c=conv(8, 8)),
    "the input is summed": Net(lambda s, x: s.a(F.relu(x)) + x, a=conv(3, 3)),
    "sum of pooled and convolved": Net(lambda s, x: F.avg_pool2d(x, 3, 1, 1) + s.a(x), a=conv(3, 3)),
    "three summands": after_conv(lambda s, x: x + s.b(x) + s.c(x), b=conv(8, 8), c=conv(8, 8)),
    "sum with itself": after_conv(lambda s, x: x + x),
    "square": after_conv(lambda s, x: x * x),
    "gate": after_conv(lambda s, x: x * F.sigmoid(gate(s, x)), b=conv(8, 8, 1)),
    "gate, turned round": after_conv(lambda s, x: F.sigmoid(gate(s, x)) * x, b=conv(8, 8, 1)),
    "shift by one pixel": Net(lambda s, x: s.a(x) + gate(s, x), a=conv(3, 8), b=conv(3, 8, 1)),
    "shift by one pixel, turned round": Net(lambda s, x: gate(s, x) + s.a(x), a=conv(3, 8), b=conv(3, 8, 1)),
    "shift by one channel": Net(lambda s, x: s.a(x) + s.b(x), a=conv(3, 8), b=conv(3, 1)),
    "shift by one channel, turned round": Net(lambda s, x: s.b(x) + s.a(x), a=conv(3, 8), b=conv(3, 1)),
    "attention": Net(lambda s, x: F.sigmoid(s.b(x)) * s.a(x), a=conv(3, 8), b=conv(3, 1)),
    "concatenation of one value twice": after_conv(lambda s, x: paddle.concat([x, s.b(x), x], 1), b=conv(8, 6)),
    "concatenation in height": after_conv(lambda s, x: paddle.concat([x, x], 2)),
    "concatenation from the back": after_conv(lambda s, x: paddle.concat([x, F.relu(x)], -3)),
    "sum with a concatenation": after_conv(lambda s, x: s.b(x) + paddle.concat([x, x], 1), b=conv(8, 16)),
    "a map from below": Net(
        lambda s, x: s.a(x) + F.interpolate(s.b(F.avg_pool2d(x, 2)), scale_factor=2), a=conv(3, 8), b=conv(3, 8)
    ),
    "transposed and plain": Net(
        lambda s, x: s.a(x) + s.b(F.interpolate(x, scale_factor=2)), a=nn.Conv2DTranspose(3, 8, 2, 2), b=conv(3, 8)
    ),
    "an output used inside": after_conv(lambda s, x: [F.relu(x), x, s.b(x)], b=conv(8, 8)),
    "an output named twice": after_conv(lambda s, x: [x, x]),
    "the input as an output": after_conv(lambda s, x: [x, F.relu(x)]),
    "nothing at all": Net(lambda s, x: x),
    "activations alone": Net(lambda s, x: F.relu(x)),
}
AFFINE = {
    "batch norm of the input": Net(lambda s, x: s.n(x), n=nn.BatchNorm2D(3)),
    "batch norm behind an activation": after_conv(lambda s, x: s.n(F.relu(x)), n=nn.BatchNorm2D(8)),
    "batch norm of one channel": Net(lambda s, x: s.n(F.relu(s.a(x))), a=conv(3, 1), n=nn.BatchNorm2D(1)),
    "two batch norms": after_conv(lambda s, x: s.m(s.n(x)), n=nn.BatchNorm2D(8), m=nn.BatchNorm2D(8)),
    "batch norm of a sum": after_conv(lambda s, x: s.n(x + s.b(x)), b=conv(8, 8), n=nn.BatchNorm2D(8)),
    "batch norm beside its source": after_conv(lambda s, x: s.n(x) + x, n=nn.BatchNorm2D(8)),
    "batch norm with fixed statistics": after_conv(lambda s, x: s.n(x), n=nn.BatchNorm2D(8, use_global_stats=True)),
    "numbers": after_conv(lambda s, x: 1 - (x * 2 + 1) / 3),
    "numbers on the input": Net(lambda s, x: s.a(x * 2 + 1), a=conv(3, 8)),
    "shifted, then scaled": after_conv(lambda s, x: paddle.scale(x, 2.0, 3.0, bias_after_scale=False)),
    "scaled, with activation": after_conv(lambda s, x: paddle.scale(x, 2.0, 3.0, act="relu")),
    "own vectors": after_conv(lambda s, x: x * s.g + s.h.reshape([1, -1, 1, 1]), g=(8, 1, 1), h=(8,)),
    "own vectors behind an activation": after_conv(lambda s, x: F.relu(x) * s.g + s.h, g=(1, 8, 1, 1), h=(8, 1, 1)),
    "one own number": after_conv(lambda s, x: s.g * x, g=(1,)),
    "a constant of the code": after_conv(lambda s, x: x * paddle.full([1, 8, 1, 1], 2.0)),
    "a parameter in another shape": after_conv(lambda s, x: x * s.g.reshape([1, 8, 1, 1]), g=(2, 4)),
    "a layer used twice": Net(lambda s, x: s.n(s.a(F.relu(s.n(s.a(x))))), a=conv(3, 3), n=nn.BatchNorm2D(3)),
    "a weight for both directions": Net(
        lambda s, x: F.conv2d_transpose(F.conv2d(x, s.g, padding=1), s.g, padding=1), g=(8, 3, 3, 3)
    ),
}


@pytest.mark.parametrize("name", JOINS)
def test_joins_and_outputs(name):
    assert_equals_dygraph(JOINS[name])


@pytest.mark.parametrize("name", AFFINE)
def test_scaling_and_shifting(name):
    assert_equals_dygraph(AFFINE[name])


def test_parameters_in_double_precision_are_run_in_single():
    model = randomise(after_conv(lambda s, x: F.relu(s.n(x)), n=nn.BatchNorm2D(8)))
    image = np.random.default_rng(1).standard_normal((1, 3, 32, 32)).astype("float32")
    wanted = model(paddle.to_tensor(image)).numpy()
    found = predictor(model.to(dtype="float64"))([image])[0]
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE * np.abs(wanted).max())


UNKNOWN = {
    "conv2d": [after_conv(lambda s, x: x + F.conv2d(x, s.g * 2), g=(8, 8, 1, 1))],
    "conv2d_transpose": [
        Net(lambda s, x: s.a(x), a=nn.Conv2DTranspose(3, 8, 3, padding=[0, 1, 2, 1])),
        Net(lambda s, x: s.a(x), a=nn.Conv2DTranspose(3, 8, 3, 2, padding="SAME")),
        Net(lambda s, x: s.a(x, output_size=[128, 192]), a=nn.Conv2DTranspose(3, 8, 3, 2, 1)),
    ],
    "batch_norm": [
        after_conv(lambda s, x: s.n(x), n=nn.BatchNorm2D(8, use_global_stats=False)),
        after_conv(lambda s, x: s.n(x), n=nn.BatchNorm2D(8, weight_attr=False, bias_attr=False)),
    ],
    "conv2d of maps in another order": [
        Net(lambda s, x: s.a(x.transpose([0, 2, 3, 1])), a=nn.Conv2D(3, 8, 3, data_format="NHWC"))
    ],
    "fft_r2c": [after_conv(lambda s, x: paddle.abs(paddle.fft.rfft(x)))],
    "cumsum": [after_conv(lambda s, x: paddle.cumsum(x, 1))],
}


@pytest.mark.parametrize("operator", UNKNOWN)
def test_what_cannot_be_lowered_is_named(operator):
    for model in UNKNOWN[operator]:
        randomise(model)
        with pytest.raises(LoweringError, match=rf"^{operator.split()[0]}\b.*not known to the runtime"):
            predictor(model)


def test_an_output_of_parameters_alone_is_refused():
    with pytest.raises(LoweringError, match="does not depend on the network's input"):
        predictor(after_conv(lambda s, x: [x, s.g], g=(1, 8, 1, 1)))


def test_what_only_paddle_finds_out_is_an_error_of_ours_too():
    with pytest.raises(LoweringError, match="paddlepaddle .* cannot run"):
        ours = predictor(randomise(after_conv(lambda s, x: x)))
        ours([np.zeros((1, 5, 16, 16), np.float32)])
