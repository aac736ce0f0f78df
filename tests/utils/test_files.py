"""Files are whole or absent, and what a stranger wrote is never executed."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ocrslim.errors import ArtifactError
from ocrslim.formats import sensitivity_table
from ocrslim.utils import files, hashing

TABLE = {"conv1_weights": {0.1: 0.25, 0.2: -0.125}, "neck.p2_conv.weight": {0.5: 1.0}}


def test_a_table_comes_back_and_paddleslim_reads_it(tmp_path):
    path = tmp_path / "sen.pickle"
    sensitivity_table.write_sensitivities(path, {"w": {np.float64(0.1): np.float32(0.5)}})
    assert sensitivity_table.read_sensitivities(path) == {"w": {0.1: 0.5}}
    sensitivity_table.write_sensitivities(path, TABLE)
    assert sensitivity_table.read_sensitivities(path) == TABLE
    from paddleslim.prune import load_sensitivities

    assert load_sensitivities(str(path)) == TABLE


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bomb-went-off",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"w": {0.1: Bomb()}}), "system"),
        (pickle.dumps(Bomb()), "system"),
        (pickle.dumps({"w": {0.1: np.float64(0.1)}}), "numpy"),
        (pickle.dumps(TABLE)[:-9], "truncated"),
        (b"", "truncated"),
        (b"not a pickle", "truncated"),
        (pickle.dumps([1, 2]), "list"),
        (pickle.dumps({"w": 3}), "'w'"),
        (pickle.dumps({3: {0.1: 0.2}}), "3"),
        (pickle.dumps({"w": {"0.1": 0.2}}), "ratio '0.1'"),
        (pickle.dumps({"w": {1.5: 0.2}}), "ratio '1.5'"),
        (pickle.dumps({"w": {0.1: float("nan")}}), "nan"),
        (pickle.dumps({"w": {0.1: True}}), "True"),
        (pickle.dumps({"w": {0.1: 10**400}}), "a number of 1,329 bits"),
    ],
    ids="bomb nested-bomb numpy cut empty text list flat number-key text-ratio ratio nan bool huge".split(),
)
def test_anything_but_a_table_is_refused_by_name_and_not_run(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sen.pickle"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        sensitivity_table.read_sensitivities(path)
    assert str(path) in str(caught.value) and says in str(caught.value)
    assert "sensitivity_anal.py" in str(caught.value)
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="boom"), files.atomic_file(path) as stream:
        stream.write(b"half")
        raise ValueError("boom")
    assert files.read_json(path, "x") == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "big"
    files.write_text(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ArtifactError, match=r"big: cannot be written: .*size limit"):
            files.write_text(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["big"]


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="file"):
        files.check_writable(tmp_path / "file" / "folder")
    with pytest.raises(ArtifactError, match="file"):
        files.check_writable(tmp_path / "file")


def test_kill_during_a_write_never_shows_a_half_file(tmp_path):
    """A writer killed with SIGKILL at a random moment: the reader finds the old table or the new one."""
    path = tmp_path / "sen.pickle"
    sensitivity_table.write_sensitivities(path, {"w": {0.1: 0.0}})
    program = f"""
        from ocrslim.formats.sensitivity_table import write_sensitivities
        print("ready", flush=True)
        for i in range(10**6):
            write_sensitivities({str(path)!r}, {{f"w{{j}}": {{0.1: float(i)}} for j in range(3000)}})
    """
    for delay in (0.01, 0.05, 0.13):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert len({losses[0.1] for losses in sensitivity_table.read_sensitivities(path).values()}) == 1


def test_what_a_kill_left_behind_is_swept_and_nothing_else(tmp_path):
    for name in (".sen.pickle.abcd_123", ".sen.pickle.mine", "sen.pickle", ".other.abcd_123"):
        (tmp_path / name).touch()
    (tmp_path / ".sen.pickle.01234567").mkdir()
    files.remove_leftovers(tmp_path, "sen.pickle")
    assert {p.name for p in tmp_path.iterdir()} == {".sen.pickle.mine", "sen.pickle", ".other.abcd_123"}


def test_hashes_see_every_bit_and_no_order():
    a, b = np.zeros(3, "float32"), np.ones((1, 2))
    assert hashing.hash_arrays({"a": a, "b": b}) == hashing.hash_arrays({"b": b, "a": a})
    assert hashing.hash_arrays({"a": a}) != hashing.hash_arrays({"a": np.nextafter(a, 1)})
    assert hashing.hash_arrays({"a": b}) != hashing.hash_arrays({"a": b.reshape(2)})
    assert hashing.hash_value({"x": 1, "y": 2}) == hashing.hash_value({"y": 2, "x": 1})
    assert hashing.hash_bytes(b"ab", b"c") != hashing.hash_bytes(b"a", b"bc")


def test_what_another_process_is_writing_is_not_swept(tmp_path):
    path = tmp_path / "sen.pickle"
    with files.atomic_file(path) as stream:
        stream.write(b"half of it")
        files.remove_leftovers(tmp_path, "*")
        files.write_text(path, "of another process")
    assert path.read_bytes() == b"half of it" and [p.name for p in tmp_path.iterdir()] == ["sen.pickle"]
    with files.locked_folder(tmp_path, ".export.") as folder:
        files.remove_leftovers(tmp_path, "export")
        assert folder.is_dir()
    assert not folder.exists()


def test_a_write_sweeps_what_kills_amid_earlier_ones_left_of_the_same_file(tmp_path):
    for name in (".a[1].yml.abcd_123", ".a1.yml.abcd_123", ".a[1].yml.kept"):
        (tmp_path / name).touch()
    files.write_text(tmp_path / "a[1].yml", "x")
    assert {p.name for p in tmp_path.iterdir()} == {"a[1].yml", ".a1.yml.abcd_123", ".a[1].yml.kept"}


@pytest.mark.parametrize("when", ["open", "_lock"])
def test_a_folder_that_another_process_sweeps_before_it_is_locked_is_made_anew(when, tmp_path, monkeypatch):
    swept, place = [], files.os if when == "open" else files
    real = getattr(place, when)

    def sweep_first(*arguments):
        for folder in tmp_path.iterdir() if not swept else ():
            folder.rmdir()
            swept.append(folder)
        return real(*arguments)

    monkeypatch.setattr(place, when, sweep_first)
    with files.locked_folder(tmp_path, ".export.") as folder:
        assert swept and folder.is_dir() and folder not in swept


def test_a_temporary_folder_that_a_kill_has_left_goes_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "ocrslim-abcd_123").mkdir()
    (tmp_path / "ocrslim-abcd_123/inference.json").touch()
    with files.scratch_folder() as first, files.scratch_folder() as second:
        assert {p.name for p in tmp_path.iterdir()} == {first.name, second.name}
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_file_is_refused_before_it_is_read(tmp_path):
    for name, make in {
        "pipe": os.mkfifo,
        "zeros": lambda path: path.symlink_to("/dev/zero"),
        "circle": lambda path: path.symlink_to(path.name),
        "endless": lambda path: (path.touch(), os.truncate(path, 1 << 42)),
        "folder": lambda path: path.mkdir(),
        "deep": lambda path: path.write_text("[" * 100_000),
    }.items():
        path = tmp_path / name
        make(path)
        for read in (lambda path: files.read_json(path, "this"), sensitivity_table.read_sensitivities):
            with pytest.raises(ArtifactError, match=name) as caught:
                read(path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("circle", "circle is a link that leads nowhere", id="circle of links"),
        pytest.param("circle/inner", "circle is a link that leads nowhere", id="below a circle of links"),
        pytest.param("dangling", "dangling is a link that leads nowhere", id="dangling link"),
        pytest.param("a\0b", "a character that no path can have", id="NUL"),
        pytest.param("x" * 5000, "too long", id="long"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_told_in_a_short_line(tmp_path, name, says):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    for write in (files.check_writable, lambda path: files.write_text(path / "file", "")):
        with pytest.raises(ArtifactError, match=says) as caught:
            write(tmp_path / name)
        assert len(str(caught.value)) < 600 and "\n" not in str(caught.value) and "\0" not in str(caught.value)
