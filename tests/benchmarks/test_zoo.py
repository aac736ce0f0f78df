"""The benchmark of the zoo: which architectures it takes, what an ended process leaves, and what the page counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import zoo
from zoo_plan import Case, cases
from zoo_tables import page, totals

DB = {"model_type": "det", "algorithm": "DB", "Backbone": {"name": "A"}, "Head": {"name": "DBHead"}}
CRNN = {"model_type": "rec", "algorithm": "CRNN", "Backbone": {"name": "B"}, "Head": {"name": "CTCHead"}}
STUDENT = {
    "model_type": "det",
    "Models": {"Teacher": {}, "Student": {key: DB[key] for key in DB if key != "model_type"}},
}
FOUND = {
    "name": "det/a.yml",
    "kind": "det",
    "algorithm": "DB",
    "also": ["det/b.yml"],
    "stage": "done",
    "input": [1, 3, 64, 96],
    "groups": 12,
    "prunable_macs_share": 0.96,
    "macs": 2_000_000_000,
    "params": 3_000_000,
    "unprunable": [{"reason": "a | b", "macs_share": 0.04}],
    "uncounted": [],
    "training": "traced",
    "oracle": {"checks": 2, "changed": 2, "worst": 2e-15, "faults": {}},
    "total_seconds": 31.4,
}


@pytest.fixture
def checkout(tmp_path):
    """A folder with configurations of which two have one section, and a third has it as its student."""
    sections = {
        "det/a_distilled.yml": {"Architecture": STUDENT},
        "det/b.yml": {"Architecture": DB, "Optimizer": {"name": "Adam"}},
        "det/c.yaml": {"Architecture": DB},
        "rec/d.yml": {"Architecture": CRNN, "Global": {"character_dict_path": "d.txt"}, "Train": {"dataset": {"x": 1}}},
        "table/e.yml": {"Architecture": CRNN},
    }
    for name, tree in sections.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tree))
    return tmp_path


def test_each_section_is_taken_once_under_a_plain_name(checkout):
    found = cases(checkout)
    assert [(one.name, one.also) for one in found] == [
        ("det/b.yml", ["det/c.yaml", "det/a_distilled.yml"]),
        ("rec/d.yml", []),
    ]


def test_what_decides_about_the_network_is_kept(checkout):
    detector, recogniser = cases(checkout)
    assert set(detector.tree) == {"Architecture"}, "the optimizer decides nothing"
    assert set(recogniser.tree) == {"Architecture", "Global", "Train"}


def test_another_dictionary_is_measured_anew(checkout):
    before = cases(checkout)
    path = checkout / "configs/rec/d.yml"
    path.write_text(path.read_text().replace("d.txt", "e.txt"))
    assert [one.key for one in before] == [before[0].key, before[1].key]
    assert [old.key == new.key for old, new in zip(before, cases(checkout))] == [True, False]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import time\ntime.sleep(60)", "not done in 0.05 minutes"),
        ("raise SystemExit(3)", "ended with exit code 3: no output"),
        ("raise MemoryError('too much')", "ended with exit code 1: MemoryError: too much"),
    ],
)
def test_an_ended_process_leaves_what_it_knew(code, fault, monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    answer = 'import pathlib, sys\npathlib.Path(sys.argv[2]).write_text(\'{"stage": "groups", "macs": 5}\')\n'
    (tmp_path / "benchmarks/zoo_part.py").write_text(answer + code)
    monkeypatch.setattr(zoo, "REPO", tmp_path)
    found = zoo.measure(Case("det/b.yml", "det", "DB", None, {}), None, minutes=0.05, gib=1)
    assert (found["stage"], found["macs"], found["fault"]) == ("groups", 5, fault)


def test_the_page_counts_what_builds_traces_and_holds():
    broken = {**FOUND, "name": "det/broken.yml", "also": [], "prunable_macs_share": 0.9}
    broken["oracle"] = {"checks": 2, "changed": 2, "worst": 0.5, "faults": {"all at 0.3": "outputs differ by 0.5"}}
    refused = {
        "name": "rec/r.yml",
        "kind": "rec",
        "also": [],
        "algorithm": "X",
        "stage": "build",
        "fault": "no such class",
    }
    found = [FOUND, broken, refused]
    lines = totals(found).splitlines()
    for counted in (
        "| distinct architectures | 3 | 4 configurations |",
        "| build | 2 |  |",
        "| trace and group | 2 | 24 groups |",
        "| at least 95% of the MACs prunable | 1 |  |",
        "| at least 88% of the MACs prunable | 2 |  |",
        "| oracle holds | 1 of 2 | worst 2e-15 |",
    ):
        assert counted in lines
    source = {"code": {"files": 2, "sha256": "0"}, "architectures": dict(enumerate(found))}
    text = page({"machine": {"cpu": "x", "python": "3", "paddlepaddle": "3"}, "sources": {"checkout": source}})
    row = "| `det/a.yml` +1 | DB | 3x64x96 | 12 | 96.0% | 2.000 | 3.00 | 2e-15 | traced | 31 | 4.0% a \\| b |"
    assert row in text.splitlines()
    assert "| `det/broken.yml` | done | all at 0.3: outputs differ by 0.5 |" in text.splitlines()
    assert "| `rec/r.yml` | build | no such class |" in text.splitlines()


def test_no_folder_of_the_machine_is_told():
    folder = Path("/some/where/PaddleOCR")
    told = zoo._named({"fault": f"PaddleOCR's code in {folder} refuses it"}, folder)
    assert told == {"fault": "PaddleOCR's code in DIR refuses it"}
