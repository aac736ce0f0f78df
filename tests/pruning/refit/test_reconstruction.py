"""Channels that go because those that read them can make up for them."""

from __future__ import annotations

import networks
import numpy as np
import paddle
import pytest
from oracle import randomise
from test_refitting import Chain, TransposedHead, Twice, distance, images, pruned_copy

from ocrslim.errors import TrainingError
from ocrslim.graph.frontends.dygraph import trace
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.refit.reconstruction import ERROR_WEIGHTS, Reader, removal
from ocrslim.pruning.refit.reconstruction import removals as removals_by_weights
from ocrslim.pruning.refit.refitting import refit_layers

SHAPE = (1, 3, 8, 8)


def removals(*given, **options):
    """Orders of removal by the first weights."""
    return removals_by_weights(*given, **options)[ERROR_WEIGHTS[0]]


def least_squares_error(x: np.ndarray, weight: np.ndarray, kept: list[int]) -> float:
    """Relative squared error of x @ weight from the columns `kept` of x, refitted."""
    wanted = x @ weight
    fitted = x[:, kept] @ np.linalg.lstsq(x[:, kept], wanted, rcond=None)[0]
    return float(np.square(wanted - fitted).sum() / np.square(wanted).sum())


def samples(inputs: int, seed: int = 0) -> np.ndarray:
    """Correlated inputs of mean 0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4000, inputs)) @ rng.standard_normal((inputs, inputs))
    return x - x.mean(axis=0)


@pytest.mark.parametrize("taps", [1, 3])
def test_errors_are_those_of_the_best_refit_and_each_step_is_the_cheapest(taps):
    units = 6
    x, weight = samples(units * taps), np.random.default_rng(1).standard_normal((units * taps, 4))
    columns = tuple(tuple(range(unit * taps, (unit + 1) * taps)) for unit in range(units))
    found = removal([Reader(x.T @ x / len(x), weight, columns)])
    order, errors = found.order, found.errors
    assert sorted(order) == list(range(units)) and len(errors) == units - 1

    def error_without(gone):
        return least_squares_error(x, weight, [c for u in range(units) if u not in gone for c in columns[u]])

    for step, error in enumerate(errors):
        gone = order[: step + 1]
        assert error == pytest.approx(error_without(gone), rel=0.02, abs=1e-4)
        others = [error_without([*order[:step], unit]) for unit in order[step:]]
        assert error <= min(others) * 1.02 + 1e-4


def test_inputs_of_other_groups_are_refitted_too_wherever_they_stand():
    """A concatenation: a reader of five units, one of which does not reach it, among inputs that stay."""
    x = samples(12) + 3 * np.random.default_rng(2).standard_normal((4000, 12))
    weight = np.random.default_rng(1).standard_normal((12, 4))
    columns = ((7, 2), (), (4, 9), (0,), (11, 5))
    found = removal([Reader(x.T @ x / len(x), weight, columns)])
    assert found.order[0] == 1 and found.errors[0] == 0
    for step, error in enumerate(found.errors):
        gone = {column for unit in found.order[: step + 1] for column in columns[unit]}
        wanted = least_squares_error(x, weight, [column for column in range(12) if column not in gone])
        assert error == pytest.approx(wanted, rel=0.02, abs=1e-4)


def test_a_mixture_of_others_goes_first_however_large_it_is():
    x, weight = samples(5), np.random.default_rng(1).standard_normal((5, 3))
    x[:, 3] = 20 * x[:, 0] - 30 * x[:, 1]
    weight[3] *= 10
    found = removal([Reader(x.T @ x / len(x), weight, tuple((unit,) for unit in range(5)))])
    assert found.order[0] in (0, 1, 3) and 100 * found.errors[0] < found.errors[1]


def test_all_readers_have_a_say_also_where_a_unit_does_not_reach_one():
    x = samples(3)
    loud, quiet = np.diag([5.0, 1.0, 1.0]), np.diag([1.0, 1.0, 40.0])
    one = Reader(x.T @ x / len(x), loud, ((0,), (1,), (2,)))
    assert removal([one, Reader(x.T @ x / len(x), quiet, ((0,), (), (2,)))]).order[0] == 1


@pytest.mark.parametrize("kind", [Chain, TransposedHead])
def test_a_copy_goes_and_is_recovered_exactly_which_l1_does_not_see(kind):
    paddle.seed(2)
    teacher = randomise(kind())
    layer, name = (teacher.first, "first.weight") if kind is Chain else (teacher.stem, "stem.weight")
    weight = layer.weight.numpy()
    weight[1] = 3 * weight[0]  # the largest of all
    layer.weight.set_value(weight)
    follows = [layer.bias] if layer.bias is not None else []
    follows += [teacher.norm.weight, teacher.norm.bias, teacher.norm._mean, teacher.norm._variance] * (
        kind is not Chain
    )
    for tensor in follows:
        value = tensor.numpy()
        value[1] = value[0] * (3 if tensor is layer.bias else 1)
        tensor.set_value(value)
    if kind is not Chain:
        teacher.norm._mean.set_value(np.zeros(8, np.float32))
        teacher.norm.bias.set_value(np.zeros(8, np.float32))
    graph, batch = trace(teacher, SHAPE), np.concatenate(images(64, 5))
    scores = {group: found.scores for group, found in removals(teacher, graph, batch, seed=0).items()}
    left = {}
    for criterion in ("reconstruction", "l1"):
        pruner = ChannelPruner(teacher, graph, criterion, scores=scores)
        student, plan = pruned_copy(teacher, pruner.cuts({name: 1 / 8}))
        refit_layers(teacher, student, plan, images(64, 5), seed=0)
        left[criterion] = distance(teacher, student)
    assert left["reconstruction"] < 0.01 < left["l1"]


def test_scores_depend_on_the_seed_alone_and_leave_the_network_as_it_was():
    teacher = randomise(networks.Residual())
    teacher.train()
    before = {key: value.numpy() for key, value in teacher.state_dict().items()}
    graph, batch = trace(teacher, SHAPE), np.concatenate(images(16, 5))
    one, again, other = (
        removals(teacher, graph, batch, seed=seed, positions=64) for seed in (0, 0, 1)
    )  # fmt: skip
    assert one.keys() == again.keys() == set(graph.groups)
    assert all(one[name].order == again[name].order for name in one)
    assert any((one[name].errors != other[name].errors).any() for name in one)
    assert teacher.training and all((before[k] == v.numpy()).all() for k, v in teacher.state_dict().items())
    for found in one.values():
        assert [int(np.flatnonzero(found.scores == place)[0]) for place in range(len(found.order))] == [*found.order]
        assert list(found.losses) == [count / len(found.order) for count in range(1, len(found.order))]


def test_groups_that_only_a_layer_reads_that_runs_twice_are_scored_by_fpgm_and_named(caplog):
    caplog.set_level("INFO")
    teacher = randomise(Twice())
    graph = trace(teacher, SHAPE)
    assert removals(teacher, graph, np.concatenate(images(8, 5)), seed=0) == {}
    found = ChannelPruner(teacher, graph, "reconstruction", scores={}).cuts({"stem.weight": 0.5})
    assert found == ChannelPruner(teacher, graph, "fpgm").cuts({"stem.weight": 0.5})
    assert "reconstruction cannot score these groups, fpgm is used for them: stem.weight" in caplog.text


def test_numbers_that_are_not_finite_are_an_error_that_names_the_layer():
    teacher = randomise(networks.Residual())
    weight = teacher.stem.weight.numpy()
    weight[0] = np.nan
    teacher.stem.weight.set_value(weight)
    graph = trace(teacher, SHAPE)
    with pytest.raises(TrainingError, match=r"reconstruction: .* reads numbers that are not finite"):
        removals(teacher, graph, np.concatenate(images(8, 5)), seed=0)
