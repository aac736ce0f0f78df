"""Networks that run the program of a file: as Paddle Inference runs it, and trainable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest
from file_networks import NETWORKS, SHAPE, Detector, difference, exported, image, imported, run
from paddle import nn
from paddle.nn import functional as F
from small_export import FORMATS, export

from ocrslim.errors import GraphError
from ocrslim.formats import write_pruned
from ocrslim.graph import Op, Value, read_inference_folder
from ocrslim.models import ImportedNetwork


@pytest.fixture(scope="module", params=[(name, kind) for name in NETWORKS for kind in FORMATS])
def folder(request, tmp_path_factory):
    name, kind = request.param
    return exported(NETWORKS[name], tmp_path_factory.mktemp("files"), kind)


@pytest.fixture
def detector(tmp_path):
    return exported(Detector, tmp_path, FORMATS[-1])


def output(model: nn.Layer, x: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


def test_it_computes_what_paddle_inference_does(folder):
    model, x = imported(folder), image()
    expected = run(folder, x)
    assert difference(output(model, x), expected) < 1e-5
    for parameter in model.parameters():
        parameter.set_value(parameter * 1.1)
    assert difference(output(model, x), expected) > 1e-3  # the comparison sees other weights


def test_weights_go_back_into_the_file_by_their_names(folder, tmp_path):
    model = imported(folder)
    for parameter in model.parameters():
        parameter.set_value(parameter * 0.9)
    state = {model.file_names[key]: tensor.numpy() for key, tensor in model.state_dict().items()}
    assert state.keys() == read_inference_folder(folder).arrays.keys()
    write_pruned(folder, tmp_path / "written", state, {})
    assert difference(run(tmp_path / "written", image()), output(model, image())) < 1e-5


def test_layers_are_called_after_the_tensors(detector):
    model = imported(detector)
    for key, name in model.file_names.items():
        layer, attribute = key.split(".")
        assert name.startswith(layer)
        assert attribute in ("weight", "bias", "_mean", "_variance")
    kinds = [type(layer).__name__ for layer in model.sublayers()]
    assert kinds.count("Conv2D") == 9
    assert kinds.count("Conv2DTranspose") == kinds.count("BatchNorm2D") == 1


def test_all_sizes_of_its_program_are_those_of_the_image(folder):
    model = imported(folder)
    before = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    program = model.program_at(SHAPE)
    assert program.inputs[0].shape == SHAPE
    assert program.outputs[0].shape == output(model, image()).shape
    sizes = [value.shape for op in program.ops for value in (*op.values(), *op.outputs[:1]) if value.shape is not None]
    assert min(size for shape in sizes for size in shape) >= 0  # none is left open
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[key])


def test_a_size_that_the_file_fixes_is_named(tmp_path):
    model = imported(exported(NETWORKS["Recogniser"], tmp_path, FORMATS[-1]))
    with pytest.raises(GraphError, match=r"\[1, 3, 48, 64\].*fixes its input to \[-1, 3, 32, -1\]"):
        model.program_at([1, 3, 48, 64])
    with pytest.raises(GraphError, match="cannot be run on an image"):
        imported(exported(Detector, tmp_path, FORMATS[-1])).program_at([1, 3, 1, 1])


def test_it_trains(detector):
    model = ImportedNetwork(read_inference_folder(detector))
    model.train()
    before = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    model(paddle.to_tensor(image())).mean().backward()
    optimizer.step()
    same = [key for key, value in model.state_dict().items() if np.array_equal(value.numpy(), before[key])]
    assert same == [
        key for key in before if key.endswith(("._mean", "._variance"))
    ]  # which a batch of four would spoil


def test_lone_numbers_that_scale_whole_maps_stay_as_they_are(tmp_path):
    class Affine(nn.Layer):
        """A convolution, and a factor and a summand of its whole map, as PP-LCNetV3 has them."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2D(3, 4, 3, padding=1)
            self.factor, self.summand = (self.create_parameter([1]) for _ in "ab")
            self.each = self.create_parameter([1, 4, 1, 1])

        def forward(self, x):
            return (self.conv(x) * self.factor + self.summand) * self.each

    model = imported(exported(Affine, tmp_path, FORMATS[-1]))
    sizes = {p.size: p.stop_gradient for p in model.parameters()}
    assert sizes[1] is True and not any(fixed for size, fixed in sizes.items() if size > 1)


def test_a_weight_in_two_places_stays_one(tmp_path):
    class Twice(nn.Layer):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2D(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(F.relu(self.conv(x))) + F.conv2d(x, self.conv.weight, padding=2, dilation=2)

    folder = export(Twice(), tmp_path, FORMATS[-1] == "legacy")
    model = imported(folder)
    assert len(model.parameters()) == 2
    assert len(model.file_names) == 2
    assert difference(output(model, image()), run(folder, image())) < 1e-5


def test_an_unknown_operator_is_named_before_anything_runs(detector):
    found = read_inference_folder(detector)
    mystery = Op("mystery", {"x": found.program.outputs[0]}, [Value(-1, (-1, 1, -1, -1))])
    program = replace(found.program, ops=[*found.program.ops, mystery], outputs=mystery.outputs)
    with pytest.raises(GraphError, match=r"operator \d+ of \d+, mystery, is not known") as caught:
        ImportedNetwork(replace(found, program=program))
    assert "\n" not in str(caught.value)


def test_half_precision_is_refused(detector):
    found = read_inference_folder(detector)
    arrays = {name: array.astype("float16") for name, array in found.arrays.items()}
    with pytest.raises(GraphError, match=r"is float16, expected float32"):
        ImportedNetwork(replace(found, arrays=arrays))


def _heads(x):
    return x.reshape([0, 3, -1]).transpose([0, 2, 1])


FUNCTIONS = {
    "activations": lambda x: F.relu6(x) + F.leaky_relu(x) + F.silu(x) + F.swish(x) + F.elu(x) + F.gelu(x, True),
    "more activations": lambda x: F.mish(x) + F.softplus(x) + F.hardtanh(x, -0.5, 0.5) + paddle.erf(x) + F.tanh(x),
    "maths": lambda x: paddle.sqrt(paddle.exp(x)) + x**2 - x.abs() / 3 + paddle.clip(x, -1, 0.5) + 2 * x + 1,
    "rounding": lambda x: paddle.floor(x) + paddle.ceil(x) + paddle.round(x) + paddle.sign(x) + paddle.sin(x),
    "average pooling": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, exclusive=False),
    "maximum pooling": lambda x: F.max_pool2d(x, 2, 2, padding="SAME") + F.adaptive_max_pool2d(x, [16, 24]),
    "uneven windows": lambda x: F.avg_pool2d(x, [3, 2], [2, 1]),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
    "aligned corners": lambda x: F.interpolate(x, size=[20, 30], mode="bilinear", align_corners=True),
    "nearest": lambda x: F.interpolate(x, scale_factor=[2, 3], mode="nearest"),
    "size of another map": lambda x: F.interpolate(F.avg_pool2d(x, 4), size=paddle.shape(x)[2:], mode="nearest") + x,
    "reductions": lambda x: x.mean([2, 3], keepdim=True) + x.max(1, keepdim=True) + x.sum(-1, keepdim=True) * 0.1,
    "all of it": lambda x: x * x.mean() + x.min(),
    "parts": lambda x: paddle.concat(paddle.split(x, [1, 2], 1)[::-1], 1) + sum(paddle.split(x, 3, 1)),
    "slices": lambda x: x[:, :2, ::2, 1:-1] + x[:, 1:, ::2, 1:-1] + x[:, 0:1, ::2, 1:-1],
    "sequences": lambda x: F.softmax(_heads(x), -1).flatten(1).unsqueeze([1, 2]),
    "products": lambda x: paddle.bmm(_heads(x), _heads(x).transpose([0, 2, 1])).unsqueeze(1),
    "padding": lambda x: F.pad(x, [1, 2, 3, 4]) + F.pad(x, [1, 2, 3, 4], mode="reflect"),
    "stacks": lambda x: paddle.stack([x, -x], 2).flatten(1, 2),
    "repeats": lambda x: paddle.tile(x, [1, 2, 1, 1]) + x[:, :1].expand([-1, 6, -1, -1]),
    "choices": lambda x: paddle.where(x > 0, x, x * 0.1) + (x > 0).astype("float32") + paddle.full_like(x, 2.0),
    "norms": lambda x: F.log_softmax(x, 1) + F.group_norm(x, 3),
    "greatest": lambda x: paddle.argmax(x, 1, keepdim=True).astype("float32") + paddle.maximum(x, -x),
}


class _Function(nn.Layer):
    def __init__(self, name: str):
        super().__init__()
        self.name, self.conv = name, nn.Conv2D(3, 3, 1)

    def forward(self, x):
        return FUNCTIONS[self.name](self.conv(x))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_operators(name, kind, tmp_path):
    folder = export(_Function(name), tmp_path, kind == "legacy")
    assert difference(output(imported(folder), image()), run(folder, image())) < 1e-5
