"""Pruning what is pruned already, and in rounds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ocrslim.commands.prune import run_prune
from ocrslim.config.config import load_config
from ocrslim.data.eval_set import scan_both
from ocrslim.errors import ArtifactError, ConfigError
from ocrslim.formats.sensitivity_table import read_sensitivities, write_sensitivities
from ocrslim.models import save_checkpoint, state_arrays
from ocrslim.pruning.loading import load_base_network, load_network
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.prunable import load_prunable_network
from ocrslim.pruning.surgery.cutting import apply_plan
from ocrslim.selection import iterative as rounds
from ocrslim.selection import jobs
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import choose_plan
from ocrslim.selection.iterative import early_rounds

P2, CONV10 = "neck.p2_conv.weight", "conv10_expand_weights"
LAYERS = "Prune.layers=[neck.p2*, conv10_expand*]"


@pytest.fixture(scope="module")
def options(rendered_options, pp_ocrv2):
    return [
        *rendered_options,
        f"Global.pretrain_weights={pp_ocrv2}",
        "Prune.ratios=[0.25,0.5,0.75]",
        LAYERS,
        "Prune.recover_images=4",
        "Prune.skip_loss=1.0",
        "Prune.workers=1",
        "Train.dataset.transforms.EastRandomCropData.size=[64,64]",
    ]


def table(folder, *names):
    """A table in which all layers lose the same."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sensitivities(folder / "sen.pickle", {name: {0.25: 0.01, 0.5: 0.02, 0.75: 0.05} for name in names})
    return folder / "sen.pickle"


def test_a_pruned_checkpoint_is_pruned_further(v2_config, options, tmp_path):
    aimed = [
        *options,
        f"Prune.sen_file={table(tmp_path, P2, CONV10)}",
        "Prune.target={macs: 0.1}",
        "Prune.criterion=fpgm",
    ]
    first = load_prunable_network(load_config(v2_config, aimed))
    one = choose_plan(first).plan
    apply_plan(first.model, one)
    one.save(tmp_path / "half.plan.json")
    save_checkpoint(first.model, tmp_path / "half.pdparams")

    again = load_config(v2_config, [*aimed, f"Global.pretrain_weights={tmp_path}/half"])
    second = load_prunable_network(again)
    assert second.plan == one and second.graph.groups[P2].size < first.graph.groups[P2].size
    choice = choose_plan(second)
    whole = choice.plan.after(second.plan)
    apply_plan(second.model, choice.plan)
    whole.save(tmp_path / "twice.plan.json")
    save_checkpoint(second.model, tmp_path / "twice.pdparams")
    assert choice.after.macs <= 0.9 * choice.before.macs <= 0.9 * 0.9 * 4_397_055_360

    loaded = load_network(load_config(v2_config, [*options, f"Global.pretrain_weights={tmp_path}/twice"]))
    found, expected = state_arrays(loaded.model), state_arrays(second.model)
    assert all(np.array_equal(found[key], expected[key]) for key in expected)
    assert loaded.plan == Plan.load(tmp_path / "twice.plan.json")


@pytest.mark.slow
def test_rounds_reach_the_target_measure_anew_and_are_not_repeated(v2_config, options, tmp_path, monkeypatch):
    words = [*options, f"Prune.sen_file={table(tmp_path, P2, CONV10)}", f"Global.save_model_dir={tmp_path}/out"]
    words += ["Prune.target={macs: 0.2}", "Prune.rounds=2", "Global.epoch_num=1", "Global.eval_batch_step=[0,100]"]
    words += ["Prune.criterion=fpgm"]
    config = load_config(v2_config, words)
    result = run_prune(config)
    assert result["macs_before"] == 4_397_055_360 and result["macs"][1] <= 0.8 * result["macs_before"]
    record = json.loads((tmp_path / "out/round_1/round.json").read_text())
    assert 0.8 < record["left"] <= 0.8**0.5, "half the way, in equal parts of what is left"
    measured = read_sensitivities(tmp_path / "out/round_1/sen.pickle")
    assert set(measured) == {P2, CONV10} and measured != read_sensitivities(tmp_path / "sen.pickle")
    plan = Plan.load(tmp_path / "out/best_accuracy.plan.json")
    assert plan.since(Plan.load(tmp_path / "out/round_1/pruned.plan.json")).cuts, "the second round cuts as well"

    before = (tmp_path / "out/round_1/pruned.pdparams").stat().st_mtime_ns
    monkeypatch.setattr(CandidateScores, "refit", _never)
    last = rounds_of(config)
    assert last.origin == {"round 1": record["plan"]}
    assert (tmp_path / "out/round_1/pruned.pdparams").stat().st_mtime_ns == before
    other = load_config(v2_config, [*words, "Prune.skip_first=0"])
    with pytest.raises(ArtifactError, match=r"round.json: a round of another run.*Global.overwrite=true"):
        rounds_of(other)


def test_rounds_need_a_target_and_one_process(v2_config, options, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"Prune.rounds.*without Prune.target"):
        load_config(v2_config, [*options, "Prune.rounds=3"])
    config = load_config(v2_config, [*options, "Prune.rounds=3", "Prune.target={macs: 0.2}"])
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(ConfigError, match=r"Prune.rounds: 3 under paddle.distributed.launch"):
        rounds_of(config)


def rounds_of(config):
    data = scan_both(config)
    return early_rounds(config, data[0], CandidateScores(config, load_base_network(config), data))


def _never(*_):
    raise AssertionError("refitted again")


@pytest.mark.slow
def test_of_plans_that_reach_the_target_the_best_is_taken_and_none_is_tried_twice(
    v2_config, options, tmp_path, caplog, monkeypatch
):
    caplog.set_level("INFO", "ocrslim")
    folder = f"Global.save_model_dir={tmp_path}"
    losses = {P2: {0.25: 0.001, 0.5: 0.02, 0.75: 0.04}, CONV10: {0.25: 0.0, 0.5: 0.0, 0.75: 0.001}}
    losses["neck.p3_conv.weight"] = {0.25: 0.001, 0.5: 0.02, 0.75: 0.04}
    write_sensitivities(tmp_path / "sen.pickle", losses)
    words = [folder, "Prune.target={macs: 0.25}", "Prune.align=1", "Prune.criterion=fpgm"]
    config = load_config(v2_config, [*options, *words])
    trials = CandidateScores(config, load_base_network(config), scan_both(config))
    scored, found = load_prunable_network(config), {}

    def trial(plan):
        found[plan.hash()] = trials.score(config, plan)
        return found[plan.hash()]

    chosen = choose_plan(scored, trial)
    assert len(found) >= 2 and found[chosen.plan.hash()] == max(found.values())
    assert f"{len(found)} candidate plans" in caplog.text
    assert set(json.loads((tmp_path / "trials.json").read_text()).values()) == set(found.values())
    monkeypatch.setattr(CandidateScores, "refit", _never)
    assert choose_plan(scored, trial).plan == chosen.plan, "the scores are known"
    worst = min(found, key=lambda plan: found[plan])
    assert choose_plan(scored, lambda plan: float(plan.hash() == worst)).plan.hash() == worst, "a control"


@pytest.mark.slow
def test_by_reconstruction_no_table_is_needed_and_a_collapse_is_still_told(
    v2_config, options, tmp_path, capsys, caplog, monkeypatch
):
    words = [*options, f"Global.save_model_dir={tmp_path}/out", "Prune.criterion=reconstruction"]
    words += ["Prune.target={macs: 0.5}", "Global.epoch_num=1", "Global.eval_batch_step=[0,100]"]
    monkeypatch.setattr(jobs, "_COLLAPSED", 1.01)
    monkeypatch.setattr(rounds, "measure", _never)
    caplog.set_level("INFO", "ocrslim")
    result = run_prune(load_config(v2_config, [*words, "Prune.rounds=2"]))
    told = capsys.readouterr().out + caplog.text
    assert result["macs"][1] <= 0.5 * 4_397_055_360
    assert "2 candidate plans" in told and "sensitivity table" not in told and "the divergence of the network" in told
    assert "before training and 0." in caplog.text
    assert not list(tmp_path.rglob("sen.*")), "nothing was measured"


def test_a_collapse_without_training_is_not_said_to_be_too_much_for_one(v2_config, options, caplog):
    for epochs, said in ((0, True), (1, False)):
        caplog.clear()
        jobs._warn_of_collapse(load_config(v2_config, [*options, f"Global.epoch_num={epochs}"]), {"hmean": 0.1}, 0.9)
        assert "hmean is 0.1000" in caplog.text and "too much was pruned at once" in caplog.text
        assert ("training" not in caplog.text) == said


@pytest.mark.slow
def test_by_reconstruction_what_others_make_up_for_goes_before_what_scores_low(v2_config, options):
    """PP-OCRv2's finest map is nearly a mixture of the others; by the table of the channels' own losses it is not."""
    words = [*options, "Prune.criterion=reconstruction", "Prune.target={macs: 0.3}"]
    scored = load_prunable_network(load_config(v2_config, words))
    errors = {name: removal.losses for name, removal in scored.removals.items()}
    assert set(errors) == set(scored.graph.groups)
    assert errors[P2][16 / 24] < 0.1 * errors["head.binarize.conv1.weight"][16 / 24]
    chosen = choose_plan(scored)
    ratios = chosen.plan.ratios
    assert ratios[P2] > 0.5 and ratios[P2] > ratios.get("head.binarize.conv1.weight", 0)
    assert chosen.selection.saving >= 0.3
    same = {name: scored.channel_pruner().removed(name, ratio) for name, ratio in ratios.items()}
    assert same == {name: tuple(sorted(scored.removals[name].order[: len(gone)])) for name, gone in same.items()}
