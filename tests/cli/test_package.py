"""The package as others install it and work on it: metadata, licence, documents, checks before a commit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ocrslim

REPO = Path(__file__).resolve().parents[2]


def test_the_metadata_is_complete(tmp_path):
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "-e", str(tmp_path)], cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "ocrslim.egg-info/PKG-INFO").read_text(encoding="utf-8")
    for field in (f"Version: {ocrslim.__version__}", "License: Apache-2.0", "Author: the ocrslim developers"):
        assert f"\n{field}\n" in text
    assert "Classifier: Typing :: Typed" in text and "detector" not in re.findall("^Summary: .*", text, re.MULTILINE)[0]
    assert "ocrslim/py.typed" in (tmp_path / "ocrslim.egg-info/SOURCES.txt").read_text(encoding="utf-8")
    assert "ocrslim = ocrslim.cli:main" in (tmp_path / "ocrslim.egg-info/entry_points.txt").read_text(encoding="utf-8")


def test_every_requirement_has_an_exact_version_too():
    setup = (REPO / "setup.py").read_text(encoding="utf-8").partition("install_requires=[")[2].partition("]")[0]
    ranges = {re.split("[<>=]", word, maxsplit=1)[0] for word in re.findall(r'"(.+)"', setup)}
    pins = (REPO / "requirements.txt").read_text(encoding="utf-8")
    assert ranges == set(re.findall(r"^([\w-]+)==", pins, re.MULTILINE))


def test_what_python_39_lacks_is_pinned_for_it_apart():
    for name in ("requirements.txt", "requirements-dev.txt"):
        pins = (REPO / name).read_text(encoding="utf-8")
        newer, older = (
            re.findall(rf'^([\w-]+)==[\d.]+; python_version {bound} "3\.10"$', pins, re.MULTILINE)
            for bound in (">=", "<")
        )
        assert newer == older != []


def test_hooks_do_what_make_lint_does():
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    lint = (REPO / "Makefile").read_text(encoding="utf-8").partition("\nlint: setup\n")[2].partition("\n\n")[0]
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in lint.splitlines()]
    assert [hook["entry"] for hook in hooks] == commands and len(commands) >= 4


@pytest.mark.parametrize("name", ["docs/README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/glossary.md"])
def test_what_a_document_names_is_there(name):
    path = REPO / name
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    places = re.findall(r"`((?:ocrslim|tests|docs|configs|benchmarks)/[^` ]*)`", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    assert [place for place in places if not (REPO / place).exists()] == []


def test_the_index_lists_every_document():
    index = (REPO / "docs/README.md").read_text(encoding="utf-8")
    assert [path.name for path in (REPO / "docs").glob("*.md") if f"({path.name})" not in index] == ["README.md"]


def test_the_changelog_has_the_version():
    text = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased" and ocrslim.__version__ in versions
    sections = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall("^### (.+)$", text, re.MULTILINE)) <= sections


def test_the_order_that_contributors_read_is_the_one_that_is_checked():
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    order = re.findall(r"\w+", re.findall("```\n(errors <[^`]*)```", text)[0])
    layers = (REPO / "pyproject.toml").read_text(encoding="utf-8").partition("\nlayers = [")[2].partition("]")[0]
    assert order == re.findall(r"\w+", layers)[::-1]
