"""The accuracy benchmark's pure parts: intervals, who may read the test images, what is measured anew, the tables."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ocrslim.tasks.detection.metric import ImageCounts, scores_of

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import accuracy
import accuracy_bench
import accuracy_ledger as ledger
import accuracy_plan as planning
import accuracy_tables as tables
from accuracy_bootstrap import hmean, paired_difference
from accuracy_data import Labels
from accuracy_paddleslim import closest_tolerance
from accuracy_picture import draw
from accuracy_spots import comparisons, spots_of

LABELS = Labels(*(Path(f"/labels/{name}.txt") for name in ("train", "select", "secret", "one")))


def detector(images: int, quality: float, seed: int, boxes: int = 10) -> np.ndarray:
    """Counts of a detector that finds each of `boxes` texts, and as many boxes as there are: its hmean is `quality`."""
    easy = np.random.default_rng(7).normal(0, 0.05, images)  # images are easy or hard for all
    shares = np.clip(quality + easy - easy.mean(), 0, 1)
    matched = np.random.default_rng(seed).binomial(boxes, shares)
    return np.stack([np.full(images, boxes), np.full(images, boxes), matched], axis=1)


def test_the_hmean_of_the_bootstrap_is_the_metrics():
    counts = [ImageCounts(3, 4, 2), ImageCounts(5, 5, 5), ImageCounts(1, 0, 0)]
    assert hmean(counts) == pytest.approx(scores_of(counts)["hmean"])
    assert hmean([(3, 0, 0)]) == 0 == hmean([(0, 0, 0)])


def test_known_answers():
    good, bad = [(10, 10, 9)] * 20, [(10, 10, 7)] * 20
    found = paired_difference([good], [bad])
    assert (found.observed, found.mean, found.low, found.high) == pytest.approx((0.2,) * 4), (
        "all images alike: no doubt"
    )
    none = paired_difference([good], [good])
    assert (none.observed, none.low, none.high) == (0, 0, 0)
    swapped = paired_difference([bad], [good])
    assert swapped.observed == pytest.approx(-0.2)
    seeds = paired_difference([good, bad], [bad, bad])
    assert seeds.observed == pytest.approx(0.1), "the mean over seeds"


def test_the_interval_is_that_of_single_resamples():
    rng = np.random.default_rng(3)
    one, other = detector(30, 0.9, 1), detector(30, 0.8, 2)
    slow = []
    for _ in range(4000):
        at = rng.integers(30, size=30)
        slow.append(hmean(one[at]) - hmean(other[at]))
    found = paired_difference([one], [other])
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=0.006)
    assert found.mean == pytest.approx(np.mean(slow), abs=0.002)


def test_the_interval_contains_the_truth_about_as_often_as_it_says():
    hits = lower = 0
    for trial in range(200):
        pair = detector(160, 0.88, 2 * trial), detector(160, 0.86, 2 * trial + 1)
        found = paired_difference([pair[0]], [pair[1]], resamples=400, seed=trial)
        hits += found.low <= 0.02 <= found.high
        lower += found.low <= 0.10 <= found.high
    assert 0.88 <= hits / 200 <= 0.995
    assert lower < 10, "a control: what is not true is outside"


def test_pairs_of_hard_and_easy_images_give_a_narrower_interval_than_strangers():
    hard = np.tile([[10, 10, 9], [10, 10, 2]], (50, 1))
    worse = hard - [0, 0, 1]
    paired = paired_difference([hard], [worse])
    strangers = paired_difference([hard], [worse[::-1]])
    assert paired.high - paired.low < 1e-9 < 0.05 < strangers.high - strangers.low


def test_counts_of_other_images_are_refused():
    with pytest.raises(ValueError, match="expected the same images"):
        paired_difference([[(3, 3, 3)]], [[(4, 3, 3)]])
    with pytest.raises(ValueError, match="expected the same images"):
        paired_difference([[(3, 3, 3)]], [[(3, 3, 3), (1, 1, 1)]])
    with pytest.raises(ValueError, match="no network"):
        paired_difference([], [[(3, 3, 3)]])


LONG = ("--headline-minutes", "60")
OURS, EARLIER = "ocrslim by default", "ocrslim by reconstruction"  # what is trained


def options(*words) -> argparse.Namespace:
    return accuracy.parse(["--out", "output/accuracy-test", *words])


def parts(*words) -> list[planning.Part]:
    return planning.plan(options(*LONG, *words), dict.fromkeys(("sroie", "icdar2015"), LABELS), Path("/w.onnx"))


def test_only_score_is_given_the_test_images_once_for_each_final_network():
    found = parts()
    reading = [part for part in found if any("secret" in word for word in part.words)]
    assert {part.kind for part in reading} == {"score"}
    networks = [(p.data, word) for p in reading for word in p.words if word.startswith("Global.pretrain_weights")]
    assert len(networks) == len(set(networks)) == sum(part.kind == "score" for part in found)


def test_the_plan_has_the_points_and_seeds_that_are_asked_for():
    trained = [(p.data, p.way, p.point, p.seed, p.budget) for p in parts() if p.kind == "train"]
    sroie = [one[1:] for one in trained if one[0] == "sroie"]
    for way in (OURS, "PaddleSlim"):
        curve = [one[1:] for one in sroie if one[0] == way and one[3] == 20]
        assert curve == [("macs=0.3", 1, 20), ("macs=0.45", 1, 20), ("macs=0.6", 1, 20)]
    assert [one[2:] for one in sroie if one[0] == OURS and one[3] == 60] == [(1, 60), (2, 60), (3, 60)]
    assert [one[2:] for one in sroie if one[0] == "unpruned"] == [(1, 60), (1, 20), (2, 60), (3, 60)]
    assert "latency=0.5" not in {point for way, point, *_ in sroie if way == "PaddleSlim"}
    assert {one[1:] for one in trained if one[0] == "icdar2015"} == {
        ("unpruned", "", 1, 20), (OURS, "latency=0.5", 1, 20), (OURS, "macs=0.6", 1, 20),
        (EARLIER, "latency=0.5", 1, 20), (EARLIER, "macs=0.6", 1, 20), ("PaddleSlim", "macs=0.6", 1, 20),
    }  # fmt: skip
    untrained = parts("--minutes", "0", "--headline-minutes", "0")
    assert not [part for part in untrained if part.kind in ("train", "speed")]
    both = [(p.way, p.seed) for p in parts("--headline", "macs=0.6", "--seeds", "1", "2") if p.budget == 60]
    assert ("PaddleSlim", 2) in both, "where the headline is one that it has"


def test_parts_come_after_what_they_need():
    seen: set[str] = set()
    for part in parts():
        assert seen >= {*part.needs, *filter(None, [part.speed])}, part.key
        assert part.key not in seen
        seen.add(part.key)


def test_all_trainings_have_one_recipe_and_a_budget_by_their_own_speed():
    speed = {"answer": {"seconds_per_step": 0.5, "steps_per_epoch": 30}}
    results = {part.key: speed for part in parts()}
    trainings = [part for part in parts() if part.kind == "train"]
    recipes = [
        {word for word in part.command(results) if word[:12] in ("Train.datase", "Train.loader", "Optimizer.lr")}
        for part in trainings
    ]
    for part, recipe in zip(trainings, recipes):
        same = [one for one, other in zip(recipes, trainings) if other.data == part.data]
        assert all(recipe == one for one in same)
        ours = any("Optimizer.ema" in word for word in part.words)
        assert ours == (part.way != "PaddleSlim"), "its way is plain training"
        assert f"Global.seed={part.seed}" in part.words
        epochs = {20: 80, 60: 240}[part.budget] if part.way != OURS else {20: 66, 60: 200}[part.budget]
        assert f"Global.epoch_num={epochs}" in part.command(results), (
            "20 minutes of half seconds: 2400 steps, of which ours has a sixth for trials"
        )
    slow = {part.key: {"answer": {"seconds_per_step": 1e9, "steps_per_epoch": 30}} for part in parts()}
    assert "Global.epoch_num=1" in trainings[0].command(slow)


def test_a_part_is_measured_anew_where_what_it_builds_on_has_changed(tmp_path):
    bench = accuracy_bench.Bench(tmp_path)
    table, pruned = (next(part for part in parts() if part.kind == kind) for kind in ("table", "prune"))
    weights = parts()[0]
    for part in (weights, table, pruned):
        assert not bench.done(part)
        bench._journal.add({"request": part.request(bench.results), "answer": {"of": part.kind}})
        assert bench.done(part)
    again = accuracy_bench.Bench(tmp_path)
    assert again.done(pruned), "from the file"
    again._journal.add({"request": table.request(again.results), "answer": {"of": "another table"}})
    assert again.done(table) and not again.done(pruned)


def test_what_is_measured_stays_known_where_the_folder_is_moved(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    bench = accuracy_bench.Bench(here)
    for part in parts("--out", str(here))[:3]:
        answer = {"checkpoint": f"{here}/{part.kind}.pdparams"}
        bench._journal.add({"request": part.request(bench.results), "answer": answer})
    assert str(tmp_path) not in (here / "parts.jsonl").read_text()
    here.rename(there)
    moved = accuracy_bench.Bench(there)
    assert [moved.done(part) for part in parts("--out", str(there))[:4]] == [True, True, True, False]
    other = parts("--out", str(there), "--table-options", "Prune.ratios=[0.5]")
    assert [moved.done(part) for part in other[:2]] == [True, False], "another command"


def test_a_line_that_a_kill_cut_off_is_forgotten(tmp_path):
    bench = accuracy_bench.Bench(tmp_path)
    bench._journal.add({"request": parts()[0].request({}), "answer": {}})
    with (tmp_path / "parts.jsonl").open("a") as stream:
        stream.write('{"request": {"key": "hal')
    again = accuracy_bench.Bench(tmp_path)
    assert list(again.results) == ["weights"]
    assert (tmp_path / "parts.jsonl").read_text().endswith("}\n")


def test_another_network_of_one_name_is_refused_unless_asked_for(tmp_path):
    book = tmp_path / "ledger.jsonl"
    ledger.begin(book, "a", "1" * 64)
    ledger.finish(book, "a", "1" * 64)
    ledger.begin(book, "a", "1" * 64)  # the same network, after an interruption
    ledger.begin(book, "b", "2" * 64)
    with pytest.raises(ledger.AlreadyScored, match="'a' on the test images.*--score-again"):
        ledger.begin(book, "a", "3" * 64)
    ledger.begin(book, "a", "3" * 64, again=True)
    assert [len(found) for found in ledger.readings(book).values()] == [3, 1]


def test_fresh_keeps_the_ledger(tmp_path):
    ledger.begin(tmp_path / accuracy_bench.LEDGER, "a", "1" * 64)
    (tmp_path / "parts.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    accuracy_bench.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [accuracy_bench.LEDGER]


def test_a_try_cannot_be_taken_for_results(capsys):
    with pytest.raises(SystemExit):
        accuracy.parse(["--try"])
    assert "expected another --out" in capsys.readouterr().err


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
def test_the_tolerance_that_comes_closest_is_found(fraction):
    steps = lambda tolerance: min(0.8, np.floor(tolerance * 20) / 20)  # noqa: E731
    assert steps(closest_tolerance(steps, fraction)) == pytest.approx(min(0.8, fraction))


def result(part: planning.Part, results, answer):
    process = {"seconds": 1.0, "load": [0.1], "others": 0.0, "pss_mib": 1}
    request = part.request(results)
    return {"request": request, "answer": answer, "process": process, "cpu": "A", "date": "today", "revision": "abc"}


QUALITY = {("unpruned", False): 0.88, ("unpruned", True): 0.90, ("ocrslim", False): 0.80, (OURS, True): 0.90}
QUALITY[EARLIER, True] = 0.85


def measured(lacking: str = "") -> dict:
    """Results of every part, made up; ours loses nothing, PaddleSlim's way loses 5 points."""
    results: dict = {}
    for number, part in enumerate(parts()):
        if part.kind == lacking or not results.keys() >= {*part.needs}:
            continue
        plan = f"{part.way} {part.point}" if part.point else None
        answer = {"seconds_per_step": 0.5, "steps_per_epoch": 30}
        if part.kind == "score":
            quality = QUALITY.get((part.way, part.budget > 0), 0.80)
            share = float(part.point.split("=")[1]) if part.point else 0.0
            answer = {
                "counts": detector(160, quality, number).tolist(),
                "scores": dict.fromkeys(("precision", "recall", "hmean"), quality),
                "check": [1e-6], "images": 160, "weights": f"{number:064}", "plan": plan,
                "macs": [1000, round(1000 * (1 - share))], "params": [100, 50],
            }  # fmt: skip
        if part.kind == "latency":
            times = {"unpruned_ms": 100.0, "ms": 48.0, "ratio": 0.48}
            answer = {"plan": plan, "threads": {"1": times, "2": {**times, "ms": 55.0, "ratio": 0.55}}}
        if part.kind == "table":
            answer = {"baseline": {"hmean": 0.91}}
        if part.kind == "prune":
            answer = {"select": {"hmean": 0.5}, "tolerance": 0.02}
        if part.kind == "train":
            at = {"hmean": 0.9, "step": 2400}
            answer = {"start": at, "best": at, "last": at, "train_seconds": 1300}
        results[part.key] = result(part, results, answer)
    return results


MACHINE = {"cpu": "a CPU", "cores": 2, "ram_gib": 1, "system": "", "python": "", "packages": {}, "date": ""}
STATE = {"failed": [], "missing": [], "readings": {}}


def document(results) -> str:
    return tables.document(results, MACHINE, "abc", {"minutes": 20, "headline_minutes": 60, "images": None}, STATE)


def test_the_tables_judge_the_targets():
    text = document(measured())
    rows = {line.split("|")[1].strip(): line for line in reversed(text.splitlines()) if line.startswith("|")}
    ours = f"sroie, {OURS}, latency=0.5, trained 60 min"
    assert "not met" in rows[f"{ours}: MACs removed"]
    assert "not met" not in rows[f"{ours}: less latency, 1 thread"]
    assert "not met" in rows[f"{ours}: less latency, 2 threads"]
    assert "not met" not in rows[f"{ours}: points of hmean"]
    assert "not met" in rows["sroie, ocrslim, macs=0.3, not trained: points of hmean"]
    assert "not met" not in rows["sroie, macs=0.45, 20 min: above PaddleSlim's way"]
    assert rows[f"{OURS}, latency=0.5, trained 60 min"].count(" / ") == 2, "three seeds"
    assert "48.0 (52.0% less)" in rows[f"{OURS}, latency=0.5, trained 60 min"]
    for key, one in measured().items():
        assert tables.command_line(one["request"]) in text, key


def test_a_network_with_another_plan_than_the_timed_one_is_told():
    results = measured()
    assert "another plan" not in document(results)
    key = next(key for key in results if "latency=0.5, seed 2, trained 60 min, score" in key)
    results[key]["answer"]["plan"] = "another"
    assert "another plan than the network that was timed" in document(results)


def test_parts_of_another_processor_are_told():
    results = measured()
    assert "Parts were measured on" not in document(results)
    key = list(results)[-1]
    results[key]["cpu"] = "B"
    assert f"**Parts were measured on A, but on B: {key}.**" in document(results)


def test_references_are_unpruned_networks_of_the_same_training():
    spots = {(s.data, s.way, s.point, s.budget): s for s in spots_of(measured())}
    assert spots["sroie", OURS, "macs=0.3", 20].reference == "unpruned, trained 20 min"
    assert spots["sroie", OURS, "latency=0.5", 60].reference == "unpruned, trained 60 min"
    assert spots["sroie", "ocrslim", "macs=0.3", 0].reference == "unpruned, not trained"
    assert spots["sroie", "unpruned", "", 60].reference == "unpruned, not trained"
    assert spots["sroie", "unpruned", "", 0].difference is None
    assert spots["sroie", "PaddleSlim", "macs=0.6", 20].difference.observed == pytest.approx(-0.1, abs=0.05)
    versus = {(one.data, one.point, one.budget): one for one in comparisons(list(spots.values()))}
    assert versus["sroie", "macs=0.6", 20].difference.low > 0


@pytest.mark.parametrize("lacking", ["", "table", "train", "latency"])
def test_what_is_not_measured_yet_leaves_tables_and_picture_standing(tmp_path, lacking):
    results = measured(lacking)
    spots = spots_of(results)
    draw(results, spots, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "## Curves: sroie" in document(results)
    json.dumps(accuracy.as_json(spots, comparisons(spots)), allow_nan=False)
