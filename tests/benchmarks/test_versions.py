"""What benchmarks/versions.py reads from pytest, which Python it takes, and that it knows what is promised."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import versions


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose repository has two folders of tests, and whose pytest says what `said` has for each."""
    for name in ("a", "b"):
        (tmp_path / f"tests/{name}").mkdir(parents=True)
        (tmp_path / f"tests/{name}/test_{name}.py").touch()
    monkeypatch.setattr(versions, "REPO", tmp_path)
    one = versions.Run("3.9", tmp_path, tmp_path, {"said": [], "failed": []})
    one.said, one.asked = {}, []
    monkeypatch.setattr(one, "python", lambda log, *words, check: one.asked.append(log) or one.said[log])
    return one


@pytest.mark.parametrize(
    ("out", "counts"),
    [
        ("1 failed in 3 steps in 2 files\n..s\n2 passed, 1 skipped in 0.50s\n", {"passed": 2, "skipped": 1}),
        ("==== 12 passed, 3 warnings in 75.61s (0:01:15) ====\n", {"passed": 12}),
        ("bringing up nodes...\n\nno tests ran in 0.10s\n", {}),
    ],
)
def test_how_many_tests_passed(run, out, counts):
    run.said["all"] = out
    assert versions.run_tests(run, "all") == counts


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (
            "FAILED tests/x.py::test_y - assert 1\nERROR tests/z.py\n1 failed, 1 error in 2.00s",
            "tests/x.py::test_y tests/z.py",
        ),
        ("ImportError: no conftest\n", "no result"),
    ],
)
def test_failed_tests_are_named(run, out, told):
    run.said["all"] = out
    with pytest.raises(versions.StepError, match=told):
        versions.run_tests(run, "all")


def test_a_folder_that_passed_is_not_repeated(run):
    run.said = {"a": "5 passed in 1.00s", "b": "1 failed, 1 passed in 1.00s"}
    with pytest.raises(versions.StepError, match=r"'failed': 1.*b\.log"):
        versions.all_tests(run)
    run.said["b"] = "2 passed, 3 skipped in 1.00s"
    found = versions.all_tests(run)
    assert run.asked == ["a", "b", "b"]
    assert (found["passed"], found["skipped"]) == (7, 3)
    assert list(json.loads((run.folder / "tests.json").read_text())) == ["tests/a", "tests/b"]


def test_a_python_is_found_or_missed_in_words(monkeypatch, tmp_path):
    own = "{}.{}".format(*sys.version_info)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for patch, target in (("9", "/bin/false"), ("10", sys.executable)):
        (tmp_path / f"versions/{own}.{patch}/bin").mkdir(parents=True)
        (tmp_path / f"versions/{own}.{patch}/bin/python").symlink_to(target)
    monkeypatch.setenv("PATH", "")
    assert versions.find_python(own) == str(tmp_path / f"versions/{own}.10/bin/python")
    with pytest.raises(versions.StepError, match=r"^Python 3\.1 not found"):
        versions.find_python("3.1")


def test_the_first_and_the_last_python_of_the_promise_are_tested(repo):
    setup = (repo / "setup.py").read_text(encoding="utf-8")
    assert 'python_requires=">=3.9,<3.13"' in setup and versions.PYTHONS == ("3.9", "3.12")
    make = (repo / "Makefile").read_text(encoding="utf-8")
    assert f"benchmarks/versions.py {' '.join(versions.PYTHONS)}\n" in make
