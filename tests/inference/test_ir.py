"""Steps and what is folded into them; what they compute is proven in test_lowering.py."""

from __future__ import annotations

import networks
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from networks import conv
from oracle import randomise
from paddle import nn

from ocrslim.errors import LoweringError
from ocrslim.graph.frontends.dygraph import traced
from ocrslim.graph.program import Op, Value
from ocrslim.inference.compiler.conversion.from_program import to_steps
from ocrslim.inference.compiler.folding import fold
from ocrslim.inference.compiler.ir import (
    ADD,
    AFFINE,
    CONCAT,
    CONV,
    DECONV,
    MULTIPLY,
    STRETCHED,
    Activation,
    Step,
    out_channels,
)
from ocrslim.models import state_arrays

PLAIN = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}


def convolution(source, output, out=4, channels=4, seed=0, **changes):
    weight = np.random.default_rng(seed).normal(size=(out, channels, 3, 3))
    return Step(CONV, (source,), output, PLAIN, weight, **changes)


def add(one, other, output, axis=-1):
    return Step(ADD, (one, other), output, {"axis": axis})


def affine(source, output, scale, shift):
    return Step(AFFINE, (source,), output, {"scale": np.atleast_1d(scale), "shift": np.atleast_1d(shift)})


def relu(source, output):
    return Step("relu", (source,), output)


def described(steps):
    """Kind, inputs, output and activation of each step."""
    return [(s.kind, s.inputs, s.output, s.activation and s.activation.name) for s in steps]


def of_network(model, keep=None):
    """The folded steps of a network, and its program."""
    model.eval()
    program = traced(model, [(-1, 3, -1, -1)], training=False)
    return to_steps(program.ops, program.outputs, state_arrays(model), keep or {})


def test_affine_maps_go_into_the_weight_and_bias_of_the_convolution_before_them():
    first = convolution("x", "a", bias=np.arange(4.0))
    scale, shift = np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 6.0, 7.0, 8.0])
    (step,) = fold([first, affine("a", "b", scale, shift), affine("b", "c", 2.0, 1.0)], ["c"])
    np.testing.assert_allclose(step.weight, first.weight * 2 * scale[:, None, None, None])
    np.testing.assert_allclose(step.bias, 2 * (np.arange(4.0) * scale + shift) + 1)
    assert step.output == "c" and step.inputs == ("x",)


def test_the_axis_that_is_scaled_is_the_one_that_makes_channels():
    """Of transposed convolutions: the second, group by group."""
    weight = np.random.default_rng(0).normal(size=(6, 2, 2, 2))
    settings = {**PLAIN, "strides": [2, 2], "groups": 3, "output_padding": []}
    scale = np.arange(1.0, 7.0)
    (step,) = fold([Step(DECONV, ("x",), "a", settings, weight), affine("a", "b", scale, 0.5)], ["b"])
    assert out_channels(step) == 6
    for channel in range(6):
        group, place = divmod(channel, 2)
        rows = slice(2 * group, 2 * group + 2)
        np.testing.assert_allclose(step.weight[rows, place], weight[rows, place] * scale[channel])
    np.testing.assert_allclose(step.bias, np.full(6, 0.5))


def test_an_activation_ends_what_can_be_folded():
    steps = fold([convolution("x", "a"), relu("a", "b"), affine("b", "c", 2.0, 0.0), relu("c", "d")], ["d"])
    assert described(steps) == [
        (CONV, ("x",), "b", "relu"),
        (AFFINE, ("b",), "c", None),
        ("relu", ("c",), "d", None),
    ]


def test_a_transposed_convolution_takes_no_activation():
    settings = {**PLAIN, "output_padding": []}
    steps = fold([Step(DECONV, ("x",), "a", settings, np.ones((4, 4, 3, 3))), relu("a", "b")], ["b"])
    assert described(steps) == [(DECONV, ("x",), "a", None), ("relu", ("a",), "b", None)]


def test_a_sum_goes_into_the_convolution_that_comes_last():
    steps = fold([relu("y", "a"), convolution("x", "b"), add("a", "b", "c"), relu("c", "d")], ["d"])
    assert described(steps) == [("relu", ("y",), "a", None), (CONV, ("x", "a"), "d", "relu")]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([convolution("x", "a"), relu("a", "b"), relu("a", "c")], "used twice"),
        ([relu("x", "y"), convolution("y", "a"), add("a", "y", "b")], "the sum would be written over what is used"),
        ([convolution("x", "a"), add("a", "a", "b")], "summed with itself"),
        ([relu("y", "p"), convolution("x", "a"), add("a", "p", "b", STRETCHED)], "of unequal size"),
        ([convolution("x", "a"), Step(MULTIPLY, ("a", "y"), "b", {"axis": -1})], "a product"),
        ([convolution("x", "a"), Step(CONCAT, ("a", "y"), "b", {"axis": 1})], "a concatenation"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_stays_on_its_own(steps, why):
    assert described(fold(steps, [steps[-1].output])) == described(steps), why


def test_a_value_that_must_come_out_stays():
    steps = [convolution("x", "a"), affine("a", "b", 2.0, 0.0), relu("b", "c")]
    assert [step.output for step in fold(steps, ["c"])] == ["c"]
    assert [step.output for step in fold(steps, ["a", "c"])] == ["a", "b", "c"]
    assert [step.output for step in fold(steps, ["b", "c"])] == ["b", "c"]


def test_no_second_sum_and_no_scaling_behind_a_sum():
    steps = [relu("y", "p"), relu("z", "q"), convolution("x", "a"), add("a", "p", "b"), add("b", "q", "c")]
    assert described(fold(steps, ["c"]))[-1] == (ADD, ("b", "q"), "c", None)
    scaled = fold([*steps[:1], *steps[2:4], affine("b", "c", 2.0, 0.0)], ["c"])
    assert described(scaled)[-1] == (AFFINE, ("b",), "c", None)


def test_folding_is_in_double_precision():
    """A batch norm of a nearly constant channel: in single precision the fourth digit is gone."""
    model = nn.Sequential(conv(3, 1), nn.BatchNorm2D(1))
    model[0].bias.set_value(np.float32([1234.567]))
    model[1]._mean.set_value(np.float32([1234.5]))
    model[1]._variance.set_value(np.float32([1e-6]))
    (step,) = of_network(model)
    bias, mean = np.float64(np.float32(1234.567)), np.float64(np.float32(1234.5))
    variance, epsilon = np.float64(np.float32(1e-6)), np.float64(model[1]._epsilon)
    np.testing.assert_allclose(step.bias, (bias - mean) / np.sqrt(variance + epsilon), rtol=1e-6)
    assert step.weight.dtype == step.bias.dtype == np.float64


def test_a_detectors_block_becomes_as_many_steps_as_it_has_layers():
    (first, second) = of_network(nn.Sequential(networks.conv(3, 8), nn.BatchNorm2D(8), nn.Hardswish(), conv(8, 2)))
    assert first.activation == Activation("hard_swish", {"threshold": 6.0, "scale": 6.0, "offset": 3.0})
    assert first.bias.shape == (8,) and second.activation is None
    assert [step.kind for step in of_network(randomise(networks.Depthwise()))] == [CONV] * 4


def test_pruned_parameters_take_the_place_of_the_traced_ones():
    """Biases of fewer channels too, which the program still calls as long as they were."""
    model = networks.Depthwise()
    arrays = state_arrays(model)
    model.eval()
    program = traced(model, [(-1, 3, -1, -1)], training=False)
    for key in ("stem.weight", "stem.bias", "same.weight", "same.bias"):
        arrays[key] = arrays[key][:4]
    arrays |= {"twice.weight": arrays["twice.weight"][:8], "twice.bias": arrays["twice.bias"][:8]}
    arrays["end.weight"] = arrays["end.weight"][:, :8]
    steps = to_steps(program.ops, program.outputs, arrays, {"same.weight": 4, "twice.weight": 4})
    assert [step.weight.shape[:2] for step in steps] == [(4, 3), (4, 1), (8, 1), (2, 8)]
    assert [step.attributes["groups"] for step in steps] == [1, 4, 4, 1]
    assert [step.bias.shape for step in steps] == [(4,), (4,), (8,), (2,)]


def test_pruned_to_a_single_channel():
    model = nn.Sequential(conv(3, 4), nn.ReLU(), nn.BatchNorm2D(4), conv(4, 1))
    arrays = {key: value[:, :1] if key == "3.weight" else value[:1] for key, value in state_arrays(model).items()}
    model.eval()
    program = traced(model, [(-1, 3, -1, -1)], training=False)
    kinds = [
        (s.kind, s.attributes["scale"].shape)
        for s in to_steps(program.ops, program.outputs, arrays, {})
        if s.weight is None
    ]
    assert kinds == [(AFFINE, (1,))]


def test_sums_of_unequal_maps_are_marked():
    class Shifted(nn.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 8), conv(3, 8, 1)

        def forward(self, x):
            return self.a(x) + self.b(F.adaptive_avg_pool2d(x, 1))

    assert of_network(Shifted())[-1].attributes["axis"] == STRETCHED
    assert STRETCHED != -1


def test_a_computed_weight_is_no_convolution_of_ours():
    values = [Value(n, shape) for n, shape in enumerate([(1, 3, 8, 8), (4, 3, 3, 3), (1, 4, 8, 8)])]
    settings = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    op = Op("conv2d", {"input": values[0], "filter": values[1]}, [values[2]], settings, layer="/Dynamic")
    with pytest.raises(LoweringError, match="conv2d in /Dynamic: a computed weight"):
        to_steps([op], [values[2]], {}, {})


def test_training_mode_is_refused():
    model = nn.Sequential(conv(3, 8), nn.BatchNorm2D(8))
    program = traced(model, [(-1, 3, -1, -1)], training=True)
    with pytest.raises(LoweringError, match="batch_norm.*training mode"):
        to_steps(program.ops, program.outputs, state_arrays(model), {})


def test_an_operator_without_a_step_is_named_with_the_layer_around_it():
    class Unknown(nn.Layer):
        def forward(self, x):
            return paddle.cumsum(x, axis=1)

    with pytest.raises(LoweringError, match="^cumsum.*not known to the runtime"):
        of_network(Unknown())
