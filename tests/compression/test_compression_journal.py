"""The journal of a run: steps are done once, and another command is refused with what differs."""

from __future__ import annotations

import pytest

from ocrslim.compression.journal import Journal
from ocrslim.errors import ArtifactError

SHARES = {"one": 1, "two": 3}


def run(folder, done, request=None, overwrite=False, intact=None, fails=False):
    """Run both steps; `done` gets their names as they are done."""

    def work(name):
        def step(advance):
            advance(0.5)
            if fails and name == "two":
                raise KeyboardInterrupt
            done.append(name)
            return {"name": name}

        return step

    with Journal(folder, request or {"--target": "none"}, SHARES, overwrite) as journal:
        return [journal.do(name, name, work(name), intact) for name in SHARES], journal.worked


def test_a_step_is_done_once(tmp_path):
    done: list[str] = []
    assert run(tmp_path, done) == ([{"name": "one"}, {"name": "two"}], True)
    assert run(tmp_path, done) == ([{"name": "one"}, {"name": "two"}], False)
    assert done == ["one", "two"]


def test_an_interrupted_run_goes_on_behind_the_last_step(tmp_path):
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, done, fails=True)
    run(tmp_path, done)
    assert done == ["one", "two"]


def test_a_step_whose_files_are_gone_is_done_again(tmp_path):
    done: list[str] = []
    run(tmp_path, done)
    run(tmp_path, done, intact=lambda found: found["name"] != "two")
    assert done == ["one", "two", "two"]


def test_another_request_is_refused_with_what_differs_or_starts_over(tmp_path):
    done: list[str] = []
    run(tmp_path, done)
    with pytest.raises(ArtifactError, match=r"--target was none, now macs=0\.5: choose another --out"):
        run(tmp_path, done, {"--target": "macs=0.5"})
    run(tmp_path, done, {"--target": "macs=0.5"}, overwrite=True)
    assert done == ["one", "two"] * 2


def test_a_damaged_journal_is_one_line(tmp_path):
    (tmp_path / "steps.json").write_text("[]")
    with pytest.raises(ArtifactError, match="expected a JSON object"):
        run(tmp_path, [])
