"""The recogniser's benchmark: what is counted of a line, who may read the test images, the tables."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import recogniser
import recogniser_tables as tables
from recogniser_part import COLUMNS, compared
from recogniser_tables import AS_CUT, OURS, PADDLESLIM, REFITTED, TRAINED, UNPRUNED, UNTRAINED

from ocrslim.errors import WeightsError


@pytest.fixture
def labels(tmp_path):
    train = tmp_path / "train.txt"
    boxes = [{"transcription": "A", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]}] * 400
    train.write_text(f"a.jpg\t{json.dumps(boxes)}\n", encoding="utf-8")
    return recogniser.Labels(train, *(Path(f"/labels/{name}.txt") for name in ("select", "stop", "secret")))


@pytest.fixture
def parts(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(recogniser, "package_weights", lambda *_: Path("/models/rec.onnx"))
    return list(recogniser.plan(recogniser.parse(["--out", str(tmp_path), "--epochs", "4"]), labels))


def line(name: str, lines: int, read: int, no_case: int) -> list[object]:
    return [name, lines, read, no_case, no_case, read + 0.5, no_case + 0.5]


def result(part: recogniser.Part, answer: dict[str, object]) -> dict[str, object]:
    process = {"seconds": 60.0, "others": 0.1}
    return {"answer": answer, "request": {"key": part.key, "command": part.words}, "process": process}


def answers(parts):
    """Every part's answer, networks reading more the better they are trained."""
    rows = {state: at for at, state in enumerate((AS_CUT, REFITTED, UNTRAINED, TRAINED))}
    found = {}
    for part in parts:
        answer: dict[str, object] = {"acc": 0.5, "norm_edit_dis": 0.6}
        if part.kind == "score":
            read = 2 * rows[part.point]
            receipts = [line("a.jpg", 10, read, read + 1), line("b.jpg", 20, read, read + 2)]
            scored = {"receipts": receipts, "acc": 2 * read / 30}
            answer = {"select": scored, "test": scored, "macs": [100, 70], "params": [10, 8], "weights": "w"}
        elif part.kind == "prune":
            answer = {"ratios": {"a": 0.5}, "macs": [100, 70], "choosing_seconds": 1.0, "recovery_seconds": 2.0}
            answer |= {"groups": 18, "ratio": 0.19, "removed_macs": 0.3, "seconds": 9.0, "training_trace": "TypeError"}
        elif part.kind == "train":
            answer = {at: {"step": 7, "acc": 0.5} for at in ("start", "best", "last")} | {"train_seconds": 9.0}
        found[part.key] = result(part, answer)
    return found


@pytest.mark.parametrize(
    ("found", "expected", "counts"),
    [
        ("Total 5", "Total 5", (1, 1, 1, 1, 1.0, 1.0)),
        ("Total 5", "TOTAL 5", (1, 0, 1, 1, 3 / 7, 1.0)),
        ("Total:5", "TOTAL 5", (1, 0, 0, 1, 2 / 7, 6 / 7)),
        ("", "A", (1, 0, 0, 0, 0.0, 0.0)),
    ],
    ids=["equal", "other case", "other signs", "nothing read"],
)
def test_what_is_counted_of_a_line(found, expected, counts):
    assert compared(found, expected) == pytest.approx(counts)


def test_only_score_is_given_the_test_images_and_each_network_once(parts):
    given = [part for part in parts if any("secret" in word for word in part.words)]
    assert {part.kind for part in given} == {"score"}
    assert len({part.key for part in given}) == len(given) == 7
    assert all(any("train.txt" in word for word in part.words) for part in parts if part.kind in ("prune", "train"))


def test_parts_come_after_what_they_need(parts):
    seen: set[str] = set()
    for part in parts:
        assert set(part.needs) <= seen, part.key
        seen.add(part.key)


def test_trainings_differ_in_what_is_pruned_alone(parts):
    trained = {part.way: part for part in parts if part.kind == "train"}
    assert set(trained) == {OURS, UNPRUNED, PADDLESLIM}

    def recipe(part):
        kept = ("Global.pretrain_weights", "Global.save_model_dir", "Prune.")
        return [word for word in part.words if "=" in word and not word.startswith(kept)]

    assert recipe(trained[OURS]) == recipe(trained[UNPRUNED]) == recipe(trained[PADDLESLIM])
    assert "Global.eval_batch_step=[0,13]" in trained[OURS].words, "three evaluations in 4 epochs of 10 steps"
    assert trained[PADDLESLIM].needs == (f"{PADDLESLIM}, pruned",)


def test_the_width_parts_are_not_as_wide_as_the_line(parts):
    widths = [part for part in parts if part.kind == "width"]
    assert len(widths) == 2 and not any("eval_mode" in word for part in widths for word in part.words)
    assert all(recogniser._FREE[0] in part.words for part in parts if part.kind in ("score", "train"))


def test_scores_and_differences_are_of_lines(parts):
    results = answers(parts)
    ours, start = (OURS, TRAINED), (UNPRUNED, UNTRAINED)
    assert tables.measured(results, ours, "test")["accuracy"] == pytest.approx(12 / 30)
    assert tables.measured(results, ours, "test")["1 - NED"] == pytest.approx(13 / 30)
    assert tables.difference(results, ours, start, "accuracy").observed == pytest.approx(4 / 30)
    assert tables.difference(results, ours, start, "1 - NED").observed == pytest.approx(4 / 30)
    same = tables.difference(results, ours, (UNPRUNED, TRAINED), "without case")
    assert (same.observed, same.low, same.high) == (0, 0, 0), "a control"


@pytest.mark.parametrize("missing", ["", "score", f"{OURS}", f"{PADDLESLIM}", "trained", "width"])
def test_the_tables_stand_with_what_is_there(parts, missing):
    results = {key: one for key, one in answers(parts).items() if not missing or missing not in key}
    machine = {"cpu": "CPU", "cores": 2, "packages": {"paddle": "3"}}
    settings = {"epochs": 4, "batch": 32, "rate": 3e-4, "seed": 1, "receipts": None}
    state = {"failed": [], "missing": ["width 320"], "readings": {}}
    text = tables.document(results, machine, "abc", settings, state)
    json.dumps(tables.as_json(results))
    assert "missing: width 320" in text
    assert ("| ocrslim, trained" in text) == (missing not in ("score", OURS, "trained"))
    assert len(COLUMNS) == 7


def test_a_try_cannot_be_taken_for_results(capsys):
    with pytest.raises(SystemExit):
        recogniser.parse(["--try"])
    assert "--out" in capsys.readouterr().err


def test_the_weights_name_their_package_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=None))
    with pytest.raises(WeightsError, match="rapidocr-onnxruntime"):
        recogniser.package_weights(*recogniser.WEIGHTS)
