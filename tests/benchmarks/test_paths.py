"""No committed file holds a path of the machine that wrote it; how the benchmarks keep them out of their results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import paths
import versions
from paths import portable
from processes import FinishedParts

# not the end of another path, as `{folder}/tmp/x`, and with a name behind it
MACHINE = r"(?<![\w.)}}>~*-])(?:/(?:home|root|work|workspace|tmp|mnt|media|scratch|builds|Users)|{})/[\w.]\S*"
NOT_COMMITTED = ("output", "pretrain_models", "inference_model", "train_data", "build", "dist", "__pycache__")


def committed(root: Path) -> Iterator[Path]:
    """What git has of a folder; without git all files but those that it is told to ignore, about."""
    try:
        words = ["git", "-C", str(root), "ls-files", "-z"]
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = []
    names = list(filter(None, listed))
    if names:
        yield from (root / name for name in names if (root / name).is_file())
        return
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_COMMITTED and (name[0] != "." or name == ".ci")]
        yield from (Path(folder) / name for name in files if name != ".git")  # of a worktree


def machine_paths(root: Path) -> dict[str, list[str]]:
    """Absolute paths of a machine in the text files of a folder, by file."""
    pattern = re.compile(MACHINE.format(re.escape(str(root))))
    found = {}
    for path in committed(root):
        content = path.read_bytes()
        if b"\0" not in content:
            here = pattern.findall(content.decode("utf-8", errors="replace"))
            found[path.relative_to(root).as_posix()] = list(dict.fromkeys(here))
    return {name: here for name, here in found.items() if here}


def test_no_committed_file_has_a_path_of_the_machine_that_wrote_it(repo):
    found = machine_paths(repo)
    told = [f"{name}: {len(here)}, as {here[0][:80]}" for name, here in found.items()]
    assert not told, "expected paths relative to the repository, and OUT: see benchmarks/paths.py"


def test_such_paths_are_found_without_git_too(tmp_path):
    for name in ("a.md", "docs/b.json", "output/c.md", ".venv/d.py", ".ci/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"in [{Path('/', 'home', 'anna')}/x], not ../work/x, {{folder}}/tmp/x or ~/tmp/x")
    (tmp_path / ".git").write_text(f"gitdir: {tmp_path}/x")
    (tmp_path / "own.txt").write_text(f"{tmp_path}/x")
    (tmp_path / "picture").write_bytes(b"\0" + os.fsencode(tmp_path / "x"))
    found = machine_paths(tmp_path)
    assert sorted(found) == [".ci/run", "a.md", "docs/b.json", "own.txt"]
    assert [len(here) for here in found.values()] == [1] * 4


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine with everything in places of its own."""
    monkeypatch.setattr(paths, "REPO", Path("/src/main"))
    monkeypatch.setattr(tempfile, "tempdir", "/temporary")
    monkeypatch.setenv("HOME", "/people/anna")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/src/main/configs/x.yml", "configs/x.yml"),
        ("/src/main/.ci/run /src/main/../other", ".ci/run ../other"),
        ("/src/main", "."),
        ("PYTHONPATH=/src/main:/src/main/tests", "PYTHONPATH=.:tests"),
        ("'list=[/src/shared/data/val.txt]'", "'list=[../shared/data/val.txt]'"),
        ("/src/main/output/try/a.json in /src/main/output", "OUT/a.json in output"),
        ("/src/main/output/try", "OUT"),
        ("/temporary/x1/request.json", "OUT/x1/request.json"),
        ("/people/anna/data", "~/data"),
        ('File "/src/main/a.py", line 3', 'File "a.py", line 3'),
        ("/src/main2/x /src/main-old /src/main.bak", "/src/main2/x /src/main-old /src/main.bak"),
        ("copy/src/main/x ../src/main/x /usr/bin/env", "copy/src/main/x ../src/main/x /usr/bin/env"),
    ],
)
def test_what_a_path_is_told_as(text, told):
    out = Path("/src/main/output/try")
    assert portable(text, out) == told
    assert portable(told, out) == told, "once more changes nothing"


@pytest.mark.usefixtures("elsewhere")
def test_all_texts_of_a_value_and_nothing_else_are_changed():
    value = {"/src/main/a": [1, 0.1, None, True, ("/src/main/b", {"c": "/src/main/d"})]}
    assert portable(value) == {"a": [1, 0.1, None, True, ["b", {"c": "d"}]]}


def test_packages_are_told_as_in_the_environment_that_setup_makes():
    assert re.fullmatch(r"\.venv/lib/python[\d.]+/site-packages/x", portable(f"{sysconfig.get_path('purelib')}/x"))


def test_a_link_and_what_it_leads_to_are_told_as_the_same(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert portable(f"{tmp_path}/link/x {tmp_path}/real/x", tmp_path / "link") == "OUT/x OUT/x"


def test_a_journal_keeps_portable_paths(tmp_path, repo):
    one = {"request": {"key": "a"}, "answer": {"table": f"{tmp_path}/sen.json", "code": f"{repo}/ocrslim"}}
    journal = FinishedParts(tmp_path / "parts.jsonl")
    journal.add(one)
    assert journal.results["a"]["answer"] == {"table": "OUT/sen.json", "code": "ocrslim"}
    assert FinishedParts(tmp_path / "parts.jsonl").results == journal.results


def test_a_failed_step_is_told_without_the_machines_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "REPO", tmp_path)
    run = versions.Run("0", tmp_path / "environments/venv-0", tmp_path, {"said": []})
    with pytest.raises(versions.StepError, match=r"^no OUT/venv-0/bin \(exit code 1, log\.log\)"):
        run.command("log", sys.executable, "-c", f"raise SystemExit('no {tmp_path}/environments/venv-0/bin')")
