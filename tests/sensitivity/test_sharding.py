"""Parts of an analysis, on ranks or as shards: together the file of one process, whatever becomes of one of them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sensitivity_case import GROUPS, PLAIN, PUBLIC, RATIOS, analyse_at, entries, images_once, problem, undisturbed
from waiting import PATIENCE

from ocrslim import commands
from ocrslim.cli import main
from ocrslim.config.config import load_config
from ocrslim.errors import ArtifactError, ConfigError
from ocrslim.formats.sensitivity_table import read_sensitivities, write_sensitivities
from ocrslim.pruning import prunable as scoring
from ocrslim.sensitivity.results.table import ADAPTIVE, EXACT
from ocrslim.sensitivity.sharding import Share, locked, share_of
from ocrslim.utils.files import read_json

__all__ = ["problem", "undisturbed"]

LAUNCHED = {"PADDLE_TRAINERS_NUM": "4", "PADDLE_TRAINER_ID": "2", "PADDLE_LOCAL_SIZE": "2"}


def ranks(count):
    return [replace(PLAIN, share=Share(index, count, count, True)) for index in range(count)]


@pytest.mark.parametrize(
    ("shard", "environment", "expected"),
    [
        pytest.param(None, {}, Share(), id="alone"),
        pytest.param(None, {"PADDLE_TRAINERS_NUM": "1", "PADDLE_TRAINER_ID": "0"}, Share(), id="launched-alone"),
        pytest.param(None, LAUNCHED, Share(2, 4, 2, True), id="rank"),
        pytest.param("2/8", {}, Share(1, 8), id="shard"),
        pytest.param("1/1", {}, Share(), id="the-only-shard"),
    ],
)
def test_the_share_is_what_launcher_or_setting_say(shard, environment, expected):
    assert share_of(shard, environment) == expected


def test_shards_within_ranks_are_refused():
    with pytest.raises(ConfigError, match=r"Prune\.shard: 2/8, and paddle\.distributed\.launch runs 4 ranks"):
        share_of("2/8", LAUNCHED)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_each_point_is_in_one_part_and_the_parts_cost_the_same(count):
    costs = [1.0] * 10 + [0.2] * 50
    parts = [Share(index, count).of(range(60), costs) for index in range(count)]
    assert [item for part in parts for item in part] == list(range(60)), "and each has neighbours"
    totals = [sum(costs[item] for item in part) for part in parts]
    assert max(totals) - min(totals) <= 1.0 + 1e-9, "not more than an item"


def test_exact_mode_shares_out_points_and_adaptive_mode_layers(problem, tmp_path):
    costs = [problem.cost(group) for group in GROUPS]
    assert costs == sorted(costs, reverse=True) and costs[0] > 1.5 * costs[-1], "less lies behind later ones"
    for mode in (EXACT, ADAPTIVE):
        parts = [replace(PLAIN, mode=mode, share=Share(index, 2)) for index in range(2)]
        found = [analyse_at(problem, GROUPS, (0.2, 0.4, 0.6), tmp_path / f"{mode}{p.share.index}", p) for p in parts]
        layers = [set(one.measured.table) for one in found]
        assert len(layers[0] & layers[1]) == (1 if mode == EXACT else 0)


def test_ranks_write_into_journals_of_their_own_and_shards_into_folders_of_their_own():
    assert len({Share(index, 3, one_folder=True).journal for index in range(3)}) == 3
    assert {Share(index, 3).journal for index in range(3)} == {"sen.jsonl"}


def test_only_one_rank_at_a_time_writes_the_common_files(tmp_path):
    share, inside, most = Share(0, 2, 2, True), [], []

    def write():
        for _ in range(20):
            with locked(tmp_path, share):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80 and max(most) == 1


def test_ranks_make_the_file_of_one_process_and_a_lost_ones_work_is_done_later(problem, undisturbed, tmp_path):
    first, second = ranks(2)
    analyse_at(problem, GROUPS, RATIOS, tmp_path, first)
    before = entries(tmp_path)
    kept = {entry[:2] for entry in before if entry[0]}
    table = read_sensitivities(tmp_path / "sen.pickle")
    assert {(layer, ratio) for layer, losses in table.items() for ratio in losses} == kept, "the other one is lost"
    assert 0 < len(kept) < 6 and set(read_json(tmp_path / "sen.json", "")["layers"]) == set(table)
    for settings in (first, second):
        analyse_at(problem, GROUPS, RATIOS, tmp_path, settings)
    added = [entry for entry in entries(tmp_path) if entry not in before]
    assert len(added) + len(kept) == 6 and not {entry[:2] for entry in added} & kept
    assert images_once(tmp_path, 4) and (tmp_path / "sen.rank1.jsonl").exists()
    assert (tmp_path / "sen.pickle").read_bytes() == (undisturbed.measured.folder / "sen.pickle").read_bytes()
    assert all(layer["settled"] for layer in read_json(tmp_path / "sen.json", "")["layers"].values())
    for path in tmp_path.glob("sen.*"):
        if path.suffix != ".jsonl":
            path.unlink()
    assert analyse_at(problem, GROUPS, RATIOS, tmp_path, PLAIN).measured.table == undisturbed.measured.table, (
        "one goes on"
    )


def test_ranks_do_not_overwrite_one_another(problem, undisturbed, tmp_path):
    shutil.copytree(undisturbed.measured.folder, tmp_path, dirs_exist_ok=True)
    with pytest.raises(ConfigError, match=r"Global\.overwrite: true, and 2 ranks write into .*remove the folder first"):
        analyse_at(problem, GROUPS, RATIOS, tmp_path, ranks(2)[1], overwrite=True)
    assert (tmp_path / "sen.pickle").read_bytes() == (undisturbed.measured.folder / "sen.pickle").read_bytes()


@pytest.fixture
def run(problem, v2_config, rendered_options, pp_ocrv2, tmp_path, monkeypatch, no_pictures):
    """A stage in this process, on the network of `problem`, traced already."""
    monkeypatch.setattr(scoring, "model_graph", lambda model, task, tree: problem.graph)
    layers = f"Prune.layers=[{','.join(PUBLIC)}]"
    options = [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}", layers, "Prune.engine=dygraph"]
    options += [f"Prune.ratios={list(RATIOS)}"]

    def stage(folder, *changes, sources=None):
        config = load_config(v2_config, [*options, f"Global.save_model_dir={tmp_path / folder}", *changes])
        if sources is None:
            return commands.run_sensitivity(config)
        return commands.run_merge(config, [tmp_path / source for source in sources])

    return stage


def test_shards_are_merged_into_the_file_of_one_process(run, undisturbed, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ocrslim")
    for number in (1, 2, 3):
        assert run(f"part{number}", f"Prune.shard={number}/3")["points"] in (1, 2, 3)
        assert "ocrslim merge FOLDER FOLDER" in caplog.text, "what to do next"
    caplog.clear()
    found = run("some", sources=["part3", "part1"])
    missing = 6 - found["points"]
    assert 0 < missing < 6 and found["settled"] < 3
    assert f"{found['settled']} of 3 layers are finished; run the same command to continue" in caplog.text
    found = run("all", sources=["some", "part2"])
    assert (found["settled"], found["points"]) == (3, 6)
    whole = (undisturbed.measured.folder / "sen.pickle").read_bytes()
    assert (tmp_path / "all/sen.pickle").read_bytes() == whole
    assert run("all", sources=["part1", "part1"])["points"] == 6, "again, and twice, changes nothing"
    assert (tmp_path / "all/sen.pickle").read_bytes() == whole
    before = len(entries(tmp_path / "some"))
    assert run("some")["points"] == 6
    assert len(entries(tmp_path / "some")) == before + missing, "measuring goes on from there"

    run("recall", "Prune.shard=1/3", "Metric.main_indicator=recall")
    with pytest.raises(ArtifactError, match=r"recall/sen\.jsonl: measured with other post-processing"):
        run("mixed", sources=["part2", "recall"])
    run("fewer", "Prune.shard=1/3", "Eval.dataset.ratio_list=[0.5]")
    with pytest.raises(ArtifactError, match=r"fewer/sen\.jsonl: measured with other evaluation data"):
        run("mixed", sources=["part2", "fewer"])
    assert not list((tmp_path / "mixed").iterdir()), "nothing is written of what does not go together"


def test_merging_says_what_is_wrong_with_a_folder(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"empty/sen\.pickle: not found"):
        run("all", sources=["empty"])
    write_sensitivities(tmp_path / "empty/sen.pickle", {PUBLIC[0]: {0.3: 0.1}})
    with pytest.raises(ArtifactError, match=r"empty: holds no measurements"):
        run("all", sources=["empty"])
    run("part", "Prune.shard=1/3")
    write_sensitivities(tmp_path / "part/sen.pickle", {PUBLIC[0]: {0.3: 0.9}})
    with pytest.raises(ArtifactError, match=rf"hold points of {PUBLIC[0]} that the journals beside them do not"):
        run("all", sources=["part"])


@pytest.mark.slow
def test_a_part_without_a_point_ends_well_and_is_merged_like_the_others(run, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ocrslim")
    found = [run(f"part{number}", f"Prune.shard={number}/9") for number in range(1, 10)]
    empty = [number for number, one in enumerate(found, 1) if not one["points"]]
    assert len(empty) >= 3 and f"shard {empty[0]} of 9: fewer points than parts" in caplog.text
    assert read_sensitivities(tmp_path / f"part{empty[0]}/sen.pickle") == {}
    assert run("all", sources=[f"part{number}" for number in range(1, 10)])["points"] == 6


def launch(repo, folder, options):
    script = repo / "deploy/slim/prune/sensitivity_anal.py"
    words = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "log", script]
    words += ["-c", repo / "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml", "-o", *options]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PADDLE_")}
    return subprocess.Popen(
        [str(word) for word in words], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ranks_of(folder):
    """Process ids of the scripts that a launcher runs in `folder`, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
            if (
                (path / "cwd").resolve() != folder.resolve()
                or b"distributed.launch" in words
                or b"anal.py" not in words
            ):
                continue
            environment = dict(pair.partition(b"=")[::2] for pair in (path / "environ").read_bytes().split(b"\0"))
            found[int(environment[b"PADDLE_TRAINER_ID"])] = int(path.name)
        except (OSError, KeyError):
            continue
    return found


@pytest.mark.slow
def test_the_launcher_loses_a_rank_and_the_same_command_completes_the_file(
    repo, rendered_options, pp_ocrv2, undisturbed, tmp_path
):
    options = [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}", "Global.save_model_dir=out"]
    options += [f"Prune.layers=[{','.join(PUBLIC)}]", f"Prune.ratios={list(RATIOS)}", "Prune.engine=dygraph"]
    launcher, journal = launch(repo, tmp_path, options), tmp_path / "out/sen.rank1.jsonl"
    while launcher.poll() is None and not journal.exists():
        time.sleep(0.02)
    lost = ranks_of(tmp_path)[1]
    while launcher.poll() is None and journal.read_bytes().count(b"\n") < 3:  # header, unpruned network, a point
        time.sleep(0.005)
    os.kill(lost, signal.SIGKILL)
    launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode != 0
    kept = images_once(tmp_path / "out", 4)
    lines = (tmp_path / "out/sen.rank1.jsonl").read_text().splitlines()[2:]
    known = {(entry["layer"], entry["ratio"]) for entry in map(json.loads, lines)}
    assert known and known <= set(kept), "what the lost rank measured is there"

    again = launch(repo, tmp_path, options)
    said, _ = again.communicate(timeout=PATIENCE)
    logs = "".join(path.read_text() for path in (tmp_path / "log").glob("workerlog.*"))
    assert again.returncode == 0, said + logs
    whole = undisturbed.measured.folder / "sen.pickle"
    assert (tmp_path / "out/sen.pickle").read_bytes() == whole.read_bytes()
    points = [entry for entry in entries(tmp_path / "out") if entry[0]]
    assert sum(images for *_, images in points) == 4 * len(PUBLIC) * len(RATIOS), "only the rest was measured"
    assert not list((tmp_path / "out").glob(".*")), "no unfinished file"
    assert not ranks_of(tmp_path)


def test_merge_is_a_command(run, tmp_path, v2_config, capsys):
    assert main(["merge", str(tmp_path / "nowhere"), "-c", str(v2_config)]) == 2
    assert "nowhere/sen.pickle: not found" in capsys.readouterr().err
