"""Artifacts with any of their values changed: refused in one line, or read as values that can be."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from detection import DETECTION, HMEAN
from training import images, make_config, no_images, plan_of, run, stop_after

from ocrslim.errors import ArtifactError, OcrSlimError
from ocrslim.formats.sensitivity_table import write_sensitivities
from ocrslim.pruning.plan import Plan
from ocrslim.selection import candidates as trials
from ocrslim.selection import iterative as rounds
from ocrslim.selection.latency import model as latency
from ocrslim.sensitivity.results.identity import Identity
from ocrslim.sensitivity.results.journal import read_journal
from ocrslim.sensitivity.results.store import open_measurements
from ocrslim.sensitivity.results.table import load_table
from ocrslim.sensitivity.search.search import AdaptiveSearch
from ocrslim.tasks.detection.metric import ImageCounts
from ocrslim.training.checkpointing.state_file import load_state
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.monitoring.visualdl import EventLog
from ocrslim.utils.files import write_json

__all__ = ["images", "no_images"]  # fixtures

GONE = object()
DEEP: list[Any] = []
for _ in range(150):
    DEEP = [DEEP]
VALUES = [
    None,
    True,
    -1,
    -5,
    0,
    1.5,
    1e308,
    10**9,
    10**30,
    "",
    "text",
    "\0",
    "\ud800",
    [],
    [3],
    {},
    {"a": 1},
    DEEP,
    GONE,
]
NAMES = ["conv1_weights", "neck.in2_conv.weight"]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to all values in nested dictionaries and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(content: Any, path: tuple, value: Any) -> Any:
    found = copy.deepcopy(content)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return found


def damaged(content: Any, seed: int, most: int = 400) -> Iterator[Any]:
    """`content` with one value changed: any of `VALUES` at any place, or as many of these as `most`."""
    every = [(path, value) for path in places(content) for value in VALUES]
    rng = random.Random(seed)
    for path, value in rng.sample(every, min(most, len(every))):
        yield changed(content, path, value)


def as_json(value: Any) -> bytes:
    """Surrogates as JSON escapes them: text that can be parsed, and not be written."""
    return json.dumps(value).encode("ascii")


def refused(read: Callable[[], object], path: Path) -> bool:
    """Whether reading is refused; fails where it is by anything but one line that names a file there."""
    try:
        read()
    except OcrSlimError as error:
        message = str(error)
        assert str(path.parent) in message and "\n" not in message and len(message) < 900, message
        return True
    return False


def identity() -> Identity:
    keys = ["backbone.conv.conv.weight", "neck.in2_conv.weight"]
    graph = SimpleNamespace(groups=dict.fromkeys(keys, 1), unprunable={})
    return Identity(
        graph, {"Backbone": {"name": "MobileNetV3"}}, DETECTION, "hmean", 3, {"weights": "w", "criterion": "fpgm"}
    )


@pytest.fixture
def analysis(tmp_path: Path) -> Path:
    measured = open_measurements(tmp_path, identity(), lambda _: False)
    counts = [ImageCounts(8, 8, 8), ImageCounts(4, 4, 3), ImageCounts(6, 5, 5)]
    measured.add(None, 0.0, 0, counts)
    for name in NAMES:
        measured.add(name, 0.3, 0, counts[:2])
        measured.add(name, 0.3, 2, counts[2:])
    searches = {name: AdaptiveSearch([0.3, 0.6], measured.baseline, HMEAN, 0.02) for name in NAMES}
    for name, search in searches.items():
        search.add(0.3, 0, measured.counts[name, 0.3])
    measured.save(searches, mode="adaptive", tolerance=0.02, seconds=1.5, engine="dygraph", criterion="fpgm")
    return tmp_path


def test_a_record_with_any_value_changed(analysis: Path) -> None:
    path, known = analysis / "sen.json", identity()

    def opened() -> None:
        found = open_measurements(analysis, known, lambda _: False)
        assert all(0 <= loss["ratio"] <= 1 for loss in found.record["layers"].values()) and found.record["seconds"] >= 0
        table = load_table(analysis / "sen.pickle", known.graph, known.architecture, known.hashes, 0.02)
        assert all(0 < r < 1 and math.isfinite(loss) for losses in table.values() for r, loss in losses.items())

    opened()
    outcomes = []
    for content in damaged(json.loads(path.read_text()), seed=1):
        path.write_bytes(as_json(content))
        outcomes.append(refused(opened, path))
    assert sum(outcomes) > len(outcomes) / 2


def test_a_journal_with_any_value_changed(analysis: Path) -> None:
    path, known = analysis / "sen.jsonl", identity()
    (analysis / "sen.pickle").unlink()
    (analysis / "sen.json").unlink()
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    def opened() -> None:
        read_journal(path, "remedy", DETECTION)
        found = open_measurements(analysis, known, lambda _: False)
        assert all(one.matched <= min(one.gt, one.pred) for counts in found.counts.values() for one in counts)
        assert all(0 <= loss <= 1 or loss < 0 for losses in found.table.values() for loss in losses.values())

    outcomes = []
    for content in damaged(lines, seed=2):
        path.write_bytes(b"".join(as_json(line) + b"\n" for line in content))
        outcomes.append(refused(opened, path))
    assert sum(outcomes) > len(outcomes) / 3


def test_a_table_with_any_value_changed(analysis: Path) -> None:
    path = analysis / "sen.pickle"
    table = {name: {0.1: 0.0, 0.3: 0.1} for name in NAMES}
    values = [None, True, -1, float("nan"), float("inf"), 10**400, "text", [], {}, {0.5: "x"}, {"0.5": 0.1}, {1.5: 0.0}]
    for name in (*NAMES, 7, "", "x" * 10_000, "\ud800"):
        for value in values:
            path.write_bytes(pickle.dumps({**table, name: value}, protocol=2))
            refused(lambda: open_measurements(analysis, identity(), lambda _: False), path)
    write_sensitivities(path, {NAMES[0]: {0.3: 0.1}})
    assert open_measurements(analysis, identity(), lambda _: False).table


def test_a_plan_with_any_value_changed(images: Path, tmp_path: Path) -> None:
    plan, path = plan_of(make_config(images, tmp_path / "out")), tmp_path / "best.plan.json"
    plan.save(path)
    outcomes = []
    for content in damaged(json.loads(path.read_text()), seed=3):
        path.write_bytes(as_json(content))

        def loaded() -> None:
            for cut in Plan.load(path).cuts:
                assert 0 <= cut.axis < 8 and 0 < len(cut.keep) <= cut.size
                assert cut.keep == tuple(sorted(set(cut.keep))) and all(0 <= index < cut.size for index in cut.keep)

        outcomes.append(refused(loaded, path))
    assert sum(outcomes) > len(outcomes) / 2


@pytest.mark.usefixtures("no_images")
def test_a_state_with_any_value_changed(images: Path, tmp_path: Path) -> None:
    """Of a run that was stopped; a state that is read is one that the run goes on from, to its end."""
    out = tmp_path / "out"
    config = make_config(images, out)
    with pytest.raises(KeyboardInterrupt):
        run(config, evaluate=stop_after(2, KeyboardInterrupt))
    path = out / "latest.pdopt"
    whole = path.read_bytes()
    content = pickle.loads(whole)
    expected = load_state(path).progress.steps
    small = {key: content[key] for key in ("schema", "progress", "digest", "fingerprint")}
    changes = [*damaged(small, seed=4, most=250), *({**small, "progress": one} for one in VALUES if one is not GONE)]
    changes += [{**small, part: one} for part in ("weights", "optimizer", "average", "good") for one in VALUES[:-1]]
    outcomes = []
    for number, change in enumerate(changes):
        kept = {key: value for key, value in content.items() if key not in small}
        path.write_bytes(pickle.dumps({**kept, **change}, protocol=4))
        was_refused = refused(lambda: load_state(path), path)
        outcomes.append(was_refused)
        if not was_refused and number % 12 == 0:
            try:
                assert run(config).last.step == expected
            except OcrSlimError as error:
                assert "\n" not in str(error)
    assert sum(outcomes) > len(outcomes) / 2
    path.write_bytes(whole)
    assert run(config).last.step == expected


def test_times_of_this_machine_with_any_value_changed_are_measured_anew(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    machine = {"processor": "p", "threads": 1}
    table = latency.LatencyTable(machine, 10.0, [({"a": 3}, 0.9), ({}, 1.0)], {"plan": 0.5})
    table.save()
    assert latency.load_table(machine) == table
    for content in damaged(json.loads(table.path.read_text()), seed=5):
        table.path.write_bytes(as_json(content))
        found = latency.load_table(machine)
        assert found is None or (found.full > 0 and all(0 < part < math.inf for _, part in found.samples))


def test_scores_of_trials_with_any_value_changed_are_found_anew(tmp_path: Path, caplog) -> None:
    path = tmp_path / trials.TRIALS
    known = trials.CandidateScores.__new__(trials.CandidateScores)
    known._path = path
    write_json(path, {"a": 0.5, "b": 1.0})
    assert known._stored() == {"a": 0.5, "b": 1.0}
    for content in damaged({"a": 0.5, "b": 1.0}, seed=6):
        path.write_bytes(as_json(content))
        assert all(0 <= score <= 1 for score in known._stored().values())
    assert "damaged, scored anew" in caplog.text


def test_the_record_of_a_round_with_any_value_changed_has_the_round_done_anew(tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    record = {"request": "r", "plan": "p", "left": 0.7, "macs": 100, "params": 10}
    write_json(path, record)
    assert rounds._done(path, "r", overwrite=False) == record
    for content in damaged(record, seed=7):
        path.write_bytes(as_json(content))
        try:
            found = rounds._done(path, "r", overwrite=False)
        except ArtifactError as error:
            assert "a round of another run" in str(error)
        else:
            assert found is None or 0 < found["left"] <= 10


def test_an_event_log_of_anything_is_cut_where_it_is_no_log_any_more(tmp_path: Path) -> None:
    log, progress = EventLog(tmp_path, "hmean"), Progress(steps=9, step=4)
    log.open(Progress(steps=9))
    for step in range(1, 5):
        log.step(step, {"loss": float(step)}, 0.1)
    log.close()
    (path,) = (tmp_path / "vdl").iterdir()
    whole, rng = path.read_bytes(), random.Random(8)
    for tail in [b"\xff" * 40, (1 << 40).to_bytes(8, "little") + b"x", bytes(64), rng.randbytes(500)]:
        path.write_bytes(whole + tail)
        log.open(progress)
        log.close()
        assert path.read_bytes()[: len(whole)] == whole and path.stat().st_size < len(whole) + 200
    for _ in range(60):
        changed_bytes = bytearray(whole)
        changed_bytes[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed_bytes))
        log.open(progress)
        log.close()
