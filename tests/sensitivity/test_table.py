"""The table as pruning reads it: of this network and these weights, and no more pruned than is known."""

from __future__ import annotations

import json
import logging
import os
from types import SimpleNamespace

import pytest

from ocrslim.errors import ArtifactError
from ocrslim.formats.sensitivity_table import write_sensitivities
from ocrslim.pruning.loss_rules import ratio_by_loss
from ocrslim.sensitivity.results.table import changed_layers, check_names, group_hashes, load_table

ARCHITECTURE = {"Backbone": {"name": "MobileNetV3"}}
GRAPH = SimpleNamespace(groups={"backbone.stage2.2.expand_conv.conv.weight": 1, "neck.in2_conv.weight": 1})
EXPAND, NECK = GRAPH.groups
HASHES = {"weights": "w", "architecture": "a", "criterion": "fpgm"}
TABLE = {"conv10_expand_weights": {0.2: 0.01, 0.6: 0.3}, "neck.in2_conv.weight": {0.2: 0.0}}
RECORD = {
    "schema": 2,
    "hashes": HASHES,
    "baseline": {"precision": 1, "recall": 1, "hmean": 1},
    "seconds": 1.0,
    "mode": "exact",
    "tolerance": 0.02,
    "layers": {},
}


def point(loss, low=None, high=None, images=0):
    low, high = (loss if end is None else end for end in (low, high))
    return {"how": "sampled", "images": images, "loss": loss, "low": low, "high": high}


def written(folder, table=TABLE, **changes):
    write_sensitivities(folder / "sen.pickle", table)
    (folder / "sen.json").write_text(json.dumps({**RECORD, **changes}))
    return folder / "sen.pickle"


def load(path, hashes=HASHES, tolerance=0.02):
    return load_table(path, GRAPH, ARCHITECTURE, hashes, tolerance)


def test_it_is_keyed_by_state_dict_keys(tmp_path):
    assert load(written(tmp_path)) == {EXPAND: {0.2: 0.01, 0.6: 0.3}, NECK: {0.2: 0.0}}


def test_the_record_may_know_more_than_pruning_depends_on(tmp_path):
    path = written(tmp_path, hashes={**HASHES, "evaluation data": "d"})
    assert set(load(path)) == {EXPAND, NECK}


@pytest.mark.parametrize("what", HASHES)
def test_a_table_of_something_else_is_refused_naming_it(tmp_path, what):
    with pytest.raises(ArtifactError, match=rf"sen\.json: measured with other {what} than.*Prune\.sen_file"):
        load(written(tmp_path), {**HASHES, what: "other"})


def test_a_changed_criterion_is_told_with_both_values(tmp_path):
    told = r"\(weights, by Global.pretrained_model: w there, v here; criterion: fpgm there, l1 here\)"
    with pytest.raises(ArtifactError, match=rf"other weights and criterion than this run's {told}: again"):
        changed_layers(RECORD, {"weights": "v", "criterion": "l1"}, tmp_path, "again")


@pytest.mark.parametrize(
    "damage",
    [{"baseline": None}, {"baseline": {"hmean": "x"}}, {"seconds": None}, {"schema": 1}, {"hashes": []}],
    ids=str,
)
def test_a_damaged_record_is_refused_with_a_remedy(tmp_path, damage):
    with pytest.raises(ArtifactError, match=r"sen\.json: damaged.*sensitivity_anal\.py"):
        load(written(tmp_path, **damage))


def test_a_table_of_other_channel_groups_is_refused_where_a_layer_of_it_has_them(tmp_path):
    hashes, groups = {**HASHES, "channel groups": "whole"}, group_hashes(GRAPH, ARCHITECTURE)
    path = written(tmp_path, hashes={**hashes, "channel groups": "then"}, groups={**groups, "another.weight": "0"})
    assert set(load(path, hashes)) == {EXPAND, NECK}
    path = written(
        tmp_path, hashes={**hashes, "channel groups": "then"}, groups={**groups, "neck.in2_conv.weight": "0"}
    )
    with pytest.raises(ArtifactError, match=r"sen\.json: .*other channel groups of neck\.in2_conv\.weight than this"):
        load(path, hashes)
    path = written(tmp_path, hashes={**hashes, "channel groups": "then"})
    with pytest.raises(
        ArtifactError, match=r"other channel groups than this run's \(channel groups: then there, whole"
    ):
        load(path, hashes)


def test_a_record_that_is_no_file_is_refused_before_it_is_read(tmp_path):
    path = written(tmp_path)
    (tmp_path / "sen.json").unlink()
    os.mkfifo(tmp_path / "sen.json")
    with pytest.raises(ArtifactError, match=r"sen\.json: cannot be read \(it is a named pipe"):
        load(path)


def test_a_table_without_its_record_is_taken_with_a_word(tmp_path, caplog):
    path = written(tmp_path)
    (tmp_path / "sen.json").unlink()
    assert set(load(path, {"weights": "whatever"})) == {EXPAND, NECK}
    assert "cannot tell which weights" in caplog.text


def test_a_table_without_a_point_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no measured point: run sensitivity_anal"):
        load(written(tmp_path, {"conv10_expand_weights": {}}))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param(
            "conv2d_57.w_0", r"a name that Paddle gives by itself.*such as conv10_expand_weights", id="paddle"
        ),
        pytest.param("neck.other.weight", "not a prunable layer of this network", id="other-model"),
    ],
)
def test_names_of_other_models_are_refused_with_what_to_do(tmp_path, name, says):
    with pytest.raises(ArtifactError, match=rf"sen\.pickle: {name} is {says}.*Global\.overwrite=true"):
        check_names({name: {0.2: 0.0}}, GRAPH, ARCHITECTURE, tmp_path / "sen.pickle")


SETTLED = {
    "ratio": 0.4,
    "between": [0.4, 0.4],
    "settled": True,
    "points": {"0.2": point(0.005), "0.4": point(0.02, 0.01, 0.03, images=8), "0.6": point(0.31, images=20)},
}
OPEN = {**SETTLED, "settled": False, "points": {"0.2": point(0.0, 0.0, 0.01, 4), "0.6": point(0.01, 0.0, 0.2)}}


def test_of_an_adaptive_search_what_it_infers_is_taken_and_what_it_measured_wins(tmp_path):
    path = written(
        tmp_path, {"conv10_expand_weights": {0.6: 0.3}}, mode="adaptive", layers={"conv10_expand_weights": SETTLED}
    )
    assert load(path) == {EXPAND: {0.2: 0.005, 0.4: 0.02, 0.6: 0.3}}


def test_an_exact_tables_points_are_taken_alone(tmp_path):
    path = written(tmp_path, {"conv10_expand_weights": {0.6: 0.3}}, layers={"conv10_expand_weights": SETTLED})
    assert load(path) == {EXPAND: {0.6: 0.3}}


def test_of_a_layer_that_is_not_settled_no_more_is_pruned_than_is_known(tmp_path):
    path = written(tmp_path, {}, mode="adaptive", layers={"neck.in2_conv.weight": OPEN})
    losses = load(path)[NECK]
    assert losses == {0.2: 0.01, 0.6: 0.2}
    assert 0.2 <= ratio_by_loss(losses, 0.02) < 0.25 < ratio_by_loss({0.2: 0.0, 0.6: 0.01}, 0.02)


def test_a_layer_of_which_nothing_was_measured_is_not_made_up(tmp_path):
    untouched = {**OPEN, "points": {"0.2": point(0.0), "0.6": point(0.0)}}
    layers = {"neck.in2_conv.weight": untouched, "conv10_expand_weights": SETTLED}
    assert set(load(written(tmp_path, {}, mode="adaptive", layers=layers))) == {EXPAND}
    with pytest.raises(ArtifactError, match="no measured point"):
        load(written(tmp_path, {}, mode="adaptive", layers={"neck.in2_conv.weight": untouched}))


def test_another_tolerance_than_it_was_made_for_is_warned_of(tmp_path, caplog):
    path = written(tmp_path, {}, mode="adaptive", layers={"conv10_expand_weights": SETTLED})
    with caplog.at_level(logging.WARNING):
        load(path)
        assert not caplog.messages
        load(path, tolerance=0.1)
    (warning,) = caplog.messages
    assert "a loss of 0.02" in warning and "-o Prune.loss_tolerance=0.1 goes on from there" in warning


@pytest.mark.parametrize(
    "layers",
    [[], {"conv10_expand_weights": 1}, {"conv10_expand_weights": {"points": {"0.2": {}}}},
     {"conv10_expand_weights": {**SETTLED, "points": {"a": point(0.1, images=4)}}}],
    ids=["list", "number", "no-fields", "ratio-not-a-number"],
)  # fmt: skip
def test_damaged_layers_are_refused_with_a_remedy(tmp_path, layers):
    with pytest.raises(ArtifactError, match=r"sen\.json: its layers are damaged.*run sensitivity_anal\.py again"):
        load(written(tmp_path, TABLE, mode="adaptive", layers=layers))
