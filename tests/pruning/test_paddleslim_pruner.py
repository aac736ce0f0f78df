"""PaddleSlim's interface on our groups: as its documentation says, without its faults."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import paddle
import pytest
from hand_built import concat, depthwise, flattened, grouped_by_block, plain, residual, transposed

from ocrslim.errors import ArtifactError, PlanError
from ocrslim.formats.sensitivity_table import read_sensitivities
from ocrslim.graph.groups import ChannelGraph, Layer
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.paddleslim.pruner import filter_pruner
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.surgery.cutting import pruned


def names(net):
    return {key: p.name for key, p in net.model.named_parameters()}


def expected(net, criterion, ratios):
    """The output of the network cut by the library's own door."""
    cuts = ChannelPruner(net.model, net.graph, criterion).cuts(ratios)
    with pruned(net.model, Plan({}, cuts)):
        return net.run()


@pytest.mark.parametrize("criterion", ["fpgm", "l1", "l2", "bn_scale", "random"])
def test_it_is_paddleslims_own_class(criterion):
    from paddleslim import FPGMFilterPruner, L1NormFilterPruner, L2NormFilterPruner
    from paddleslim.dygraph.prune.filter_pruner import FilterPruner

    own = {"fpgm": FPGMFilterPruner, "l1": L1NormFilterPruner, "l2": L2NormFilterPruner}.get(criterion, FilterPruner)
    net = plain()
    assert isinstance(filter_pruner(net.model, net.graph, criterion), own)


@pytest.mark.parametrize("build", [plain, residual, depthwise, grouped_by_block])
@pytest.mark.parametrize("criterion", ["fpgm", "l1", "l2"])
def test_prune_var_cuts_at_once_and_restore_brings_every_bit_back(build, criterion):
    net = build()
    before = net.run()
    plan = filter_pruner(net.model, net.graph, criterion).prune_var(names(net)["a.weight"], 0, 0.5)
    cut = net.run()
    assert cut.shape == before.shape and not np.allclose(cut, before)
    plan.restore(net.model)
    np.testing.assert_array_equal(net.run(), before)
    np.testing.assert_array_equal(cut, expected(net, criterion, {"a.weight": 0.5}))
    assert not any("backup" in key for key in net.model.state_dict())


def test_masks_are_those_of_paddleslims_plan():
    net = concat()
    name = names(net)
    plan = filter_pruner(net.model, net.graph, "l1").prune_var(name["b.weight"], [0], 0.5, apply=None)
    assert net.model.b.weight.shape == [6, 3, 1, 1], "without apply nothing is cut"
    assert set(plan.masks) == {name[key] for key in ("b.weight", "b.bias", "c.weight")}
    (mask,) = plan.masks[name["c.weight"]]
    assert mask.dims == 1 and len(mask.mask) == 10 and sum(mask.mask) == 7
    assert np.all(np.asarray(mask.mask)[:4] == 1)
    assert plan.contains(name["c.weight"], 1) and not plan.contains(name["c.weight"], 0)
    assert name["c.weight"] in str(plan)
    plan.apply(net.model)
    assert net.model.c.weight.shape == [5, 7, 1, 1]


def test_cal_mask_is_paddleslims():
    net = plain()
    pruner = filter_pruner(net.model, net.graph, "fpgm")
    (collection,) = pruner.collections
    assert (
        pruner.cal_mask(0.5, collection).tolist()
        == pruner.prune_var(names(net)["a.weight"], 0, 0.5).masks[names(net)["a.weight"]][0].mask.tolist()
    )


@pytest.mark.parametrize("build", [concat, transposed, flattened])
def test_several_groups_that_meet_in_one_parameter_compose(build):
    """Axis 0 means the filters, also of layers that have them on axis 1."""
    net = build()
    before, name = net.run(), names(net)
    pruner = filter_pruner(net.model, net.graph, "l2")
    plan = pruner.prune_vars({name[group]: 0.5 for group in net.graph.groups}, 0)
    cut = net.run()
    pruner.restore()
    np.testing.assert_array_equal(net.run(), before)
    np.testing.assert_array_equal(cut, expected(net, "l2", dict.fromkeys(net.graph.groups, 0.5)))
    pruner.prune_vars({}, 0)
    np.testing.assert_array_equal(net.run(), before)
    plan.apply(net.model)
    np.testing.assert_array_equal(net.run(), cut)


@pytest.mark.parametrize("build", [plain, concat, transposed])
def test_lazy_silences_and_keeps_the_shapes(build):
    net = build()
    before, shapes = net.run(), [p.shape for p in net.model.parameters()]
    plan = filter_pruner(net.model, net.graph, "l1").prune_vars({names(net)["a.weight"]: 0.5}, 0, apply="lazy")
    silent = net.run()
    assert [p.shape for p in net.model.parameters()] == shapes
    plan.restore(net.model)
    np.testing.assert_array_equal(net.run(), before)
    np.testing.assert_allclose(silent, expected(net, "l1", {"a.weight": 0.5}), rtol=1e-4, atol=1e-4)


def test_lazy_then_at_once_comes_back_as_well():
    net = concat()
    before = net.run()
    plan = filter_pruner(net.model, net.graph, "l1").prune_var(names(net)["a.weight"], 0, 0.5, apply="lazy")
    plan.apply(net.model, lazy=True)
    silent = net.run()
    plan.apply(net.model)
    np.testing.assert_allclose(net.run(), silent, rtol=1e-4, atol=1e-5)
    plan.restore(net.model)
    np.testing.assert_array_equal(net.run(), before)


def test_the_optimizer_follows_and_comes_back():
    net = residual()
    optimizer = paddle.optimizer.Adam(0.01, parameters=net.model.parameters())
    net.model(net.image()).mean().backward()
    optimizer.step()
    optimizer.clear_grad()
    moment = optimizer._accumulators["moment1"][net.model.a.weight.name]
    full = moment.numpy().copy()
    plan = filter_pruner(net.model, net.graph, "l1", opt=optimizer).prune_vars({names(net)["a.weight"]: 0.5}, 0)
    assert moment.shape == net.model.a.weight.shape == [3, 3, 1, 1]
    net.model(net.image()).mean().backward()
    optimizer.step()
    optimizer.clear_grad()
    plan.restore(net.model, opt=optimizer)
    np.testing.assert_array_equal(moment.numpy(), full)


def scored(net, calls):
    def evaluate():
        calls.append(sum(p.size for p in net.model.parameters()))
        return 1.0 if len(calls) == 1 else 0.6

    return evaluate


def test_sensitive_measures_what_is_missing_and_restores(tmp_path):
    net, calls, path = concat(), [], tmp_path / "sen.pickle"
    name, before = names(net), net.run()
    first, second = name["a.weight"], name["b.weight"]
    pruner = filter_pruner(net.model, net.graph, "l1")
    table = pruner.sensitive(scored(net, calls), str(path), target_vars=[first])
    assert list(table) == [first] and list(table[first]) == pytest.approx(np.arange(0.1, 1, 0.1))
    assert table[first][0.5] == pytest.approx(0.4 / 1.001)
    assert len(calls) == 10 and calls[0] > calls[5] > calls[9]
    np.testing.assert_array_equal(net.run(), before)
    assert read_sensitivities(path) == table == pruner.sensitive()

    again, calls = filter_pruner(net.model, net.graph, "l1"), []
    assert set(again.sensitive(scored(net, calls), str(path), skip_vars=[second])) == {first}
    assert calls == [], "all of it is known"
    assert set(again.sensitive(scored(net, calls), str(path))) == {first, second}, "skipped once, not for ever"
    assert len(calls) == 10


def test_sensitive_works_without_a_file_and_survives_a_failed_evaluation(tmp_path):
    net, calls = plain(), []
    before = net.run()
    pruner = filter_pruner(net.model, net.graph, "l1")

    def failing():
        calls.append(0)
        if len(calls) == 4:
            raise ZeroDivisionError
        return 1.0

    with pytest.raises(ZeroDivisionError):
        pruner.sensitive(failing)
    np.testing.assert_array_equal(net.run(), before)
    assert [len(losses) for losses in pruner.sensitive().values()] == [2]
    (tmp_path / "hostile").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ArtifactError, match="posix.system|os.system"):
        pruner.sensitive(sen_file=str(tmp_path / "hostile"))


def test_what_cannot_be_pruned_is_said(caplog):
    net = residual()
    name = names(net)
    pruner = filter_pruner(net.model, net.graph, "l1")
    with pytest.raises(PlanError, match=f"no parameter of this network.*did you mean '{name['a.weight']}'"):
        pruner.prune_var(name["a.weight"] + "x", 0, 0.5)
    with pytest.raises(PlanError, match=r"outside 0\.\.1"):
        pruner.prune_var(name["a.weight"], 0, 1.5)
    with caplog.at_level(logging.WARNING):
        assert pruner.prune_var(name["b.weight"], 0, 0.5).masks == {}
        assert pruner.prune_var(name["a.weight"], 1, 0.5).masks == {}
    assert f"{name['b.weight']}, axis 0: not pruned: it belongs to the group of {name['a.weight']}" in caplog.text
    assert f"{name['a.weight']}, axis 1: not pruned: its channels are in no group" in caplog.text
    other = plain()
    with caplog.at_level(logging.WARNING):
        filter_pruner(other.model, other.graph).prune_var(names(other)["b.weight"], 0, 0.5)
    assert "not pruned: it makes the output" in caplog.text


def test_a_second_plan_needs_the_first_one_restored():
    net = concat()
    pruner, name = filter_pruner(net.model, net.graph, "l1"), names(net)
    plan = pruner.prune_var(name["a.weight"], 0, 0.5)
    with pytest.raises(PlanError, match="pruned already"):
        pruner.prune_var(name["b.weight"], 0, 0.5)
    plan.restore(net.model)
    plan.restore(net.model)
    pruner.prune_var(name["b.weight"], 0, 0.5)


def counted(net):
    """The network's graph with its layers' MACs, which a trace would count."""
    weights = {key: p for key, p in net.model.named_parameters() if len(p.shape) > 1}
    layers = tuple(Layer(key, tuple(p.shape), 36) for key, p in weights.items())
    return replace(net.graph, layers=layers)


def test_sensitive_prune_comes_as_close_to_the_fraction_as_the_table_allows():
    net = concat()
    before, name = net.run(), names(net)
    pruner = filter_pruner(net.model, counted(net), "l1")
    first, second = name["a.weight"], name["b.weight"]
    pruner.sensitive().update({first: {0.25: 0.1, 0.5: 0.2}, second: {0.5: 0.3}})
    # 4 * 3 + 6 * 3 + 10 * 5 = 80 MACs a position; 8 go with each channel
    for fraction, expected in ((0.1, {first: 1}), (0.2, {first: 2}), (0.5, {first: 2, second: 3}), (0.99, None)):
        plan = pruner.sensitive_prune(fraction)
        kept_channels = {name["a.weight"]: net.model.a.weight.shape[0], name["b.weight"]: net.model.b.weight.shape[0]}
        gone = {first: 4 - kept_channels[first], second: 6 - kept_channels[second]}
        assert {key: count for key, count in gone.items() if count} == (expected or {first: 2, second: 3})
        assert plan.pruned_flops == pytest.approx(sum(gone.values()) / 10)
    pruner.restore()
    np.testing.assert_array_equal(net.run(), before)
    ratios, removed = pruner.get_ratios_by_sensitivity(0.99, skip_vars=[second])
    assert list(ratios) == [first] and removed == pytest.approx(0.2)
    ratios, removed = pruner.get_ratios_by_sensitivity(0.99, align=4)
    assert ratios == {first: 0, second: pytest.approx(1 / 3)} and removed == pytest.approx(0.2)


def test_arguments_that_cannot_be_meant_are_told_in_the_words_of_the_caller():
    net = plain()
    pruner, name = filter_pruner(net.model, net.graph, "l1"), names(net)["a.weight"]
    before = net.run()
    with pytest.raises(PlanError, match=f"a.weight: that is its key in the state dict.*'{name}'"):
        pruner.prune_var("a.weight", 0, 0.5)
    for ratio in (1.5, "0.5", None, float("nan")):
        with pytest.raises(PlanError, match=f"^{name}: ratio .* is outside"):
            pruner.prune_var(name, 0, ratio)
    for prune in (lambda how: pruner.prune_var(name, 0, 0.5, how), lambda how: pruner.prune_vars({}, 0, how)):
        with pytest.raises(PlanError, match="'imperative'; expected 'impretive'.*'lazy' or None"):
            prune("imperative")
    np.testing.assert_array_equal(net.run(), before)


def test_a_network_without_parameters_has_no_name_to_offer():
    pruner = filter_pruner(paddle.nn.ReLU(), ChannelGraph({}, {}), "l1")
    with pytest.raises(PlanError, match="x: no parameter of this network has that name: it has no parameters"):
        pruner.prune_var("x", 0, 0.5)


def test_names_without_effect_are_told_and_a_fraction_needs_a_table(caplog):
    net = plain()
    pruner, name = filter_pruner(net.model, net.graph, "l1"), names(net)["a.weight"]
    with pytest.raises(PlanError, match="no loss is measured yet: call `sensitive`"):
        pruner.get_ratios_by_sensitivity(0.5)
    with pytest.raises(PlanError, match="pruned_flops: 30 is outside"):
        pruner.sensitive_prune(30)
    pruner.sensitive(lambda: 1.0, target_vars=[name, "a.weight"], skip_vars=["none"])
    assert "target_vars: a.weight has no effect: that is its key" in caplog.text
    assert "skip_vars: none has no effect: no parameter" in caplog.text
    assert name + " has" not in caplog.text
