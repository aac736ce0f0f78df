"""Recovery without training: what a pruned network gives afterwards, against the unpruned one, on fresh inputs."""

from __future__ import annotations

import copy

import networks
import numpy as np
import paddle
import pytest
from oracle import randomise
from paddle import nn

from ocrslim.errors import DataError, TrainingError
from ocrslim.graph.frontends.dygraph import trace
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.refit import refitting
from ocrslim.pruning.refit.refitting import refit_layers
from ocrslim.pruning.surgery.cutting import apply_plan, named_tensors

SHAPE = (1, 3, 8, 8)


class TransposedHead(nn.Layer):
    """As the head of a detector: convolution, norm, two transposed convolutions, the first with a norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = networks.conv(3, 8, bias_attr=False), nn.BatchNorm2D(8)
        self.up, self.up_norm = nn.Conv2DTranspose(8, 6, 2, stride=2), nn.BatchNorm(6)
        self.end = nn.Conv2DTranspose(6, 1, 2, stride=2)

    def forward(self, x):
        x = nn.functional.relu(self.norm(self.stem(x)))
        return nn.functional.sigmoid(self.end(nn.functional.relu(self.up_norm(self.up(x)))))


class Chain(nn.Layer):
    """Two convolutions with nothing between them, and a norm behind the second."""

    def __init__(self):
        super().__init__()
        self.first, self.second = networks.conv(3, 8), networks.conv(8, 4, 1, bias_attr=False)
        self.norm = nn.BatchNorm2D(4)

    def forward(self, x):
        return self.norm(self.second(self.first(x)))


class Strided(nn.Layer):
    """Strides, dilation and uneven padding: what a patch holds depends on all of them."""

    def __init__(self):
        super().__init__()
        self.first = networks.conv(3, 8)
        self.second = nn.Conv2D(8, 6, (3, 2), stride=(2, 1), padding=[[0, 0], [0, 0], [2, 1], [0, 1]], dilation=(2, 1))
        self.end = nn.Conv2D(6, 2, 1, padding="VALID")

    def forward(self, x):
        return self.end(nn.functional.relu(self.second(nn.functional.relu(self.first(x)))))


class SharedNorm(nn.Layer):
    """One batch norm behind two convolutions."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = networks.conv(3, 8), *(networks.conv(8, 6, bias_attr=False) for _ in "lr")
        self.norm, self.end = nn.BatchNorm2D(6), networks.conv(6, 2)

    def forward(self, x):
        x = nn.functional.relu(self.stem(x))
        return self.end(nn.functional.relu(self.norm(self.left(x)) + self.norm(self.right(x))))


class Twice(nn.Layer):
    """One convolution for two maps."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared = networks.conv(3, 8), networks.conv(8, 2)

    def forward(self, x):
        x = nn.functional.relu(self.stem(x))
        return self.shared(x) + self.shared(nn.functional.avg_pool2d(x, 2, 1, 1)[:, :, :8, :8])


def images(count: int, seed: int, shape=SHAPE) -> list[np.ndarray]:
    """Patches of 2x2 in mixed colours with noise over them: neighbours and channels are alike, as in photographs."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((count, 3, shape[2] // 2, shape[3] // 2)) + rng.standard_normal((count, 1, 1, 1))
    made = np.kron(mixed, np.ones((1, 1, 2, 2))) + 0.2 * rng.standard_normal((count, *shape[1:]))
    return list(made.astype("float32")[:, None])


def pair(network: nn.Layer, ratio: float = 0.3, seed: int = 0) -> tuple[nn.Layer, nn.Layer, Plan]:
    """A network, a copy of it with the fraction `ratio` of every group gone, and the plan."""
    randomise(network, seed)
    graph = trace(network, SHAPE)
    cuts = ChannelPruner(network, graph, "l1").cuts(dict.fromkeys(graph.groups, ratio))
    return network, *pruned_copy(network, cuts)


def pruned_copy(network: nn.Layer, cuts) -> tuple[nn.Layer, Plan]:
    plan, student = Plan({}, tuple(cuts)), copy.deepcopy(network)
    apply_plan(student, plan)
    student.eval()
    return student, plan


def distance(teacher: nn.Layer, student: nn.Layer) -> float:
    """Root mean square of the difference on fresh inputs, relative to the spread of the teacher's output."""
    fresh = paddle.to_tensor(np.concatenate(images(16, seed=99)))
    expected, found = teacher(fresh).numpy(), student(fresh).numpy()
    return float(np.sqrt(np.square(found - expected).mean()) / expected.std())


def remove(network: nn.Layer, name: str, units) -> tuple[nn.Layer, Plan]:
    """A copy without the units `units` of a group, and the plan."""
    members = trace(network, SHAPE).groups[name].members
    return pruned_copy(network, combine(Cut(m.key, m.axis, m.size, m.keep(units)) for m in members))


NETWORKS = [
    networks.Plain,
    networks.Residual,
    networks.Concat,
    networks.Depthwise,
    networks.SqueezeExcite,
    networks.SharedInput,
    networks.Flattened,
    TransposedHead,
    Strided,
    SharedNorm,
]


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_output_comes_closer_on_inputs_never_seen(kind):
    paddle.seed(1)
    teacher, student, plan = pair(kind())
    before = distance(teacher, student)
    found = refit_layers(teacher, student, plan, images(256, 5), seed=0)
    assert distance(teacher, student) < 0.85 * before
    assert found.refitted and all(layer.after < layer.before for layer in found.refitted)


@pytest.mark.parametrize("kind", [Chain, TransposedHead])
def test_channels_that_others_make_up_are_recovered_exactly(kind):
    paddle.seed(2)
    teacher = randomise(kind())
    master = "first.weight" if kind is Chain else "up.weight"
    layer, axis = (teacher.first, 0) if kind is Chain else (teacher.up, 1)
    follows = [layer.bias]
    if kind is TransposedHead:  # the norm must treat the copy as it treats the original
        follows += [tensor for key, tensor in named_tensors(teacher) if key.startswith("up_norm")]
    for tensor, where in [(layer.weight, axis), *((vector, 0) for vector in follows)]:
        value = np.moveaxis(tensor.numpy(), where, 0)
        value[1] = value[0]  # channel 1 repeats channel 0
        tensor.set_value(np.moveaxis(value, 0, where).copy())
    student, plan = remove(teacher, master, [1])
    assert distance(teacher, student) > 0.01
    refit_layers(teacher, student, plan, images(64, 5), seed=0)
    assert distance(teacher, student) < 1e-4


def test_a_linear_combination_is_recovered_exactly_and_its_constant_by_the_norm():
    paddle.seed(3)
    teacher = randomise(Chain())
    weight, bias = teacher.first.weight.numpy(), teacher.first.bias.numpy()
    weight[7], bias[7] = 0.5 * weight[0] - 2 * weight[3], 4.0
    teacher.first.weight.set_value(weight)
    teacher.first.bias.set_value(bias)
    student, plan = remove(teacher, "first.weight", [7])
    assert distance(teacher, student) > 0.1
    refit_layers(teacher, student, plan, images(64, 5), seed=0)
    assert distance(teacher, student) < 1e-4
    assert not np.array_equal(student.norm._mean.numpy(), teacher.norm._mean.numpy())


def test_a_network_that_lost_nothing_keeps_its_weights():
    teacher = randomise(networks.Residual())
    student, plan = copy.deepcopy(teacher), Plan({}, ())
    found = refit_layers(teacher, student, plan, images(8, 5), seed=0)
    assert not found.refitted
    for (_, before), (_, after) in zip(named_tensors(teacher), named_tensors(student)):
        assert np.array_equal(before.numpy(), after.numpy())


class OtherInputs(networks.Residual):
    """Sees noise instead of what it is given."""

    def forward(self, x):
        noise = np.random.default_rng(0).standard_normal(x.shape)
        return super().forward(paddle.to_tensor(noise.astype("float32")))


def test_a_refit_that_is_worse_on_inputs_held_back_is_rejected_and_changes_nothing():
    """Control: a teacher that looks at other inputs has nothing to teach; what is fitted to it is chance."""
    teacher, student, plan = pair(networks.Residual())
    teacher.__class__ = OtherInputs
    before = student.end.weight.numpy(), student.end.bias.numpy()
    found = refit_layers(teacher, student, plan, images(40, 5), seed=0, ridges=(1e-9,), positions=80)
    end = {layer.name: layer for layer in found.layers}["end"]
    assert "worse" in end.skipped and not end.after < end.before
    assert np.array_equal(student.end.weight.numpy(), before[0])
    assert np.array_equal(student.end.bias.numpy(), before[1])


def test_with_a_teacher_that_looks_at_other_inputs_the_output_does_not_come_closer():
    teacher, student, plan = pair(networks.Residual())
    unpruned = copy.deepcopy(teacher)
    before = distance(unpruned, student)
    teacher.__class__ = OtherInputs
    refit_layers(teacher, student, plan, images(256, 5), seed=0)
    assert distance(unpruned, student) > before


def test_the_teacher_and_the_modes_of_both_stay_as_they_were():
    teacher, student, plan = pair(networks.Residual())
    before = {key: tensor.numpy() for key, tensor in named_tensors(teacher)}
    teacher.train()
    refit_layers(teacher, student, plan, images(8, 5), seed=0)
    assert teacher.training and not student.training
    assert all(np.array_equal(before[key], tensor.numpy()) for key, tensor in named_tensors(teacher))
    assert not any(layer._forward_pre_hooks for layer in (*teacher.sublayers(), *student.sublayers()))


def test_the_seed_decides_the_weights():
    def weights(seed: int) -> np.ndarray:
        teacher, student, plan = pair(networks.Residual())
        refit_layers(teacher, student, plan, images(64, 5), seed=seed, positions=1024)
        return student.end.weight.numpy()

    paddle.seed(0)
    first = weights(1)
    paddle.seed(0)
    again = weights(1)
    paddle.seed(0)
    assert np.array_equal(first, again) and not np.array_equal(first, weights(2))


def test_the_mean_of_a_norm_behind_two_layers_stays(monkeypatch):
    monkeypatch.setattr(refitting, "_rebase", lambda *_: None)
    teacher, student, plan = pair(SharedNorm())
    before = student.norm._mean.numpy()
    assert refit_layers(teacher, student, plan, images(64, 5), seed=0).refitted
    assert np.array_equal(student.norm._mean.numpy(), before)


@pytest.mark.parametrize("kind", [TransposedHead, SharedNorm])
def test_in_training_the_network_begins_as_it_is_in_eval_mode(kind, monkeypatch):
    inputs = images(256, 5)
    fresh = paddle.to_tensor(np.concatenate(inputs))

    def modes() -> list[np.ndarray]:
        paddle.seed(1)
        teacher, student, plan = pair(kind())
        refit_layers(teacher, student, plan, inputs, seed=0)
        made = [student(fresh).numpy()]
        student.train()
        return [*made, student(fresh).numpy()]

    rebased, training = modes()
    monkeypatch.setattr(refitting, "_rebase", lambda *_: None)
    kept, kept_training = modes()
    assert np.abs(rebased - kept).max() < 1e-3 * np.abs(kept).max(), "what the norms do stays the same"
    if kind is TransposedHead:  # two layers cannot both be as in training
        assert np.abs(training - rebased).mean() < 0.2 * np.abs(kept_training - kept).mean()


def test_layers_that_cannot_be_refitted_are_named_with_the_reason():
    teacher, student, plan = pair(Twice())
    found = refit_layers(teacher, student, plan, images(8, 5), seed=0)
    assert {layer.name: layer.skipped for layer in found.layers}["shared"] == "runs more than once"
    teacher, student, plan = pair(networks.Transposed())
    found = refit_layers(teacher, student, plan, images(8, 5), seed=0)
    assert "groups" in {layer.name: layer.skipped for layer in found.layers}["each"]


@pytest.mark.parametrize("alike", [False, True])
def test_errors_are_relative_to_what_a_layer_makes_even_of_one_image_held_back(alike):
    teacher, student, plan = pair(networks.SqueezeExcite())  # two of its layers see one value of an image
    found = refit_layers(teacher, student, plan, images(1, 5) * 8 if alike else images(8, 5), seed=0)
    assert all(not layer.before > 10 for layer in found.layers), [(one.name, one.before) for one in found.layers]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_images_are_refused(count):
    teacher, student, plan = pair(networks.Residual())
    with pytest.raises(DataError, match=rf"{count} calibration image.*at least 4.*Train.dataset.label_file_list"):
        refit_layers(teacher, student, plan, images(count, 5), seed=0)


def test_images_of_several_shapes_are_refused():
    teacher, student, plan = pair(networks.Residual())
    inputs = [*images(4, 5), *images(1, 5, (1, 3, 8, 16))]
    with pytest.raises(DataError, match=r"\(1, 3, 8, 8\) and \(1, 3, 8, 16\)"):
        refit_layers(teacher, student, plan, inputs, seed=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_an_error_that_names_the_layer(value):
    teacher, student, plan = pair(networks.Residual())
    inputs = images(8, 5)
    inputs[3][0, 0, 0, 0] = value
    with pytest.raises(TrainingError, match="refit: stem .*not finite"):
        refit_layers(teacher, student, plan, inputs, seed=0)


def test_another_architecture_is_refused():
    teacher, _, plan = pair(networks.Residual())
    _, student, _ = pair(networks.Concat())
    with pytest.raises(TrainingError, match="no layer"):
        refit_layers(teacher, student, plan, images(8, 5), seed=0)
