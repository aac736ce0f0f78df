"""Plans as values and as files."""

from __future__ import annotations

import json

import pytest

from ocrslim.errors import PlanError
from ocrslim.pruning.plan import Cut, Plan, combine

ARCHITECTURE = {
    "model_type": "det",
    "algorithm": "DB",
    "Transform": None,
    "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "large"},
    "Neck": {"name": "DBFPN", "out_channels": 64},
    "Head": {"name": "DBHead", "k": 50},
}
CONV10 = "backbone.stage2.2.expand_conv.conv.weight"


def test_cuts_that_meet_keep_what_both_keep():
    first, second = Cut("w", 0, 4, (0, 1, 3)), Cut("w", 0, 4, (1, 2, 3))
    assert combine([first, second, Cut("v", 1, 2, (0, 1))]) == (Cut("w", 0, 4, (1, 3)),)
    with pytest.raises(PlanError, match="all 4 channels"):
        combine([Cut("w", 0, 4, (0, 1)), Cut("w", 0, 4, (2, 3))])


def test_a_plan_survives_its_file(tmp_path):
    cuts = (Cut(CONV10, 0, 96, (1, 5, 95)), Cut(CONV10, 1, 40, (0,)), Cut("neck.scale_buffer", 0, 4, (1, 3)))
    plan = Plan(ARCHITECTURE, cuts, {CONV10: 0.96875}, {"neck.p2_conv.weight": "why"}, "taylor", {"weights": "abc"})
    plan.save(tmp_path / "x.plan.json")
    loaded = Plan.load(tmp_path / "x.plan.json")
    assert loaded == plan and loaded.hash() == plan.hash()
    assert "conv10_expand_weights" in json.loads((tmp_path / "x.plan.json").read_text())["layers"]


def test_the_hash_is_of_what_the_plan_does():
    cut = Cut("w", 0, 4, (1, 3))
    plan = Plan(ARCHITECTURE, (cut,))
    assert Plan(ARCHITECTURE, (cut,), criterion="l1", origin={"weights": "x"}).hash() == plan.hash()
    assert Plan(ARCHITECTURE, (Cut("w", 0, 4, (1, 2)),)).hash() != plan.hash()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan: plan.update(schema=99),
        lambda plan: plan.pop("layers"),
        lambda plan: plan["layers"]["w"]["0"].update(keep=[3, 1]),
        lambda plan: plan["layers"]["w"]["0"].update(keep=[0, 9]),
        lambda plan: plan["layers"]["w"]["0"].update(keep=[]),
        lambda plan: plan["layers"].update(w=3),
    ],
    ids=["schema", "no layers", "unordered", "beyond the end", "empty", "not a mapping"],
)
def test_a_broken_plan_file_is_refused_by_name(tmp_path, spoil):
    content = Plan(ARCHITECTURE, (Cut("w", 0, 4, (1, 3)),)).to_json()
    spoil(content)
    path = tmp_path / "best.plan.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match=r"best\.plan\.json"):
        Plan.load(path)


@pytest.mark.parametrize(("schema", "remedy"), [(0, "prune again with this version"), (99, "update this one")])
def test_a_plan_of_another_version_says_which_side_is_old(tmp_path, schema, remedy):
    path = tmp_path / "best.plan.json"
    path.write_text(json.dumps({**Plan(ARCHITECTURE, ()).to_json(), "schema": schema}))
    with pytest.raises(PlanError, match=rf"schema {schema}, expected 1: .*{remedy}"):
        Plan.load(path)


def test_two_plans_one_after_the_other_are_one():
    first = Plan(ARCHITECTURE, (Cut("w", 0, 6, (0, 2, 3, 5)), Cut("v", 1, 3, (0, 2))), {"w": 1 / 3, "v": 1 / 3})
    second = Plan(ARCHITECTURE, (Cut("w", 0, 4, (1, 3)), Cut("w", 1, 5, (4,))), {"w": 0.5})
    both = second.after(first)
    assert both.cuts == (Cut("w", 0, 6, (2, 5)), Cut("v", 1, 3, (0, 2)), Cut("w", 1, 5, (4,)))
    assert both.ratios == {"w": pytest.approx(2 / 3), "v": pytest.approx(1 / 3)}
    assert set(both.since(first).cuts) == set(second.cuts)
    assert both.since(both).cuts == () and second.after(None) == second and second.since(None) == second


def test_a_plan_of_another_network_does_not_follow():
    first = Plan(ARCHITECTURE, (Cut("w", 0, 6, (0, 2, 3, 5)),))
    with pytest.raises(PlanError, match="expects 6 entries, the first leaves 4"):
        Plan(ARCHITECTURE, (Cut("w", 0, 6, (1, 3)),)).after(first)
