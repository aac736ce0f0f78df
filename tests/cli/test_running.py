"""The command line as a shell meets it: whatever a name, the system or a file does, one line and an exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocrslim.cli import main, print_anything
from ocrslim.errors import OcrSlimError
from ocrslim.utils.files import read_json, write_json

REPO = Path(__file__).resolve().parents[2]
MAIN = str(REPO / "configs/det/det_mv3_db.yml")


def refused(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "", " ", "x" * 5000], ids=["NUL", "half", "empty", "blank", "long"])
@pytest.mark.parametrize("option", ["-c", "--images", "--out"])
def test_an_argument_that_is_no_path_is_one_line(capsys, path, option):
    arguments = {"-c": MAIN, "--images": "images", "--out": "out", option: path}
    line = refused(capsys, "predict", *[part for pair in arguments.items() for part in pair])
    assert f"{option.lstrip('-').replace('c', 'config')} " in line and len(line) < 6000


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "more memory than the machine has"),
        (RecursionError("maximum recursion depth exceeded"), "nested deeper"),
        (OSError(40, "Too many levels of symbolic links", "loop"), "loop"),
        (OSError(36, "File name too long", "x" * 300), "File name too long"),
        (UnicodeEncodeError("ascii", "\xe9", 0, 1, "ordinal not in range(128)"), "LANG=C.UTF-8"),
    ],
    ids=["memory", "recursion", "loop of links", "long name", "encoding"],
)
def test_what_the_system_refuses_is_one_line(capsys, monkeypatch, error, expected):
    def run(*_):
        raise error

    monkeypatch.setattr("ocrslim.cli.running._run", run)
    assert expected in refused(capsys, "groups", "-c", MAIN)


def test_a_long_name_leaves_a_line_that_can_be_read(capsys, monkeypatch):
    def run(*_):
        raise OcrSlimError(f"{'x' * 1_000_000}: not found; correct the path")

    monkeypatch.setattr("ocrslim.cli.running._run", run)
    line = refused(capsys, "groups", "-c", MAIN)
    assert len(line) < 1300 and line.endswith("correct the path")


def test_a_fault_of_this_program_is_no_users_fault(monkeypatch):
    def run(*_):
        raise ValueError("ours")

    monkeypatch.setattr("ocrslim.cli.running._run", run)
    with pytest.raises(ValueError, match="ours"):
        main(["groups", "-c", MAIN])


NAME = os.fsdecode(b"caf\xe9 \xe2\x82\xac.png")  # a byte of Latin-1, and a euro sign in UTF-8


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_name_can_be_printed(monkeypatch, encoding):
    buffers = [io.BytesIO(), io.BytesIO()]
    streams = [io.TextIOWrapper(buffer, encoding=encoding) for buffer in buffers]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    print_anything()
    for stream in streams:
        print(NAME, file=stream, flush=True)
    assert all(b"\\udce9" in buffer.getvalue() for buffer in buffers)


@pytest.mark.parametrize("coding", ["ascii", "latin-1"])
def test_a_command_says_its_line_in_any_encoding(coding):
    environment = {**os.environ, "PYTHONIOENCODING": coding}
    arguments = ["predict", "-c", os.fsencode(f"/nowhere/{NAME}"), "--images", "x", "--out", "y"]
    done = subprocess.run([sys.executable, "-m", "ocrslim", *arguments], capture_output=True, env=environment)
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: /nowhere/caf") and b"not found" in done.stderr


def test_json_of_ours_holds_any_name(tmp_path):
    write_json(tmp_path / "boxes.json", {NAME: ["é"]})
    text = (tmp_path / "boxes.json").read_text(encoding="utf-8")  # strictly
    assert json.loads(text) == {NAME: ["é"]} and "é" in text
    write_json(tmp_path / "plain.json", {"é": 1})
    assert read_json(tmp_path / "plain.json", "a test") == {"é": 1}


# Layers that there are not: found before images are read


@pytest.mark.parametrize(
    ("stage", "setting", "expected"),
    [
        ("prune", "Prune.skip=[conv99_*]", "Prune.skip: 'conv99_*' matches no layer of this network"),
        ("prune", "Prune.skip=conv10_expnd_weights", "did you mean 'conv10_expand_weights'?"),
        ("prune", "Prune.layers=[nek.*]", "Prune.layers: 'nek.*' matches no layer"),
        ("sensitivity", "Prune.skip=[zzz]", "the command `ocrslim groups` lists them"),
        ("sensitivity", "Prune.layers=['*', 'head.nothing*']", "Prune.layers: 'head.nothing*'"),
        ("dry run", "Prune.skip=[conv99_*]", "matches no layer of this network"),
    ],
)
def test_patterns_that_match_nothing_are_found_before_images_are_read(
    capsys, monkeypatch, tmp_path, stage, setting, expected
):
    """There are no images, no weights and no table: these would be missed first otherwise."""
    monkeypatch.chdir(tmp_path)
    arguments = ["prune", "--dry-run"] if stage == "dry run" else [stage]
    line = refused(capsys, *arguments, "-c", MAIN, "-o", setting, "Global.use_gpu=false")
    assert expected in line


@pytest.mark.parametrize("setting", ["Prune.skip=[conv1*, 'neck.*']", "Prune.layers=[backbone.stage2.*]"])
def test_patterns_that_match_go_on(capsys, monkeypatch, tmp_path, setting):
    monkeypatch.chdir(tmp_path)
    assert "Prune" not in refused(capsys, "sensitivity", "-c", MAIN, "-o", setting, "Global.use_gpu=false")


@pytest.mark.parametrize("stage", ["train", "prune"])
def test_what_paddleocr_refuses_shows_before_images_are_read(capsys, monkeypatch, tmp_path, stage):
    monkeypatch.chdir(tmp_path)
    setting = "Train.dataset.transforms.IaaAugment.augmenter_args=[{type: Flplr}]"
    line = refused(capsys, stage, "-c", MAIN, "-o", setting, "Global.use_gpu=false")
    assert "did you mean Fliplr?" in line


# Interrupts


INTERRUPTED_AT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, *_):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
from ocrslim.cli import main
sys.exit(main({words!r}))
"""


@pytest.mark.parametrize("name", ["ocrslim.utils", "numpy", "ocrslim.config", "yaml", "paddle", "ocrslim.commands"])
@pytest.mark.parametrize(
    ("stage", "expected"), [("prune", "continues where it was"), ("export", "nothing half-done is left")]
)
def test_ctrl_c_during_any_import_is_a_line(tmp_path, name, stage, expected):
    code = INTERRUPTED_AT.format(name=name, words=[stage, "-c", MAIN, "-o", "Global.use_gpu=false"])
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line][-1].endswith(expected)


@pytest.mark.parametrize("cause", ["cause", "context"])
def test_an_import_that_ctrl_c_broke_is_an_interrupt(capsys, monkeypatch, cause):
    def run(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            if cause == "cause":
                raise ImportError("numpy failed") from interrupt
            raise ImportError("numpy failed")  # noqa: B904

    monkeypatch.setattr("ocrslim.cli.running._run", run)
    assert main(["groups", "-c", MAIN]) == 130
    assert capsys.readouterr().err == "\ninterrupted: nothing half-done is left\n"


def test_a_package_that_is_missing_is_a_line(capsys, monkeypatch):
    def run(*_):
        raise ModuleNotFoundError("No module named 'shapely'")

    monkeypatch.setattr("ocrslim.cli.running._run", run)
    assert "No module named 'shapely': the environment is incomplete" in refused(capsys, "groups", "-c", MAIN)


def test_python_m_ocrslim_is_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "ocrslim", "groups"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: no model is named: expected MODEL")
    assert "ocrslim groups --help" in done.stderr
