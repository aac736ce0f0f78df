"""The oracle for groups, pruners and surgery: removing channels equals silencing what they feed."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from oracle import silenced
from slow import quick

from ocrslim.errors import PlanError
from ocrslim.models import state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.cost import measure_cost
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import apply_plan, cut_arrays, pruned

MV3 = {"name": "MobileNetV3", "scale": 0.5, "model_name": "large"}
DETECTORS = {
    "DBFPN without SE": {
        "Backbone": {**MV3, "disable_se": True},
        "Neck": {"name": "DBFPN", "out_channels": 96},
        "Head": {"name": "DBHead", "k": 50},
    },
    "DBFPN with SE": {
        "Backbone": MV3,
        "Neck": {"name": "DBFPN", "out_channels": 64},
        "Head": {"name": "DBHead", "k": 50},
    },
    "RSEFPN with shortcut": {
        "Backbone": {**MV3, "disable_se": True},
        "Neck": {"name": "RSEFPN", "out_channels": 96, "shortcut": True},
        "Head": {"name": "DBHead", "k": 50},
    },
}
ARCHITECTURES = {
    name: {"model_type": "det", "algorithm": "DB", "Transform": None, **parts} for name, parts in DETECTORS.items()
}


def network(architecture):
    paddle.seed(3)
    model = build_model(architecture)
    rng = np.random.default_rng(0)
    # statistics and scales as after a training: with the initial ones many channels carry nothing
    for key, value in model.state_dict().items():
        if key.endswith("_variance") or (len(value.shape) == 1 and key.endswith("weight")):
            value.set_value(rng.uniform(0.5, 1.5, value.shape).astype("float32"))
        elif len(value.shape) == 1:
            value.set_value(rng.normal(0, 0.1, value.shape).astype("float32"))
    model.eval()
    return model


@pytest.fixture(
    scope="module", params=quick(ARCHITECTURES, [next(iter(ARCHITECTURES))]), ids=lambda n: n.replace(" ", "-")
)
def traced(request):
    architecture = ARCHITECTURES[request.param]
    model = network(architecture)
    return architecture, model, channel_graph(model, [1, 3, 64, 96])


def image():
    return paddle.to_tensor(np.random.default_rng(1).standard_normal((1, 3, 64, 96)).astype("float32"))


def logits(model, x):
    """The map before its sigmoid, where differences are not squashed."""
    caught = {}
    hook = model.head.binarize.conv3.register_forward_post_hook(lambda layer, i, o: caught.update(out=o))
    with paddle.no_grad():
        model(x)
    hook.remove()
    return caught["out"].numpy()


@pytest.mark.parametrize("ratio", [0.3, 0.7])
def test_every_group_alone_equals_the_network_with_the_channels_silenced(traced, ratio):
    architecture, model, graph = traced
    pruner = ChannelPruner(model, graph, "fpgm")
    original = logits(model, image())
    changed = 0
    for name in graph.groups:
        cuts = pruner.cuts({name: ratio})
        with pruned(model, Plan(architecture, cuts)):
            found = logits(model, image())
        with silenced(model, cuts, {}):
            expected = logits(model, image())
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)
        changed += not np.allclose(expected, original, atol=1e-4 * np.abs(original).max())
    assert changed > len(graph.groups) * 0.8, "silencing must matter, or this test proves nothing"


def test_all_groups_together_equal_the_silenced_network_and_train(traced):
    architecture, model, graph = traced
    before = state_arrays(model)
    cuts = ChannelPruner(model, graph, "fpgm").cuts(dict.fromkeys(graph.groups, 0.5))
    with pruned(model, Plan(architecture, cuts)):
        found = logits(model, image())
        model.train()
        model(image())["maps"].mean().backward()
        model.eval()
    model.set_state_dict(before)
    with silenced(model, cuts, {}):
        np.testing.assert_allclose(found, logits(model, image()), atol=1e-5 * np.abs(found).max())
    full, cost = measure_cost(graph), measure_cost(graph, cuts)
    assert cost.macs < 0.35 * full.macs and cost.params < 0.35 * full.params


def test_leaving_the_block_restores_every_bit_even_after_an_error(traced):
    architecture, model, graph = traced
    before = state_arrays(model)
    cuts = ChannelPruner(model, graph, "l1").cuts(dict.fromkeys(graph.groups, 0.4))
    with pytest.raises(ZeroDivisionError), pruned(model, Plan(architecture, cuts)):
        assert state_arrays(model)[cuts[0].key].shape != before[cuts[0].key].shape
        raise ZeroDivisionError
    after = state_arrays(model)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_a_plan_survives_its_file_and_rebuilds_the_pruned_network(traced, tmp_path):
    architecture, model, graph = traced
    cuts = ChannelPruner(model, graph, "l2").cuts(dict.fromkeys(graph.groups, 0.25))
    plan = Plan(architecture, cuts, dict.fromkeys(graph.groups, 0.25), {"neck.p2_conv.weight": "why"}, "l2")
    plan.save(tmp_path / "x.plan.json")
    loaded = Plan.load(tmp_path / "x.plan.json")
    assert loaded.hash() == plan.hash() and loaded.skipped == plan.skipped
    assert loaded.ratios == pytest.approx(plan.ratios)
    copy = network(architecture)
    copy.set_state_dict(state_arrays(model))
    apply_plan(copy, loaded)
    with pruned(model, plan):
        np.testing.assert_array_equal(logits(copy, image()), logits(model, image()))


def test_unprunable_layers_have_reasons_and_the_others_a_group(traced):
    _, model, graph = traced
    grouped = {m.key for g in graph.groups.values() for m in g.members}
    for name, layer in model.named_sublayers():
        if isinstance(layer, (paddle.nn.Conv2D, paddle.nn.Conv2DTranspose)):
            key = f"{name}.weight"
            assert key in grouped or graph.unprunable[key]
    assert not any(name.startswith("head.thresh.") for name in graph.groups)


@pytest.fixture(scope="module")
def small():
    architecture = ARCHITECTURES["DBFPN without SE"]
    model = network(architecture)
    return architecture, model, channel_graph(model, [1, 3, 64, 96])


def test_what_a_cut_would_make_is_what_it_makes(traced):
    architecture, model, graph = traced
    before = state_arrays(model)
    cuts = ChannelPruner(model, graph, "l1").cuts(dict.fromkeys(graph.groups, 0.4))
    arrays, groups = cut_arrays(model, cuts)
    assert all(np.array_equal(before[key], array) for key, array in state_arrays(model).items())
    with pruned(model, Plan(architecture, cuts)):
        after = state_arrays(model)
        layers = {f"{name}.weight": layer for name, layer in model.named_sublayers() if hasattr(layer, "_groups")}
        assert arrays.keys() == {one.key for one in cuts}
        assert all(np.array_equal(after[key], array) for key, array in arrays.items())
        assert groups == {key: layer._groups for key, layer in layers.items() if key in arrays and layer._groups > 1}
    assert len(groups) > 10


def test_a_plan_applies_once(small):
    architecture, _, graph = small
    model = network(architecture)
    plan = Plan(architecture, ChannelPruner(model, graph, "fpgm").cuts({"neck.in2_conv.weight": 0.5}))
    apply_plan(model, plan)
    with pytest.raises(PlanError, match="pruned already"):
        apply_plan(model, plan)


def test_a_plan_of_another_model_is_refused_and_changes_nothing(small):
    architecture, model, graph = small
    plan = Plan(architecture, ChannelPruner(model, graph, "fpgm").cuts({"neck.in2_conv.weight": 0.5}))
    other = network(ARCHITECTURES["DBFPN with SE"])
    before = state_arrays(other)
    with pytest.raises(PlanError, match="96 entries on axis 0 of neck.in2_conv.weight"):
        apply_plan(other, plan)
    assert all(np.array_equal(before[k], v) for k, v in state_arrays(other).items())


def test_one_channel_stays_whatever_the_ratio(small):
    _, model, graph = small
    cuts = ChannelPruner(model, graph, "fpgm").cuts({"neck.in2_conv.weight": 0.999})
    assert {len(cut.keep) for cut in cuts} == {1}


def test_a_group_cut_to_one_channel_runs_and_comes_back(small):
    """A depthwise layer with one channel looks like a plain one; it must not stay one."""
    architecture, model, graph = small
    original = logits(model, image())
    cuts = ChannelPruner(model, graph, "fpgm").cuts(dict.fromkeys(graph.groups, 0.999))
    with pruned(model, Plan(architecture, cuts)):
        assert not np.allclose(logits(model, image()), original)
    np.testing.assert_array_equal(logits(model, image()), original)
