"""The adaptive mode on a real detector: the decisions of the exact table for fewer images, usable at any moment."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import pytest
from sensitivity_case import FAST, HASHES, PUBLIC, analyse_at, entries, images_once, problem_of, traced_once

from ocrslim.commands.sensitivity import _show
from ocrslim.config.config import load_config
from ocrslim.errors import ArtifactError
from ocrslim.formats.sensitivity_table import read_sensitivities, write_sensitivities
from ocrslim.pruning.loss_rules import ratio_by_loss
from ocrslim.pruning.prunable import PrunableNetwork
from ocrslim.selection.chooser import choose_plan
from ocrslim.sensitivity.analyzer import TimeBudget
from ocrslim.sensitivity.result import SensitivityResult
from ocrslim.sensitivity.results.table import load_table
from ocrslim.sensitivity.workers.pool import ProcessWorkers
from ocrslim.utils.files import read_json, write_json

__all__ = ["traced_once"]

GROUPS = [
    "backbone.stage1.1.expand_conv.conv.weight",
    "backbone.stage2.2.expand_conv.conv.weight",
    "neck.in2_conv.weight",
]
LAYERS = ["conv6_expand_weights", *PUBLIC[:2]]
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
IMAGES, TOLERANCE = 24, 0.1  # of some fifty boxes one is a loss of 0.02
ADAPTIVE = replace(FAST, mode="adaptive", tolerance=TOLERANCE)


@pytest.fixture(scope="module")
def problem(v2_config, pp_ocrv2, rendered_options, tmp_path_factory):
    """Of more images than the other tests have, so that a part of them can tell something."""
    from ocrslim.data.synthetic import render_dataset

    folder = tmp_path_factory.mktemp("more")
    render_dataset(folder, IMAGES, seed=5, size=(128, 128))
    options = [
        f"Eval.dataset.data_dir={folder}/images",
        f"Eval.dataset.label_file_list=[{folder}/label.txt]",
        "Eval.dataset.transforms.DetResizeForTest={image_shape: [128, 128]}",
        *("Prune.skip_first=0", "Prune.skip_loss=1"),
        f"Global.pretrain_weights={pp_ocrv2}",
    ]
    return problem_of(load_config(v2_config, [*rendered_options, *options]))


@pytest.fixture(scope="module")
def exact(problem, tmp_path_factory):
    """Every point on all images."""
    return analyse_at(problem, GROUPS, RATIOS, tmp_path_factory.mktemp("exact"), FAST).measured.table


@pytest.fixture(scope="module")
def stopped(problem, tmp_path_factory):
    """The time was over after three answers."""
    folder, answers = tmp_path_factory.mktemp("adaptive"), []
    real = ProcessWorkers.wait

    def counting(self, seconds):
        found = real(self, seconds)
        answers.extend(result for result in found if result.job.layer)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ProcessWorkers, "wait", counting)
        patched.setattr(TimeBudget, "minutes_left", property(lambda self: 0.0 if len(answers) >= 3 else 1.0))
        analyse_at(problem, GROUPS, RATIOS, folder, replace(ADAPTIVE, minutes=1.0))
    return read_json(folder / "sen.json", ""), read_sensitivities(folder / "sen.pickle"), entries(folder), folder


@pytest.fixture(scope="module")
def finished(problem, stopped):
    """What was stopped, gone on with, without a limit."""
    *_, folder = stopped
    return analyse_at(problem, GROUPS, RATIOS, folder, ADAPTIVE).measured


def images_in(lines):
    return sum(images for layer, *_, images in lines if layer)


def test_when_the_time_is_over_what_is_known_is_usable_and_no_more_is_pruned(problem, stopped, exact):
    record, table, lines, _ = stopped
    assert 0 < images_in(lines) < 0.5 * len(LAYERS) * len(RATIOS) * IMAGES
    assert {name for name, layer in record["layers"].items() if layer["settled"]} < set(LAYERS)
    assert record["mode"] == "adaptive"
    for name, losses in table.items():
        assert losses == {ratio: pytest.approx(exact[name][ratio], abs=1e-12) for ratio in losses}


def pruned(problem, folder, name, tolerance=TOLERANCE):
    hashes = {key: HASHES[key] for key in ("weights", "architecture", "criterion")}
    table = load_table(folder / "sen.pickle", problem.graph, problem.architecture, hashes, tolerance)
    return ratio_by_loss(table.get(GROUPS[LAYERS.index(name)], {0.5: 1.0}), tolerance)


def test_unsettled_layers_are_pruned_no_further_than_is_known(problem, stopped, tmp_path):
    record, table, *_ = stopped
    write_sensitivities(tmp_path / "sen.pickle", table)
    write_json(tmp_path / "sen.json", record)
    for name in LAYERS:
        layer = record["layers"].get(name, {"settled": False, "between": [0.0, 1.0]})
        if not layer["settled"]:
            assert pruned(problem, tmp_path, name) <= layer["between"][0] + 1e-9, name


def test_the_decisions_are_those_of_the_exact_table_for_fewer_images(problem, finished, stopped, exact):
    record = finished.record["layers"]
    decided = {name: record[name]["ratio"] for name in LAYERS}
    right = {name: ratio_by_loss(exact[name], TOLERANCE) for name in LAYERS}
    assert len({round(ratio, 1) for ratio in right.values()}) > 2, "layers that differ"
    assert all(record[name]["settled"] for name in LAYERS)
    assert decided == pytest.approx(right, abs=0.05)
    assert images_in(entries(finished.folder)) < 0.75 * len(LAYERS) * len(RATIOS) * IMAGES
    before = stopped[2]
    assert entries(finished.folder)[: len(before)] == before and images_once(finished.folder, IMAGES)


def test_the_table_holds_what_was_measured_on_all_images_and_the_record_the_rest(finished, exact):
    table = read_sensitivities(finished.folder / "sen.pickle")
    counted = images_once(finished.folder, IMAGES)
    whole = {key for key, images in counted.items() if images == IMAGES and key[0]}
    assert {(name, ratio) for name, losses in table.items() for ratio in losses} == whole
    hows = set()
    for name in LAYERS:
        for ratio, point in finished.record["layers"][name]["points"].items():
            images = counted.get((name, float(ratio)), 0)
            hows.add(point["how"])
            assert point["images"] == images and point["low"] <= point["loss"] <= point["high"]
            assert point["how"] == ("measured" if images == IMAGES else "sampled" if images else "inferred")
            if images == IMAGES:
                assert table[name][float(ratio)] == exact[name][float(ratio)] == pytest.approx(point["loss"], abs=1e-12)
    assert {"measured", "inferred"} <= hows


def test_pruning_takes_the_decisions(problem, finished, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(PrunableNetwork, "hashes", lambda self: {key: HASHES[key] for key in ("weights", "criterion")})
    options = {"sen_file": str(finished.folder / "sen.pickle"), "loss_tolerance": TOLERANCE}

    def plan(**changes):
        prune = {**problem.config.tree["Prune"], **options, **changes}
        config = replace(problem.config, tree={**problem.config.tree, "Prune": prune})
        return choose_plan(PrunableNetwork(problem.model, problem.graph, config)).plan.ratios

    made = plan()
    for name, group in zip(LAYERS, GROUPS):
        units = problem.graph.groups[group].size
        assert made.get(group, 0.0) == pytest.approx(finished.record["layers"][name]["ratio"], abs=0.5001 / units), name
    assert "goes on from there" not in caplog.text
    with caplog.at_level(logging.WARNING):
        plan(loss_tolerance=0.3)
    assert "-o Prune.loss_tolerance=0.3 goes on from there" in caplog.text


@pytest.mark.slow
def test_another_tolerance_goes_on_and_the_exact_mode_completes_the_table(
    problem, finished, traced_once, tmp_path, exact
):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    before = images_in(entries(tmp_path))
    looser = analyse_at(problem, GROUPS[1:2], RATIOS, tmp_path, replace(ADAPTIVE, tolerance=0.3)).measured
    found = looser.record["layers"][LAYERS[1]]
    assert found["settled"] and found["ratio"] == pytest.approx(ratio_by_loss(exact[LAYERS[1]], 0.3), abs=0.05)
    assert images_in(entries(tmp_path)) - before < len(RATIOS) * IMAGES, "what was measured counts"
    whole = analyse_at(problem, GROUPS[1:2], RATIOS, tmp_path, FAST).measured
    assert whole.table[LAYERS[1]] == exact[LAYERS[1]] and images_once(tmp_path, IMAGES)


def test_a_budget_that_ends_before_the_first_point_leaves_a_folder_to_go_on_from(problem, traced_once, tmp_path):
    found = analyse_at(problem, GROUPS, RATIOS, tmp_path, replace(ADAPTIVE, engine="dygraph", minutes=1e-9)).measured
    assert len(found.baseline) == IMAGES and read_json(tmp_path / "sen.json", "")["baseline"]["hmean"] > 0
    told = _show(SensitivityResult(replace(problem, groups=GROUPS, ratios=RATIOS), found, ADAPTIVE))
    assert (told["settled"], told["points"], told["groups"]) == (0, 0, len(GROUPS))
    with pytest.raises(ArtifactError, match="holds no measured point"):
        load_table(tmp_path / "sen.pickle", problem.graph, problem.architecture, {}, TOLERANCE)


def test_the_command_tells_the_ratios_and_how_sure_they_are(problem, finished, capsys):
    told = _show(SensitivityResult(replace(problem, groups=GROUPS, ratios=RATIOS), finished, ADAPTIVE))
    printed = capsys.readouterr().out
    assert told["settled"] == told["groups"] == len(LAYERS)
    assert all(name in printed for name in LAYERS)
    assert all((finished.folder / name).stat().st_size > 0 for name in ("sen.png", "sen_curves.png"))
