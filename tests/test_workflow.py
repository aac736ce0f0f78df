"""The three scripts and the small commands on real weights.

The walk through the scripts, one command, and whatever is ended by a signal: in processes of their own, as a user runs
them. What only has to give a result or a line of error, in this one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import run_here
from sensitivity_case import images_once
from waiting import PATIENCE, wait_until

from ocrslim.cli import main, run_script
from ocrslim.formats.sensitivity_table import read_sensitivities

SCRIPTS = {
    "sensitivity": "sensitivity_anal.py",
    "prune": "pruning_and_finetune.py",
    "export": "export_prune_model.py",
}
LAYERS = "Prune.layers=[neck.p2*, conv10_expand*, conv1_weights]"


def script(repo, stage):
    return [sys.executable, str(repo / "deploy/slim/prune" / SCRIPTS[stage])]


def script_here(stage, words, folder):
    return run_here(functools.partial(run_script, stage), words, folder)


def run(words, **options):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=PATIENCE, **options)


def result_of(done):
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def options(rendered_options, pp_ocrv2):
    return [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}", "Prune.ratios=[0.2,0.3,0.5,0.6]", LAYERS]


@pytest.fixture(scope="module")
def workflow(repo, v2_config, options, tmp_path_factory):
    """One walk through all three scripts, in an empty folder far from the repository."""
    folder = tmp_path_factory.mktemp("workflow")
    changes = [*options, "Global.save_model_dir=out", "Global.epoch_num=2", "Global.eval_batch_step=[0,2]"]
    changes += ["Prune.skip_loss=0.5", "Prune.loss_tolerance=0.3", "Optimizer.lr.warmup_epoch=0"]
    common = ["-c", v2_config, "--json", "-o", *changes]
    results = {}
    for stage in ("sensitivity", "prune"):
        results[stage] = result_of(run([*script(repo, stage), *common], cwd=folder))
    pruned = ["Global.pretrain_weights=out/best_accuracy", "Global.save_inference_dir=inference_model"]
    results["export"] = result_of(run([*script(repo, "export"), *common, *pruned], cwd=folder))
    return folder, results, changes


def test_each_script_leaves_its_artifact_for_the_next(workflow):
    folder, results, _ = workflow
    table = read_sensitivities(folder / "out/sen.pickle")
    assert set(table) == {"conv1_weights", "conv10_expand_weights", "neck.p2_conv.weight"}
    assert results["sensitivity"]["points"] == 12 and results["sensitivity"]["baseline"]["hmean"] > 0.3
    macs_before, macs_after = results["prune"]["macs"]
    assert macs_before == 4_397_055_360 and macs_after < 0.95 * macs_before
    plan = json.loads((folder / "out/best_accuracy.plan.json").read_text())
    assert "conv1_weights" in plan["skipped"] and "conv1_weights" not in plan["layers"]
    assert plan["layers"]["neck.p2_conv.weight"]["0"]["size"] == 24
    assert plan["layers"]["head.binarize.conv1.weight"]["1"]["size"] == 96, "through the concat"
    assert plan["layers"]["head.thresh.conv1.weight"]["1"]["size"] == 96, "into the branch that only training runs"
    assert (folder / "out/config.yml").is_file()
    assert results["export"]["pruned"] is True
    assert max(results["export"]["max_difference"].values()) < 1e-4
    exported = json.loads((folder / "inference_model/export.json").read_text())
    assert exported["config"]["Global"]["save_model_dir"] == "out"


def test_checkpoint_and_export_score_the_same(workflow, v2_config):
    folder, results, changes = workflow
    words = ["eval", "-c", v2_config, "--json", "-o", *changes]
    ocrslim = Path(sys.executable).with_name("ocrslim")
    scores = [
        result_of(run([ocrslim, *words, "Global.pretrain_weights=out/best_accuracy"], cwd=folder)),
        result_of(run_here(main, [*words, "Global.pretrain_weights=inference_model"], folder)),
    ]
    for name in ("precision", "recall", "hmean"):
        assert scores[0][name] == pytest.approx(scores[1][name], abs=1e-9)
    assert scores[0]["hmean"] == pytest.approx(results["prune"]["best"]["hmean"], abs=1e-9)


def test_predict_draws_and_lists_what_it_found(workflow, v2_config, rendered):
    folder, _, changes = workflow
    words = ["predict", "-c", v2_config, "--json", "--images", rendered / "eval/images", "--out", "seen"]
    result = result_of(run_here(main, [*words, "-o", *changes, "Global.pretrain_weights=inference_model"], folder))
    boxes = json.loads((folder / "seen/boxes.json").read_text())
    assert result["images"] == len(boxes) == 4
    assert sum(map(len, boxes.values())) >= 4
    assert all(len(point) == 2 for found in boxes.values() for box in found for point in box)
    assert len(list((folder / "seen").glob("*.png"))) == 4


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(workflow, repo, v2_config):
    folder, results, changes = workflow
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    words = ["prune", "-c", v2_config, "--json", "--dry-run", "-o", *changes]
    plain = run_here(main, words, folder)
    told = result_of(plain)
    assert told["macs"] == results["prune"]["macs"] and told["params"] == results["prune"]["params"]
    assert told["predicted_loss"] is None and "conv1_weights" in plain.stdout
    assert (
        "layers are refitted before training" in plain.stdout and "joint loss of the pruned layers" not in plain.stderr
    )
    merely_cut = run_here(main, [*words, "Prune.recover=false"], folder)
    assert "predicted loss before training" in merely_cut.stdout
    assert 0 <= result_of(merely_cut)["predicted_loss"]["summed"] <= result_of(merely_cut)["predicted_loss"]["joint"]
    aimed = result_of(run_here(main, [*words, "Prune.target={flops: 0.1}"], folder))
    assert aimed["macs"][1] <= 0.9 * aimed["macs"][0]
    assert aimed["ratios"] != told["ratios"]
    refused = run_here(main, [*words, "Prune.target={macs: 0.99}"], folder)
    assert refused.returncode == 2 and "at most 0." in refused.stderr and not refused.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.slow
def test_a_finished_run_is_not_repeated_and_another_is_refused(workflow, repo, v2_config):
    folder, results, changes = workflow
    before = (folder / "out/best_accuracy.pdparams").read_bytes()
    words = ["-c", v2_config, "--json", "-o", *changes]
    done = script_here("prune", words, folder)
    assert result_of(done)["best"] == results["prune"]["best"]
    assert "refit:" not in done.stdout + done.stderr, "a run that goes on is not refitted again"
    refused = script_here("prune", [*words, "Optimizer.lr.learning_rate=0.5"], folder)
    assert refused.returncode == 2 and "learning_rate" in refused.stderr
    assert (folder / "out/best_accuracy.pdparams").read_bytes() == before


def test_a_checkpoint_without_its_plan_is_told(workflow, repo, v2_config, tmp_path):
    folder, _, changes = workflow
    (tmp_path / "lonely.pdparams").write_bytes((folder / "out/best_accuracy.pdparams").read_bytes())
    words = ["-c", v2_config, "-o", *changes, f"Global.pretrain_weights={tmp_path}/lonely"]
    done = script_here("export", [*words, "Global.save_inference_dir=inf"], tmp_path)
    assert done.returncode == 2 and "plan.json" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "inf").exists()


def processes_in(folder):
    """Ids of the processes that work in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cwd").resolve() == folder.resolve():
                found.append(int(path.name))
    return found


WAYS = {
    "killed": lambda process: process.kill(),
    "ctrl-c": lambda process: os.killpg(process.pid, signal.SIGINT),
    "terminated": lambda process: process.terminate(),
}


def lines_in(journal):
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def ended(words, folder, end):
    """Start an analysis in `folder`, `end` it when there is something new; return code and what it said."""
    journal = folder / "out/sen.jsonl"
    enough = max(3, lines_in(journal) + 1)  # header, the unpruned network, a point
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert wait_until(lambda: process.poll() is not None or lines_in(journal) >= enough)
    end(process)
    _, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stderr


@pytest.mark.slow
def test_however_an_analysis_ends_the_next_goes_on_to_the_same_file(workflow, repo, v2_config, options, tmp_path):
    words = ["-c", v2_config, "--json", "-o", *options, "Global.save_model_dir=out", "Prune.cache_gib=0"]
    words = [str(word) for word in [*words, "Prune.workers=1"]]
    out = tmp_path / "out"
    for way, end in WAYS.items():
        status, stderr = ended([*script(repo, "sensitivity"), *words], tmp_path, end)
        assert wait_until(lambda: not processes_in(tmp_path))
        if way != "killed":
            assert status == 130, stderr
            assert "continues where it was" in stderr and "Traceback" not in stderr
            assert read_sensitivities(out / "sen.pickle"), "what was measured is usable"
        assert sum(images_once(out, 4).values()) < 4 * 13, "ended in the middle"
        assert not list(out.glob(".cache*"))
    again = script_here("sensitivity", words, tmp_path)
    assert "points measured" in again.stderr
    assert result_of(again)["points"] == 12
    assert set(images_once(out, 4).values()) == {4}, "no image counted twice"
    assert (out / "sen.pickle").read_bytes() == (workflow[0] / "out/sen.pickle").read_bytes()
    names = sorted(path.name for path in out.iterdir())
    assert names == ["sen.json", "sen.jsonl", "sen.pickle", "sen.png", "sen_curves.png"]


BAD = {
    "missing config": (["-c", "nowhere.yml"], "nowhere.yml"),
    "unknown key": (["Prune.loss_tolerence=0.1"], "loss_tolerance"),
    "missing checkpoint": (["Global.pretrain_weights=nowhere/best"], "nowhere/best"),
    "missing data": (["Eval.dataset.data_dir=nowhere"], "Eval.dataset.data_dir"),
    "missing labels": (["Eval.dataset.label_file_list=[nowhere.txt]"], "nowhere.txt"),
    "output is a file": (["Global.save_model_dir=README.md"], "README.md"),
    "pattern without match": (["Prune.layers=[conv99*]"], "conv99*"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(repo, v2_config, options, tmp_path, case):
    changes, says = BAD[case]
    (tmp_path / "README.md").write_text("mine")
    config = ["-c", v2_config]
    if changes[0] == "-c":
        config, changes = changes, []
    words = [*config, "-o", *options, "Global.save_model_dir=out", *changes]
    if case in ("missing config", "missing checkpoint"):  # told before and after Paddle is imported
        done = run([*script(repo, "sensitivity"), *words], cwd=tmp_path)
    else:
        done = script_here("sensitivity", words, tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and says in errors[0]
    assert (tmp_path / "README.md").read_text() == "mine"
    assert not (tmp_path / "out/sen.pickle").exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"\x80\x02}q\x00", b"cos\nsystem\n(S'touch bomb'\ntR."], ids=["cut", "hostile"])
def test_a_bad_table_stops_pruning_before_anything_is_written(repo, v2_config, options, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sen.pickle").write_bytes(content)
    done = script_here("prune", ["-c", v2_config, "-o", *options, "Global.save_model_dir=out"], tmp_path)
    assert done.returncode == 2 and "sen.pickle" in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["sen.pickle"]
    assert not (tmp_path / "bomb").exists()
