"""Groups read from the program of a file, without a trace: those of the network itself, proven by running it."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from file_networks import (
    NETWORKS,
    SHAPE,
    difference,
    exported,
    graph_of,
    image,
    imported,
    run,
    some_cuts,
    written_pruned,
)
from paddle import nn
from small_export import FORMATS, export

from ocrslim.errors import PlanError
from ocrslim.formats import write_pruned
from ocrslim.graph import graph_of_program
from ocrslim.pruning import Plan, apply_plan, measure_cost, program_channel_graph
from ocrslim.pruning.channel_graph import channel_graph


@pytest.fixture(scope="module", params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture(scope="module", params=FORMATS)
def folder(request, name, tmp_path_factory):
    return exported(NETWORKS[name], tmp_path_factory.mktemp("files"), request.param)


def test_groups_and_costs_are_those_of_the_traced_network(name, folder):
    paddle.seed(1)
    traced = channel_graph(NETWORKS[name](), SHAPE)
    graph = graph_of(imported(folder))
    assert graph.macs == traced.macs
    found = [_outline(group) for group in graph.groups.values()]
    assert [name for name, group in traced.groups.items() if _outline(group) not in found] == []


def _outline(group):
    """What a group is, whatever its parameters are called."""
    return sorted((member.role, member.axis, member.size, member.units) for member in group.members)


def test_a_pruned_network_computes_what_its_file_does(folder, tmp_path):
    model = imported(folder)
    graph = graph_of(model)
    cuts = some_cuts(graph, 0.3)
    pruned = written_pruned(folder, tmp_path / "pruned", model, cuts)
    apply_plan(model, Plan({}, cuts))
    with paddle.no_grad():
        found = model(paddle.to_tensor(image())).numpy()
    assert difference(found, run(pruned, image())) < 1e-5
    assert difference(found, run(folder, image())) > 1e-3
    again = graph_of(imported(pruned))
    assert again.macs == measure_cost(graph, cuts).macs
    with pytest.raises(PlanError, match="pruned already"):
        program_channel_graph(model, model.program_at(SHAPE), SHAPE)


def test_a_pruned_network_trains_on_and_is_written_as_it_is_then(folder, tmp_path):
    model = imported(folder)
    apply_plan(model, Plan({}, some_cuts(graph_of(model), 0.5)))
    model.train()
    optimizer = paddle.optimizer.Adam(0.01, parameters=model.parameters())
    model(paddle.to_tensor(image())).square().mean().backward()
    optimizer.step()
    model.eval()
    write_pruned(folder, tmp_path / "trained", *model.file_state())
    with paddle.no_grad():
        found = model(paddle.to_tensor(image())).numpy()
    assert difference(run(tmp_path / "trained", image()), found) < 1e-5


class _Halves(nn.Layer):
    """A split at a number that the file has, and that no cut changes."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2D(3, 8, 3), nn.Conv2D(4, 1, 1)

    def forward(self, x):
        one, other = paddle.split(self.conv(x), [4, 4], 1)
        return self.last(one * other)


def test_a_group_that_the_file_does_not_bear_is_found_out(tmp_path):
    model = imported(export(_Halves(), tmp_path, FORMATS[-1] == "legacy"))
    program = model.program_at(SHAPE)
    (name,) = graph_of_program(model, program).groups
    proven = program_channel_graph(model, program, SHAPE)
    assert not proven.groups
    assert "fails with fewer channels" in proven.unprunable[name]


def test_the_network_is_as_before(folder):
    model = imported(folder)
    before = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    state = paddle.get_rng_state()[0].current_seed()
    graph_of(model)
    assert paddle.get_rng_state()[0].current_seed() == state
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[key])
