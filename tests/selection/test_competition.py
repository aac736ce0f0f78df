"""Which of several candidate plans is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_iterative import CONV10, P2

from ocrslim.cli import main
from ocrslim.config.config import load_config
from ocrslim.formats import write_sensitivities
from ocrslim.pruning.prunable import PrunableNetwork
from ocrslim.pruning.refit.reconstruction import ERROR_WEIGHTS
from ocrslim.selection import trials as trial_trainings
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.competition import Candidate, Trials, compete, trained_at_most
from ocrslim.selection.recipes import recipes_of
from ocrslim.selection.select import blocks_to_skip


@dataclass(frozen=True)
class Named:
    """A plan of which only the name is asked."""

    plan: str

    def candidate(self, score: float) -> Candidate:
        return Candidate(self.plan, 1, 0.5, score)


def compared(before: dict[str, float], trained: dict[str, float], epochs: int):
    """The winner, the candidates, and who was trained for how long."""
    asked = []

    def train(one: Named, length: int) -> float:
        asked.append((one.plan, length))
        return trained[one.plan] + 0.01 * length

    choices = [Named(name) for name in before]
    winner, known = compete(choices, before.__getitem__, Trials(lambda best: epochs, train) if epochs else None)
    return winner.plan, {one.recipe: one for one in known}, asked


def test_without_training_the_first_of_the_best_is_used():
    winner, known, _ = compared({"a": 0.5, "b": 0.7, "c": 0.7}, {}, 0)
    assert winner == "b" and [name for name, one in known.items() if one.used] == ["b"]
    assert {name: one.score for name, one in known.items()} == {"a": 0.5, "b": 0.7, "c": 0.7}


def test_the_better_half_is_trained_on_for_longer_and_the_last_score_decides():
    before = {"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.4, "e": 0.1}
    winner, known, asked = compared(before, {"a": 0.5, "b": 0.2, "c": 0.3, "d": 0.6, "e": 0.9}, 16)
    assert asked == [("b", 2), ("c", 2), ("a", 2), ("d", 2), ("d", 4), ("a", 4)], "e is left out by its first score"
    assert winner == "d" and known["d"].used and known["d"].trained == pytest.approx((0.62, 0.64))
    assert known["e"].trained == () and len(known["b"].trained) == 1


@pytest.mark.parametrize(
    ("candidates", "epochs", "many"), [(3, 1, 1), (3, 4, 2), (3, 6, 3), (4, 7, 3), (9, 8, 4), (1, 99, 1)]
)
def test_no_more_are_trained_than_an_epoch_each_allows(candidates, epochs, many):
    assert trained_at_most(candidates, epochs) == many


def network(config, competing=ERROR_WEIGHTS[1:], others=("fpgm",)) -> PrunableNetwork:
    config = config.changed({"Prune.criterion": "reconstruction"})
    return PrunableNetwork(None, None, config, None, competing=tuple(competing), others=tuple(others))


def test_a_table_takes_part_where_there_is_one(v2_config, rendered_options, tmp_path):
    target = [*rendered_options, f"Global.save_model_dir={tmp_path}", "Prune.target={macs: 0.3}"]
    named = [recipe.name for recipe in recipes_of(network(load_config(v2_config, target)))]
    assert named == [
        "reconstruction, 1 x variance + 4 x divergence",
        "reconstruction, 0.01 x variance + 4 x divergence",
    ]
    write_sensitivities(tmp_path / "sen.pickle", {P2: {0.5: 0.01}})
    recipes = recipes_of(network(load_config(v2_config, target)))
    assert [recipe.exponent for recipe in recipes if recipe.weights is None] == [1.0, 1.5, 2.0]
    assert {recipe.criterion for recipe in recipes} == {"reconstruction", "fpgm"}
    alone = recipes_of(network(load_config(v2_config, target), competing=(), others=()))
    assert len(alone) == 1, "a control: where the criterion is named and nothing is scored"


def test_blocks_near_the_input_are_skipped_by_a_table_and_not_by_errors(v2_config, rendered_options):
    config = load_config(v2_config, [*rendered_options, "Prune.target={macs: 0.3}"])
    by = {name: config.changed({"Prune.criterion": name}).prune for name in ("fpgm", "reconstruction")}
    assert {name: blocks_to_skip(options) for name, options in by.items()} == {"fpgm": 4, "reconstruction": 0}
    asked = config.changed({"Prune.criterion": "reconstruction", "Prune.skip_first": 2}).prune
    assert blocks_to_skip(asked) == 2


@pytest.mark.slow
def test_candidates_are_trained_briefly_and_none_of_it_is_done_twice(
    v2_config, rendered_options, pp_ocrv2, tmp_path, monkeypatch
):
    losses = {P2: {0.25: 0.001, 0.5: 0.02, 0.75: 0.04}, CONV10: {0.25: 0.0, 0.5: 0.0, 0.75: 0.001}}
    losses["neck.p3_conv.weight"] = {0.25: 0.001, 0.5: 0.02, 0.75: 0.04}
    write_sensitivities(tmp_path / "sen.pickle", losses)
    words = [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}", f"Global.save_model_dir={tmp_path}"]
    words += ["Prune.criterion=fpgm", "Prune.target={macs: 0.25}", "Prune.align=1", "Prune.skip_loss=1.0"]
    words += ["Prune.recover_images=4", "Train.dataset.transforms.EastRandomCropData.size=[64,64]"]
    words += ["Global.epoch_num=10", "Global.eval_batch_step=[0,100]"]
    command = ["prune", "-c", str(v2_config), "--json", "-o", *words]
    lengths, real = [], trial_trainings.fit

    def fit(job, callback):
        lengths.append(job.config.get("Global.epoch_num"))
        assert Path(job.config.save_model_dir).parent == tmp_path / "trials"
        return real(job, callback)

    monkeypatch.setattr(trial_trainings, "fit", fit)
    assert main(command) == 0
    plans = json.loads((tmp_path / "plans.json").read_text())["candidates"]
    trained = [one for one in plans if one["trained"]]
    assert lengths == [1, 1] and len(trained) == 2 < len(plans) + 1
    used = next(one for one in plans if one["used"])
    assert used["trained"][-1] == max(one["trained"][-1] for one in trained)
    assert not list((tmp_path / "trials").iterdir()), "their checkpoints are gone"
    monkeypatch.setattr(trial_trainings, "fit", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(CandidateScores, "refit", lambda *_: pytest.fail("refitted again"))
    assert main(command) == 0
