"""Networks that take labels when they train: their training is part of the graph and of the proof."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from branches import Labelled, labelled_forward
from oracle import sample
from paddle import nn

from ocrslim.errors import ConfigError, GraphError
from ocrslim.graph import INPUT, OUTPUT, Group, Member, TrainingForward, traced
from ocrslim.pruning.channel_graph import channel_graph, require_training
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.proof.proving import prove
from ocrslim.pruning.proof.runs import Run
from ocrslim.pruning.prunable import model_graph
from ocrslim.pruning.surgery.cutting import apply_plan, named_tensors

SHAPE = (2, 3, 8, 16)
CHARACTERS = np.array([[1, 2, 4], [3, 0, 1]])
STEP = TrainingForward([SHAPE], [CHARACTERS], labelled_forward)


def labelled():
    paddle.seed(0)
    return Labelled()


def pruned_at_half(model, graph):
    cuts = ChannelPruner(model, graph, "l1").cuts(dict.fromkeys(graph.groups, 0.5))
    apply_plan(model, Plan({}, cuts))
    return model


def train_once(model):
    model.train()
    outputs = labelled_forward(model, [paddle.randn(SHAPE), paddle.to_tensor(CHARACTERS)])
    sum(value.mean() for value in outputs.values()).backward()
    return outputs


def test_what_only_training_runs_follows_with_the_keys_of_the_bare_network():
    model = labelled()
    graph = channel_graph(model, SHAPE, training=STEP)
    assert list(graph.groups) == ["stem.0.weight", "mix.weight"] and not graph.training_fault
    assert "bridge.weight" in {member.key for member in graph.groups["mix.weight"].members}
    keys = {member.key for group in graph.groups.values() for member in group.members}
    assert keys <= {key for key, _ in named_tensors(model)}
    places = {op.layer for op in traced(model, [SHAPE], True, STEP).ops}
    assert "Sequential/Conv2D" in places, "as in a trace of the network itself"


def test_a_network_pruned_so_trains():
    model = labelled()
    outputs = train_once(pruned_at_half(model, channel_graph(model, SHAPE, training=STEP)))
    assert outputs["gtc"].shape == [2, 3, 5] and model.mix.weight.shape[0] == 6


def test_without_labels_the_graph_says_so_and_training_is_refused(caplog):
    """Going on with a warning led to a crash in the first step: the control."""
    model = labelled()
    graph = channel_graph(model, SHAPE)
    assert "Labelled: cannot be run as it trains" in graph.training_fault and graph.training_fault in caplog.text
    with pytest.raises(GraphError, match="not pruned for training") as refused:
        require_training(graph)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="."):
        train_once(pruned_at_half(model, graph))


def test_labels_of_another_shape_are_named():
    graph = channel_graph(labelled(), SHAPE, training=TrainingForward([SHAPE], [np.ones((7, 3))], labelled_forward))
    assert "[2, 3, 8, 16] and 1 labels" in graph.training_fault


class OfTask:
    nominal_shape = (1, 3, 8, 32)
    probe_shape = SHAPE
    forward = staticmethod(labelled_forward)

    def probe_labels(self, tree):
        return [CHARACTERS % tree["classes"]]


def test_a_task_gives_labels_of_its_configuration():
    assert not model_graph(labelled(), OfTask(), {"classes": 5}).training_fault
    assert model_graph(labelled(), OfTask()).training_fault


class WithoutLabels(OfTask):
    def probe_labels(self, tree):
        raise ConfigError("Train.dataset.transforms: no labels come of them")


def test_without_labels_a_network_is_analysed_as_it_infers(caplog):
    graph = model_graph(labelled(), WithoutLabels(), {})
    assert list(graph.groups) == list(model_graph(labelled(), OfTask()).groups)
    assert graph.training_fault == "Train.dataset.transforms: no labels come of them"
    assert graph.training_fault in caplog.text


class InTraining(nn.Layer):
    """Two layers with something in between that only training runs."""

    def __init__(self, between):
        super().__init__()
        self.first, self.norm = nn.Conv2D(3, 12, 3, padding=1), nn.BatchNorm2D(12)
        self.last, self.between = nn.Conv2D(12, 2, 1), between

    def forward(self, x):
        x = self.norm(self.first(x))
        return self.last(self.between(x) if self.training else x)


def literal(x):
    return x.reshape([2, 12, 8, 16]) * 2


def counted(x):
    return x / x.shape[1]


def dropped(x):
    return F.dropout(x, 0.5)


@pytest.mark.parametrize("between", [literal, counted], ids=lambda one: one.__name__)
def test_code_that_fixes_channels_in_training_is_found_out(between):
    graph = channel_graph(InTraining(between), SHAPE)
    assert not graph.groups and "as it trains, it" in graph.unprunable["first.weight"]


@pytest.mark.parametrize("between", [dropped, nn.Dropout(0.5), F.relu], ids=["function", "layer", "none"])
def test_chance_in_training_is_no_fault(between):
    assert list(channel_graph(InTraining(between), SHAPE).groups) == ["first.weight"]


def test_a_training_that_cannot_be_traced_is_proven_all_the_same(caplog):
    def by_value(x):
        return x + 1 if float(x.numpy().mean()) < 1e9 else x

    graph = channel_graph(InTraining(by_value), SHAPE)
    assert list(graph.groups) == ["first.weight"] and not graph.training_fault
    assert "is not followed" in caplog.text


def test_a_proof_leaves_statistics_and_the_state_of_chance_alone():
    model = InTraining(nn.Dropout(0.5))
    model.train()
    before = {key: value.numpy().copy() for key, value in named_tensors(model)}
    paddle.seed(3)
    expected = paddle.rand([4]).numpy()
    paddle.seed(3)
    channel_graph(model, SHAPE)
    assert np.array_equal(paddle.rand([4]).numpy(), expected)
    assert all(np.array_equal(before[key], value.numpy()) for key, value in named_tensors(model))


class Halves(InTraining):
    """Treats two halves of its channels differently: equal numbers removed from both do not show it."""

    def forward(self, x):
        x = self.first(x)
        half = x.shape[1] // 2
        return self.last(paddle.concat([x[:, :half] * 2, x[:, half:] * 3], axis=1))


def test_a_cut_at_random_finds_what_even_cuts_do_not():
    model = Halves(None)
    alone = tuple((unit,) for unit in range(12))
    wrong = Group(
        "first.weight",
        (
            Member("first.weight", 0, 12, alone, OUTPUT),
            Member("first.bias", 0, 12, alone),
            Member("last.weight", 1, 12, alone, INPUT),
        ),
    )
    run = Run(lambda model, inputs: model(*inputs), sample(SHAPE))
    assert "computes something else" in prove(model, [wrong], [run])["first.weight"]
    pairs = replace(
        wrong, members=tuple(replace(one, units=tuple(zip(range(6), range(6, 12)))) for one in wrong.members)
    )
    assert not prove(model, [pairs], [run])


def test_a_lstm_that_drops_between_its_layers_is_proven():
    class Recurrent(nn.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2D(3, 8, 3, padding=1), nn.Linear(6, 4)
            self.states = nn.LSTM(8, 6, 2, dropout=0.5)

        def forward(self, x):
            return self.last(self.states(self.first(x).mean(axis=2).transpose([0, 2, 1]))[0])

    graph = channel_graph(Recurrent(), SHAPE)
    assert list(graph.groups) == ["first.weight", "states.weight_ih_l0"]
    assert not graph.training_fault
    group = graph.groups["first.weight"]
    assert [member.role for member in group.members].count(OUTPUT) == 1
