"""What errors of layers are worth to the output of the network."""

from __future__ import annotations

import networks
import numpy as np
import paddle
import pytest
from file_networks import Recurrent, exported, imported
from oracle import randomise
from paddle import nn
from test_refitting import TransposedHead, images

from ocrslim.graph.frontends.dygraph import trace
from ocrslim.pruning.refit import output_metric
from ocrslim.pruning.refit.affine import matrix
from ocrslim.pruning.refit.output_metric import output_metrics
from ocrslim.pruning.refit.reconstruction import ERROR_WEIGHTS, Reader, removal
from ocrslim.pruning.refit.reconstruction import removals as removals_by_weights

SHAPE = (1, 3, 8, 8)


def removals(*given, **options):
    """Orders of removal by the first weights."""
    return removals_by_weights(*given, **options)[ERROR_WEIGHTS[0]]


class Map(nn.Layer):
    """A small detector: a map of probabilities, to which the second output of `mix` hardly matters."""

    def __init__(self, probabilities: bool = True):
        super().__init__()
        self.stem, self.mix, self.end = networks.conv(3, 2, 1), networks.conv(2, 2, 1), networks.conv(2, 1, 1)
        self.aside = networks.conv(2, 1, 1)
        self.probabilities = probabilities
        self.end.weight.set_value(np.array([1, 1e-4], np.float32).reshape(1, 2, 1, 1))
        self.mix.weight.set_value(np.array([[1, 0.1], [0, 10]], np.float32).reshape(2, 2, 1, 1))

    def forward(self, x):
        mixed = self.mix(nn.functional.relu(self.stem(x)))
        end = self.end(mixed)
        return {"maps": nn.functional.sigmoid(end) if self.probabilities else end, "other": self.aside(mixed)}


def maps_of(result):
    return result["maps"]


def metrics_of(model, names, batch):
    model.eval()
    return output_metrics(model, names, batch, maps_of, seed=0)


def test_the_metric_is_the_second_order_of_the_divergence():
    model, batch = Map(), np.concatenate(images(9, 1))
    found = metrics_of(model, ["mix", "end"], batch)
    p = maps_of(model(paddle.to_tensor(batch))).numpy().astype(np.float64)
    weight = np.array([1, 1e-4])
    of_end = (p * (1 - p)).sum() / 2 / p.sum()
    assert found["end"] == pytest.approx(np.array([[of_end]]), rel=1e-4)
    assert found["mix"] == pytest.approx(of_end * np.outer(weight, weight), rel=1e-4)


def test_the_divergence_of_a_small_error_is_the_one_that_the_metric_tells():
    model, batch = Map(), np.concatenate(images(9, 1))
    metric = metrics_of(model, ["mix"], batch)["mix"]
    p = maps_of(model(paddle.to_tensor(batch))).numpy().astype(np.float64)
    error = np.array([0.02, -0.5])
    model.mix.bias.set_value((model.mix.bias.numpy() + error).astype(np.float32))
    q = maps_of(model(paddle.to_tensor(batch))).numpy().astype(np.float64)
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum() / p.sum()
    assert error @ metric @ error == pytest.approx(divergence, rel=0.05)


def test_numbers_that_are_no_probabilities_are_measured_by_their_variance():
    model, batch = Map(probabilities=False), np.concatenate(images(5, 1))
    model.end.bias.set_value(np.full(1, -0.5, np.float32))
    found = metrics_of(model, ["end"], batch)["end"]
    y = maps_of(model(paddle.to_tensor(batch))).numpy()
    assert y.min() < 0, "what lies between 0 and 1 is taken for probabilities"
    assert found == pytest.approx(np.array([[1 / y.var()]]), rel=1e-4)  # y.size positions of variance y.var()


class Normed(nn.Layer):
    """Divides by the deviation of its features, which an image of one colour has next to none of."""

    def __init__(self):
        super().__init__()
        self.stem, self.end = networks.conv(3, 2, 1), networks.conv(2, 1, 1)

    def forward(self, x):
        found = self.stem(x)
        deviation = paddle.sqrt(found.var(axis=[1, 2, 3], keepdim=True) + 1e-8)
        return nn.functional.sigmoid(self.end((found - found.mean(axis=[1, 2, 3], keepdim=True)) / deviation))


def test_one_image_with_huge_gradients_does_not_decide():
    model, batch = Normed(), np.concatenate(images(8, 1))
    model.stem.bias.set_value(np.zeros(2, np.float32))
    model.stem.weight.set_value(np.array([[1, 0, 0], [0, 1, 0]], np.float32).reshape(2, 3, 1, 1))
    blank = np.concatenate([batch, np.full_like(batch[:1], 0.3)])
    model.eval()
    plain, other = (
        np.trace(output_metrics(model, ["stem"], one, lambda result: result, seed=0)["stem"]) for one in (batch, blank)
    )
    assert plain / 2 < other < 4 * plain, "it was a million times as large"


def test_layers_that_the_output_does_not_depend_on_have_none_and_nothing_is_changed():
    model, batch = randomise(TransposedHead()), np.concatenate(images(6, 1))
    model.train()
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    assert not metrics_of(Map(), ["aside"], batch)
    found = output_metrics(model, ["up", "end"], batch, lambda result: result, seed=0)
    assert {name: metric.shape for name, metric in found.items()} == {"up": (8, 8), "end": (4, 4)}
    assert model.training and all((before[key] == value.numpy()).all() for key, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_what_the_output_does_not_feel_goes_before_what_it_feels():
    """Relative to the variance alone, the smaller one of two goes first."""
    model, batch = Map(), np.concatenate(images(9, 1))
    deviations = nn.functional.relu(model.stem(paddle.to_tensor(batch))).numpy().std(axis=(0, 2, 3))
    weight = np.diag([1 / deviations[0], 1.2 / deviations[1]])
    model.mix.weight.set_value(weight.astype(np.float32).reshape(2, 2, 1, 1))
    model.end.weight.set_value(np.array([4, 1e-4], np.float32).reshape(1, 2, 1, 1))
    graph = trace(model, SHAPE)
    assert removals(model, graph, batch, seed=0, output=maps_of)["stem.weight"].order[0] == 1
    model.end.weight.set_value(np.array([1e-4, 1e-4], np.float32).reshape(1, 2, 1, 1))
    assert removals(model, graph, batch, seed=0, output=maps_of)["stem.weight"].order[0] == 0


@pytest.mark.parametrize("outputs", [3, 5, 9])
def test_errors_are_sums_by_the_metric_and_by_the_variance(outputs):
    rng = np.random.default_rng(3)
    x, weight, root = (rng.standard_normal(shape) for shape in ((500, 5), (5, outputs), (outputs, outputs)))
    x -= x.mean(axis=0)
    metric = root @ root.T
    total = 4 * metric + np.eye(outputs) / np.square(x @ weight).sum() * len(x)
    given = metric if outputs <= 5 else weight @ metric @ weight.T
    found = removal([Reader(x.T @ x / len(x), weight, tuple((unit,) for unit in range(5)), given)])
    kept = sorted(set(range(5)) - set(found.order[:2]))
    error = x @ weight - x[:, kept] @ np.linalg.lstsq(x[:, kept], x @ weight, rcond=None)[0]
    assert found.errors[1] == pytest.approx(np.einsum("no,op,np->", error, total, error) / len(x), rel=0.01)


class Classes(nn.Layer):
    """Three channels, and more classes than a matrix of classes by classes should have."""

    def __init__(self):
        super().__init__()
        self.stem, self.end = networks.conv(3, 3, 1), nn.Linear(3, 2000)

    def forward(self, x):
        return nn.functional.softmax(self.end(paddle.transpose(self.stem(x), [0, 2, 3, 1])))


@pytest.mark.parametrize(
    ("kind", "name", "inputs", "outputs"), [(Classes, "end", 3, 2000), (TransposedHead, "up", 8, 24)]
)
def test_with_fewer_inputs_than_outputs_it_is_as_large_as_the_inputs_are_many(kind, name, inputs, outputs, monkeypatch):
    model, batch = randomise(kind()), np.concatenate(images(6, 1))
    model.eval()

    def found():
        return output_metrics(model, [name], batch, lambda result: result, seed=0)[name]

    narrow = found()
    monkeypatch.setattr(output_metric, "_narrowing", lambda *_: {})
    whole, weight = found(), matrix(dict(model.named_sublayers())[name])[0]
    assert narrow.shape == (inputs, inputs) and whole.shape == (outputs, outputs)
    assert narrow == pytest.approx(weight @ whole @ weight.T, rel=1e-3, abs=1e-5 * narrow.max())


class Read(nn.Layer):
    """A small recogniser with a recurrent neck, which drops units by chance in training."""

    def __init__(self):
        super().__init__()
        self.stem, self.end = networks.conv(3, 4, 1), nn.Linear(10, 3)
        self.neck = nn.LSTM(32, 5, num_layers=2, direction="bidirectional", dropout=0.5)

    def forward(self, x):
        steps = paddle.flatten(paddle.transpose(self.stem(x), [0, 3, 1, 2]), 2)
        return nn.functional.softmax(self.end(self.neck(steps)[0]))


def test_a_recurrent_network_has_them_and_they_are_no_matter_of_chance():
    model, batch = Read(), np.concatenate(images(6, 1))
    model.eval()
    paddle.seed(4)
    expected = paddle.rand([1]).item()
    paddle.seed(4)
    found = [output_metrics(model, ["stem", "end"], batch, lambda result: result, seed=0) for _ in range(2)]
    assert found[0].keys() == {"stem", "end"} and (found[0]["stem"] == found[1]["stem"]).all()
    assert model.neck.dropout == 0.5 and not model.neck.training
    assert paddle.rand([1]).item() == expected, "what is trained later draws the same numbers"


def test_a_recurrent_network_of_a_file_has_them_too(tmp_path):
    model = imported(exported(Recurrent, tmp_path, "legacy"))
    names = [name for name, layer in model.named_sublayers() if isinstance(layer, (nn.Conv2D, nn.Linear))]
    batch = np.random.default_rng(0).standard_normal((3, 3, 32, 64)).astype(np.float32)
    assert set(output_metrics(model, names, batch, lambda result: result, seed=0)) == set(names) != set()


def test_without_gradients_errors_count_by_the_variance(monkeypatch, caplog):
    def fails(*_, **__):
        raise RuntimeError("(Unimplemented) no gradient")

    monkeypatch.setattr(paddle, "grad", fails)
    model, batch = Map(), np.concatenate(images(6, 1))
    with caplog.at_level("INFO"):
        found = removals(model, trace(model, SHAPE), batch, seed=0, output=maps_of)
    assert "no gradient of the network" in caplog.text and found["stem.weight"].errors[0] > 0
