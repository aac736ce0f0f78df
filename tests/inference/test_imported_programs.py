"""The runtime takes the program of a file as it is: unpruned, and pruned by group, without a trace."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from file_networks import NETWORKS, Folded, difference, exported, graph_of, image, imported, some_cuts
from small_export import FORMATS

from ocrslim.inference.incremental.activation_cache import ActivationCache
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.runner import GroupRunner
from ocrslim.inference.tracing import arrays_of, traced_for_task
from ocrslim.pruning import Plan, apply_plan, cut_arrays, pruned
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.utils import Clock

SIZES = ((1, 3, 32, 48), (1, 3, 32, 64))
ALL = {**NETWORKS, "Folded": Folded}


class _Images:
    """Images of two sizes, as the runtime asks for them."""

    pixels = sum(height * width for _, _, height, width in SIZES)

    def image(self, index):
        return image(SIZES[index], seed=index)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ALL)
def test_a_program_runs_unpruned_and_pruned(name, kind, tmp_path):
    model = imported(exported(ALL[name], tmp_path, kind))
    network = RuntimeNetwork(model.program, arrays_of(model), SIZES[0])
    cache = ActivationCache(network, _Images(), 1 << 30, None, Clock())
    runner = GroupRunner(network, None, cache)
    runner.load(Variant())
    _check(runner, model)
    graph = graph_of(model)
    pruner = ChannelPruner(model, graph, "random")
    for group in graph.groups.values():
        cuts = pruner.cuts({group.name: 0.5})
        runner = GroupRunner(network, group, cache)
        runner.load(Variant(group, frozenset(pruner.removed(group.name, 0.5)), *cut_arrays(model, cuts)))
        with pruned(model, Plan({}, cuts)):
            _check(runner, model)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_cut_runs_as_one_that_was_never_whole(name, tmp_path):
    model = imported(exported(NETWORKS[name], tmp_path, FORMATS[0]))
    apply_plan(model, Plan({}, some_cuts(graph_of(model), 0.5)))
    network = RuntimeNetwork(traced_for_task(model, None), arrays_of(model), SIZES[0])
    runner = GroupRunner(network, None, ActivationCache(network, _Images(), 1 << 30, None, Clock()))
    runner.load(Variant())
    _check(runner, model)


def _check(runner, model):
    for index in range(len(SIZES)):
        with paddle.no_grad():
            expected = model(paddle.to_tensor(_Images().image(index))).numpy()
        assert difference(np.asarray(runner(index)), expected) < 1e-5
