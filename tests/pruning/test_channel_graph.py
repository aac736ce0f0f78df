"""Groups whose number of channels the network's code may fix: proven by a run, or no groups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback

import numpy as np
import paddle
import pytest
from paddle import nn

from ocrslim.errors import GraphError, PlanError
from ocrslim.graph.frontends.dygraph import traced
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import apply_plan


class Between(nn.Layer):
    """Two convolutions with something in between that names a number of channels."""

    def __init__(self, between):
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, padding=1)
        self.between = between
        self.second = nn.Conv2D(8, 6, 3, padding=1)
        self.last = nn.Conv2D(6, 2, 1)

    def forward(self, x):
        return self.last(self.second(self.between(self.first(x))))


def shuffled_by_shape(x):
    n, c, h, w = x.shape
    return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


def shuffled_by_literals(x):
    return x.reshape([1, 2, 4, 16, 16]).transpose([0, 2, 1, 3, 4]).reshape([1, 8, 16, 16])


def shuffled_with_the_inner_factor_fixed(x):
    """Bears any number of channels, but mixes them as no mask can say."""
    n, c, h, w = x.shape
    return x.reshape([n, c // 2, 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


def halves_swapped(x):
    half = x.shape[1] // 2
    return paddle.concat([x[:, half:], x[:, :half]], axis=1)


def split_by_literals(x):
    first, second = paddle.split(x, [4, 4], axis=1)
    return paddle.concat([second, first], axis=1)


GOOD = [shuffled_by_shape, halves_swapped]
BAD = {
    shuffled_by_literals: "fails with fewer channels",
    split_by_literals: "fails with fewer channels",
    shuffled_with_the_inner_factor_fixed: "computes something else",
}
SHAPE = [1, 3, 16, 16]


def network(between):
    paddle.seed(1)
    return Between(between)


@pytest.mark.parametrize("between", GOOD, ids=lambda f: f.__name__)
def test_code_that_bears_fewer_channels_keeps_its_groups(between):
    graph = channel_graph(network(between), SHAPE)
    assert list(graph.groups) == ["first.weight", "second.weight"]
    assert graph.groups["first.weight"].fixed_by and not graph.groups["second.weight"].fixed_by


@pytest.mark.parametrize("between", BAD, ids=lambda f: f.__name__)
def test_code_that_does_not_loses_them_with_the_reason(between):
    graph = channel_graph(network(between), SHAPE)
    assert list(graph.groups) == ["second.weight"], "the rest of the network is still prunable"
    reason = graph.unprunable["first.weight"]
    assert "fixes the number of channels" in reason and BAD[between] in reason
    assert "reshape" in reason or "split" in reason


def test_a_proof_leaves_the_network_as_it_was():
    model = network(shuffled_by_literals)
    model.first.eval()
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    channel_graph(model, SHAPE)
    assert model.training and not model.first.training
    assert all(np.array_equal(before[key], value.numpy()) for key, value in model.state_dict().items())
    assert "forward" not in model.__dict__
    model(paddle.zeros(SHAPE))


class Scaled(nn.Layer):
    """Divides by a number that the trace shows as a constant."""

    def __init__(self, computed):
        super().__init__()
        self.first = nn.Conv2D(3, 8, 1)
        self.second = nn.Conv2D(8, 6, 1)
        self.last = nn.Conv2D(6, 2, 1)
        self.computed = computed

    def forward(self, x):
        x = self.first(x)
        return self.last(self.second(x / (x.shape[1] if self.computed else 8)))


def test_arithmetic_on_the_number_of_channels_is_found_out():
    paddle.seed(1)
    graph = channel_graph(Scaled(computed=True), SHAPE)
    assert list(graph.groups) == ["second.weight"] and not graph.groups["second.weight"].fixed_by
    assert "computes something else" in graph.unprunable["first.weight"]
    assert list(channel_graph(Scaled(computed=False), SHAPE).groups) == ["first.weight", "second.weight"]


class Joined(nn.Layer):
    """A part of a concatenation that has a single channel, and a shuffle that calls for a proof."""

    def __init__(self):
        super().__init__()
        self.one, self.many = nn.Conv2D(3, 1, 1), nn.Conv2D(3, 7, 1)
        self.sum, self.last = nn.Conv2D(3, 8, 1), nn.Conv2D(8, 2, 1)

    def forward(self, x):
        return self.last(halves_swapped(paddle.concat([self.many(x), self.one(x)], axis=1) + self.sum(x)))


def test_a_small_part_of_a_sum_does_not_refuse_its_group():
    paddle.seed(1)
    assert len(channel_graph(Joined(), SHAPE).groups) == 1


def test_what_is_found_does_not_depend_on_the_weights():
    """A network whose output is saturated, or nothing at all, hides every difference."""
    for value in (0.0, 1e4, float("nan")):
        model = network(shuffled_with_the_inner_factor_fixed)
        for parameter in model.parameters():
            parameter.set_value(paddle.full(parameter.shape, value))
        assert list(channel_graph(model, SHAPE).groups) == ["second.weight"]
        assert all(np.array_equal(p.numpy(), np.full(p.shape, value), equal_nan=True) for p in model.parameters())


def test_an_input_that_the_network_does_not_take_is_named():
    with pytest.raises(GraphError, match=r"Between: cannot be traced.*\[1, 3, 16\]"):
        channel_graph(network(nn.ReLU()), [1, 3, 16])


class TwoOutputs(Scaled):
    """A wrong score beside large boxes, and beside a constant."""

    def forward(self, x):
        return super().forward(x), 1e4 * x.mean(axis=1), paddle.full([3], 1e9)


def test_a_large_output_does_not_hide_what_is_wrong_with_a_small_one():
    paddle.seed(1)
    assert list(channel_graph(TwoOutputs(computed=True), SHAPE).groups) == ["second.weight"]
    assert len(channel_graph(TwoOutputs(computed=False), SHAPE).groups) == 2


class Caching(Between):
    """Keeps a tensor of its input's size, and counts its calls in a buffer."""

    def __init__(self):
        super().__init__(nn.ReLU())
        self.grid = None
        self.register_buffer("calls", paddle.zeros([1]))

    def forward(self, x):
        x = self.first(x)
        if self.grid is None:
            self.grid = paddle.ones(x.shape)
        self.calls = self.calls + 1
        return self.last(self.second(x * self.grid.mean()))


def test_what_a_forward_pass_keeps_is_as_it_was():
    model = Caching()
    assert list(channel_graph(model, SHAPE).groups) == ["first.weight", "second.weight"]
    assert model.grid is None and model.calls.item() == 0
    model(paddle.zeros(SHAPE))
    assert model.calls.item() == 1 and model.grid.shape == [1, 8, 16, 16]


def test_a_network_in_another_type_is_run_in_it():
    model = network(nn.ReLU())
    model.to(dtype="float64")
    assert len(channel_graph(model, SHAPE).groups) == 2


def test_randomness_is_said_and_not_taken_for_a_fault(caplog):
    graph = channel_graph(network(lambda x: nn.functional.dropout(x, 0.5)), SHAPE)
    assert len(graph.groups) == 2 and "differ from run to run" in caplog.text
    graph = channel_graph(network(lambda x: nn.functional.dropout(shuffled_by_shape(x), 0.5)), SHAPE)
    assert list(graph.groups) == ["second.weight"] and "differ from run to run" in graph.unprunable["first.weight"]


def test_rounding_that_differs_from_run_to_run_is_no_randomness(caplog):
    """Sums of several threads have no fixed order; a network whose groups depended on that had other ones each time."""
    runs = []

    def trembling(x):
        runs.append(None)
        return shuffled_by_shape(x) * (1 + 1e-6 * (len(runs) % 2))

    graph = channel_graph(network(trembling), SHAPE)
    assert list(graph.groups) == ["first.weight", "second.weight"] and not caplog.text


def test_memory_that_does_not_suffice_is_no_fault_of_the_network():
    def greedy(x):
        if x.shape[1] < 8:
            raise MemoryError
        return x

    with pytest.raises(MemoryError):
        channel_graph(network(greedy), SHAPE)


@pytest.mark.parametrize("training", [False, True])
def test_a_signal_within_a_trace_is_answered_behind_it(monkeypatch, training):
    """Paddle asks Python for the place of each operator; what a handler raised there, it lost, with a parameter."""
    asked, extract = [], traceback.extract_stack

    def interrupted(*given, **named):
        asked.append(None)
        if len(asked) in (3, 8):
            signal.raise_signal(signal.SIGINT)
        return extract(*given, **named)

    model = network(nn.ReLU())
    monkeypatch.setattr(traceback, "extract_stack", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        traced(model, [SHAPE], training=training)
    assert len(asked) > 8 and signal.getsignal(signal.SIGINT) is handler


def test_a_signal_within_a_proof_is_no_fault_of_the_network():
    def interrupted(x):
        if x.shape[1] < 8:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:  # as Paddle does
                raise RuntimeError("interrupted") from None
        return x

    with pytest.raises(KeyboardInterrupt):
        channel_graph(network(interrupted), SHAPE)


def test_values_that_overflow_by_random_weights_are_tried_with_the_networks_own():
    graph = channel_graph(network(lambda x: paddle.log(x + 3) if x.shape[1] else x), SHAPE)
    assert len(graph.groups) == 2


def test_code_that_wants_a_multiple_of_four_is_found_out():
    def wanting(x):
        assert x.shape[1] % 4 == 0
        return x

    assert list(channel_graph(network(wanting), SHAPE).groups) == ["second.weight"]


def test_a_pruned_network_is_refused():
    model = network(nn.ReLU())
    graph = channel_graph(model, SHAPE)
    apply_plan(model, Plan({}, ChannelPruner(model, graph, "l1").cuts({"first.weight": 0.5})))
    with pytest.raises(PlanError, match="pruned already"):
        channel_graph(model, SHAPE)


@pytest.mark.parametrize("shape", [[-1, 3, 16, 16], [None, 3, 16, 16], [1, 3, "a", 16], 16], ids=str)
def test_a_shape_that_is_none_is_named(shape):
    with pytest.raises(GraphError, match=r"input shape .*: expected positive whole numbers"):
        channel_graph(network(nn.ReLU()), shape)


class Square(paddle.autograd.PyLayer):
    """Keeps a value for its gradient, which the trace shows as something that is no tensor."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensor()
        return 2 * x * gradient


def squared(x):
    return Square.apply(x)


def test_an_operator_of_somebodys_own_stops_what_meets_it_and_nothing_else():
    graph = channel_graph(network(squared), SHAPE)
    assert list(graph.groups) == ["second.weight"]
    assert graph.unprunable["first.weight"] == "operator pylayer has no rule"


def test_a_process_in_paddles_legacy_mode_traces_as_well():
    """PaddleOCR's documents set this flag for exports; it is read at import."""
    code = (
        "from ocrslim.pruning.channel_graph import channel_graph; import paddle;"
        "net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 1), paddle.nn.Conv2D(4, 2, 1));"
        "assert list(channel_graph(net, [1, 3, 8, 8]).groups) == ['0.weight']"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "FLAGS_enable_pir_api": "0"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
