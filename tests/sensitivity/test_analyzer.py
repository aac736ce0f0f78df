"""The exact table: the same on the runtime as in dygraph, whatever interrupted it; of what the record says it is of."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sensitivity_case import (
    FAST,
    GROUPS,
    HASHES,
    PLAIN,
    PUBLIC,
    RATIOS,
    analyse_at,
    entries,
    images_once,
    problem,
    problem_of,
    traced_once,
    undisturbed,
)

from ocrslim import commands
from ocrslim.config.config import load_config
from ocrslim.data import EvalSet
from ocrslim.errors import ArtifactError, ConfigError, DataError, GraphError
from ocrslim.formats.sensitivity_table import read_sensitivities
from ocrslim.models import state_arrays
from ocrslim.pruning import prunable as scoring
from ocrslim.pruning.loss_rules import loss_of
from ocrslim.sensitivity import run
from ocrslim.sensitivity.results.journal import Journal
from ocrslim.sensitivity.settings import Settings
from ocrslim.sensitivity.workers import backends
from ocrslim.sensitivity.workers.pool import ProcessWorkers, ThisProcess
from ocrslim.sensitivity.workers.variants import DygraphRunner, RuntimeVariants
from ocrslim.utils.files import read_json

__all__ = ["problem", "traced_once", "undisturbed"]

IMAGES = 4


def same_table(folder, undisturbed):
    return (folder / "sen.pickle").read_bytes() == (undisturbed.measured.folder / "sen.pickle").read_bytes()


def test_the_runtime_gives_the_table_of_dygraph_and_leaves_the_model_alone(problem, undisturbed, traced_once, tmp_path):
    from paddleslim.prune import load_sensitivities

    before = state_arrays(problem.model)
    found = analyse_at(problem, GROUPS, RATIOS, tmp_path, replace(FAST, memory=1 << 20))
    assert found.usage.engine == "paddle_inference_onednn" and found.usage.cached[1] > 0
    assert found.measured.table == undisturbed.measured.table and same_table(tmp_path, undisturbed)
    after = state_arrays(problem.model)
    assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)
    table = load_sensitivities(str(tmp_path / "sen.pickle"))
    assert {name: sorted(losses) for name, losses in table.items()} == {name: [0.3, 0.6] for name in PUBLIC}
    assert table["neck.in2_conv.weight"][0.6] > table["neck.in2_conv.weight"][0.3]
    assert {path.name for path in tmp_path.iterdir()} == {"sen.pickle", "sen.json", "sen.jsonl"}


def test_the_record_says_what_was_measured(undisturbed):
    record = read_json(undisturbed.measured.folder / "sen.json", "")
    assert record["hashes"] == HASHES and record["images"] == IMAGES and 0.3 < record["baseline"]["hmean"] <= 1
    assert (record["mode"], record["engine"], record["criterion"]) == ("exact", "dygraph", "fpgm")
    assert "head.binarize.conv3.weight" in record["unprunable"] and record["config"]["Architecture"]
    assert [layer["settled"] for layer in record["layers"].values()] == [True] * 3
    points = record["layers"][PUBLIC[0]]["points"]
    assert {p["how"] for p in points.values()} == {"measured"} and {p["images"] for p in points.values()} == {IMAGES}
    assert points["0.6"]["loss"] == undisturbed.measured.table[PUBLIC[0]][0.6]


@pytest.mark.parametrize("after", [2, IMAGES + 2, 2 * IMAGES, 3 * IMAGES + 1], ids="after {} images".format)
def test_interrupted_anywhere_it_ends_with_the_file_of_an_undisturbed_run(
    problem, undisturbed, tmp_path, monkeypatch, after
):
    """The first images are those of the baseline, which counts as a whole; of points no image is lost."""
    real, seen = DygraphRunner.__call__, []

    def interrupted(self, index):
        if len(seen) == after:
            raise KeyboardInterrupt
        seen.append(index)
        return real(self, index)

    before = state_arrays(problem.model)
    with monkeypatch.context() as patched:
        patched.setattr(DygraphRunner, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            analyse_at(problem, GROUPS, RATIOS, tmp_path, PLAIN)
    kept = images_once(tmp_path, IMAGES)
    assert sum(kept.values()) == (after if after >= IMAGES else 0)
    assert all(np.array_equal(before[key], value) for key, value in state_arrays(problem.model).items()), "put back"
    seen.clear()
    monkeypatch.setattr(DygraphRunner, "__call__", lambda self, index: seen.append(index) or real(self, index))
    analyse_at(problem, GROUPS, RATIOS, tmp_path, PLAIN)
    assert len(seen) == IMAGES * (1 + len(GROUPS) * len(RATIOS)) - sum(kept.values()), "no image again"
    assert set(images_once(tmp_path, IMAGES).values()) == {IMAGES} and same_table(tmp_path, undisturbed)


def test_what_was_just_written_down_is_not_written_again_when_interrupted(problem, undisturbed, tmp_path, monkeypatch):
    """The signal comes between the line in the journal and what follows it."""
    append, seen = Journal.append, []

    def interrupted(journal, entry):
        append(journal, entry)
        if entry.layer is not None:
            seen.append(entry)
            if len(seen) == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Journal, "append", interrupted)
        analyse_at(problem, GROUPS, RATIOS, tmp_path, PLAIN)
    assert len(images_once(tmp_path, IMAGES)) == 3, "the unpruned network and two points, each once"
    analyse_at(problem, GROUPS, RATIOS, tmp_path, PLAIN)
    assert set(images_once(tmp_path, IMAGES).values()) == {IMAGES} and same_table(tmp_path, undisturbed)


def test_what_is_finished_is_not_measured_again_and_more_is_added(problem, undisturbed, tmp_path, monkeypatch, caplog):
    shutil.copytree(undisturbed.measured.folder, tmp_path, dirs_exist_ok=True)
    before = entries(tmp_path)
    with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
        patched.setattr(ProcessWorkers, "set_up", None)
        patched.setattr(ThisProcess, "__enter__", None)
        assert analyse_at(problem, GROUPS, RATIOS, tmp_path).measured.table == undisturbed.measured.table
    assert "continues with 6 points measured" in caplog.text and same_table(tmp_path, undisturbed)
    more = analyse_at(problem, GROUPS[:1], (0.2, *RATIOS), tmp_path, PLAIN)
    assert sorted(more.measured.table[PUBLIC[0]]) == [0.2, 0.3, 0.6] and set(more.measured.table) == set(PUBLIC)
    assert entries(tmp_path) == [*before, (PUBLIC[0], 0.2, 0, IMAGES)]


def test_overwriting_starts_over_once_and_then_continues(problem, undisturbed, tmp_path, monkeypatch):
    shutil.copytree(undisturbed.measured.folder, tmp_path, dirs_exist_ok=True)
    real, seen = DygraphRunner.__call__, []

    def interrupted(self, index):
        seen.append(index)
        if len(seen) == IMAGES + 3:
            raise KeyboardInterrupt
        return real(self, index)

    monkeypatch.setattr(DygraphRunner, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyse_at(problem, GROUPS[:1], RATIOS, tmp_path, PLAIN, overwrite=True)
    assert entries(tmp_path) == [(None, 0.0, 0, IMAGES), (PUBLIC[0], 0.3, 0, 2)]
    analyse_at(problem, GROUPS[:1], RATIOS, tmp_path, PLAIN, overwrite=True)
    assert entries(tmp_path)[2:] == [(PUBLIC[0], 0.3, 2, 2), (PUBLIC[0], 0.6, 0, IMAGES)]


def test_a_baseline_of_zero_is_refused(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(DygraphRunner, "__call__", lambda *_: np.zeros((1, 1, 192, 192), np.float32))
    with pytest.raises(DataError, match=f"hmean 0 on {IMAGES} images: there is nothing to lose"):
        analyse_at(problem, GROUPS, RATIOS, tmp_path, PLAIN)
    assert not list(tmp_path.iterdir())


def _untraceable(problem, monkeypatch):
    def fails(*_, **__):
        raise GraphError("cannot be traced")

    monkeypatch.setattr(backends, "traced_for_task", fails)
    return "cannot be traced"


def _unknown_operator(problem, monkeypatch):
    real = backends.traced_for_task

    def foreign(*arguments, **options):
        program = real(*arguments, **options)
        at = next(i for i, op in enumerate(program.ops) if op.name.startswith("pd_op.relu") or op.name == "relu")
        ops = [*program.ops[:at], replace(program.ops[at], name="mystery"), *program.ops[at + 1 :]]
        return replace(program, ops=ops)

    monkeypatch.setattr(backends, "traced_for_task", foreign)
    return "mystery"


def _wrong_output(problem, monkeypatch):
    real = RuntimeVariants._proof

    def wrong(self, group, cuts):
        proof = real(self, group, cuts)
        return proof if proof is None or group is None else replace(proof, expected=proof.expected + 0.5)

    monkeypatch.setattr(RuntimeVariants, "_proof", wrong)
    return "output is off by"


def test_a_variant_may_differ_as_far_as_it_enlarges_rounding_itself(problem):
    """Cut recognisers enlarge it a hundred times as far as whole ones: their probabilities are less sure."""
    images = EvalSet(problem.labelled, problem.config, 1 << 30)
    variants = RuntimeVariants(problem.model, problem.graph, images, problem.pruner, problem.task)
    moved = [variants.variant(group, 0.6).proof.moved for group in (None, *GROUPS)]
    assert len(set(moved)) == len(moved)
    assert variants.variant(GROUPS[0], 0.3).proof is None  # once for each group


@pytest.mark.parametrize("how", [_untraceable, _unknown_operator, _wrong_output], ids=lambda how: how.__name__[1:])
def test_what_the_runtime_cannot_do_is_said_once_and_done_in_dygraph(
    problem, undisturbed, traced_once, tmp_path, monkeypatch, caplog, how
):
    says = how(problem, monkeypatch)
    with caplog.at_level(logging.WARNING):
        found = analyse_at(problem, GROUPS, RATIOS, tmp_path, FAST)
    slow = [line for line in caplog.messages if "runs in dygraph instead" in line]
    assert len(slow) == 1 and says in slow[0] and caplog.messages == slow
    assert found.usage.engine == "dygraph" == read_json(tmp_path / "sen.json", "")["engine"]
    assert same_table(tmp_path, undisturbed)


@pytest.fixture
def copied(rendered, tmp_path):
    """A data set of its own, to be changed."""
    return shutil.copytree(rendered / "eval", tmp_path / "eval")


def test_changed_data_weights_or_settings_are_refused_by_name(
    problem, v2_config, pp_ocrv2, rendered_options, copied, tmp_path, monkeypatch, no_pictures
):
    monkeypatch.setattr(scoring, "model_graph", lambda model, task, tree: problem.graph)
    other = tmp_path / "other.pdparams"
    options = [
        *rendered_options,
        f"Eval.dataset.data_dir={copied}/images",
        f"Eval.dataset.label_file_list=[{copied}/label.txt]",
        f"Global.pretrain_weights={pp_ocrv2}",
        f"Global.save_model_dir={tmp_path}/out",
        *("Prune.engine=dygraph", "Prune.ratios=[0.3]", f"Prune.layers=[{PUBLIC[0]}]"),
    ]

    def run(*changes):
        return commands.run_sensitivity(load_config(v2_config, [*options, *changes]))

    assert run()["points"] == 1
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    arrays = state_arrays(problem.model)
    arrays["neck.in2_conv.weight"] = arrays["neck.in2_conv.weight"] * 1.5
    import paddle

    paddle.save(arrays, str(other))
    for change, what in (
        (f"Global.pretrain_weights={other}", "other weights than"),
        ("Prune.criterion=l1", r"other criterion than this run's \(criterion: fpgm there, l1 here\)"),
        ("PostProcess.box_thresh=0.7", "other post-processing than"),
        ("Eval.dataset.transforms.DetResizeForTest={image_shape: [160, 192]}", "other evaluation data than"),
    ):
        with pytest.raises(ArtifactError, match=f"{what}.*choose another folder"):
            run(change)
    label, image = copied / "label.txt", sorted((copied / "images").iterdir())[0]
    for path, content in ((label, label.read_bytes()[: label.read_bytes().rfind(b"\n", 0, -1) + 1]),
                          (image, sorted((copied / "images").iterdir())[1].read_bytes())):  # fmt: skip
        original = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="other evaluation data than"):
            run()
        path.write_bytes(original)
    for name, content in before.items():
        assert (tmp_path / "out" / name).read_bytes() == content, f"{name} is as it was"
    assert run()["points"] == 1, "changed back, it goes on"


GOOD = {
    "Prune.mode=adaptive": Settings(mode="adaptive"),
    "Prune.engine=dygraph": Settings(engine="dygraph"),
    "Prune.workers=3": Settings(workers=3),
    "Prune.cache_gib=0.5": Settings(memory=1 << 29),
    "Prune.cache_gib=0": Settings(memory=0),
    "Prune.budget_minutes=0.02": Settings(minutes=0.02),
    "Prune.loss_tolerance=0.1": Settings(tolerance=0.1),
}
BAD = {
    "Prune.mode=quick": "exact, adaptive",
    "Prune.engine=tensorrt": "auto, dygraph",
    "Prune.workers=0": "whole number from 1 to 1024",
    "Prune.workers=1.5": "whole number from 1 to 1024",
    "Prune.cache_gib=-1": "at least 0",
    "Prune.cache_gib=much": "at least 0",
    "Prune.budget_minutes=0": "minutes, more than 0",
    "Prune.budget_minutes=[1]": "minutes, more than 0",
    "Prune.shard=0/2": "such as 2/8",
    "Prune.shard=3/2": "such as 2/8",
    "Prune.shard=2": "such as 2/8",
}


@pytest.mark.parametrize("option", GOOD)
def test_settings_are_taken(v2_config, option):
    found = run.settings_of(load_config(v2_config, ["Prune.cache_gib=1", option]))
    assert found == GOOD[option]


@pytest.mark.parametrize("option", BAD)
def test_a_wrong_setting_is_refused_with_what_is_expected(v2_config, option):
    with pytest.raises(ConfigError, match=rf"-o {option.split('=')[0]}.*: found .*{BAD[option]}") as caught:
        load_config(v2_config, [option])
    assert len(caught.value.problems) == 1


def test_loss_is_paddleslims():
    assert loss_of(0.5, 0.25) == pytest.approx(0.25 / 0.501)
    assert loss_of(0.5, 0.6) < 0


@pytest.mark.slow
def test_reference_table_of_paddleslim(shared, v2_config, pp_ocrv2, tmp_path):
    """PaddleSlim's own pruner and tracer, PaddleOCR's own evaluation: the same losses to 1e-6.

    Three of the points here; benchmarks/reference_table.py compares the rest.
    """
    reference = json.loads((shared / "reference/icdar2015_val20_fpgm.json").read_text())
    labels = (shared / "data/icdar2015/val.txt").read_text(encoding="utf-8").splitlines()[:20]
    (tmp_path / "val20.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    options = [
        f"Global.pretrain_weights={pp_ocrv2}",
        f"Eval.dataset.data_dir={shared}/data/icdar2015/images",
        f"Eval.dataset.label_file_list=[{tmp_path}/val20.txt]",
        "Eval.dataset.transforms.DetResizeForTest={image_shape: [736, 1280]}",
    ]
    real = problem_of(load_config(v2_config, options))
    points = {
        0.3: ["backbone.stage2.4.linear_conv.conv.weight", "neck.in2_conv.weight"],
        0.2: ["head.binarize.conv1.weight"],
    }
    assert set(real.graph.groups) > set(reference["sensitivities"]), "all that PaddleSlim finds, and more"
    for ratio, names in points.items():
        measured = analyse_at(real, names, [ratio], tmp_path / "out").measured
        assert measured.record["baseline"]["hmean"] == pytest.approx(reference["baseline_hmean"], abs=1e-6)
        table = read_sensitivities(tmp_path / "out/sen.pickle")
        for name in names:
            found = table[real.public(name)][ratio]
            assert found == pytest.approx(reference["sensitivities"][name][f"{ratio:g}"], abs=1e-6)
