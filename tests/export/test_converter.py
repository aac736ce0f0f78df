"""Paddle's converter to ONNX: its process is kept, and what ends it or is not converted is one line."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from paddle import nn
from small_export import needs_converter

from ocrslim.errors import ExportError
from ocrslim.export.formats import converter
from ocrslim.export.formats.converter import convert
from ocrslim.export.formats.paddle import save_inference

pytestmark = needs_converter


@pytest.fixture(autouse=True)
def _anew():
    converter._end()
    yield
    converter._end()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    model = nn.Sequential(nn.Conv2D(3, 4, 3), nn.ReLU())
    model.eval()
    save_inference(model, folder / "inference", (-1, 3, -1, -1))
    return next(path for path in folder.iterdir() if path.suffix in (".pdmodel", ".json"))


@pytest.fixture
def started(monkeypatch):
    """The processes that are started for conversions."""
    found, start = [], subprocess.Popen

    def popen(*words, **options):
        found.append(start(*words, **options))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return found


def test_one_process_converts_one_after_the_other(program, started, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        convert(program, tmp_path / name, 11)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert len(started) == 1


def test_relative_paths_are_those_of_the_folder_at_the_time(program, tmp_path, monkeypatch):
    convert(program, tmp_path / "a.onnx", 11)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    convert(program, Path("b.onnx"), 11)
    assert (tmp_path / "elsewhere/b.onnx").is_file()


def test_what_is_not_converted_is_one_line_and_the_next_one_is(program, started, tmp_path):
    broken = tmp_path / "inference.pdmodel"
    broken.write_bytes(program.read_bytes()[:200])
    broken.with_suffix(".pdiparams").write_bytes(b"")
    with pytest.raises(ExportError, match=r"^paddle2onnx fails on this network \(.+\): leave this format out") as fault:
        convert(broken, tmp_path / "a.onnx", 11)
    assert "\n" not in str(fault.value)
    convert(program, tmp_path / "b.onnx", 11)
    assert (tmp_path / "b.onnx").is_file() and len(started) == 1


def test_a_process_that_was_ended_in_between_is_started_anew(program, started, tmp_path):
    convert(program, tmp_path / "a.onnx", 11)
    os.kill(started[0].pid, signal.SIGKILL)
    started[0].wait()
    convert(program, tmp_path / "b.onnx", 11)
    assert (tmp_path / "b.onnx").is_file() and len(started) == 2


def test_a_process_that_is_killed_at_work_is_named_and_the_next_one_works(program, started, tmp_path, monkeypatch):
    convert(program, tmp_path / "a.onnx", 11)
    wait = converter.select.select

    def killed(*words):
        os.kill(started[0].pid, signal.SIGKILL)
        return wait(*words)

    monkeypatch.setattr(converter, "_PROGRAM", "import time; time.sleep(60)")
    converter._end()
    monkeypatch.setattr(converter.select, "select", killed)
    started.clear()
    with pytest.raises(ExportError, match=f"ended by signal {signal.SIGKILL:d}: it says nothing"):
        convert(program, tmp_path / "b.onnx", 11)
    monkeypatch.undo()
    convert(program, tmp_path / "b.onnx", 11)
    assert (tmp_path / "b.onnx").is_file()


def test_one_that_takes_too_long_is_ended(program, started, tmp_path, monkeypatch):
    monkeypatch.setattr(converter, "SECONDS", 0)
    with pytest.raises(ExportError, match="paddle2onnx did not finish within"):
        convert(program, tmp_path / "a.onnx", 11)
    assert started[0].poll() is not None
    monkeypatch.undo()
    convert(program, tmp_path / "a.onnx", 11)


def test_an_interrupt_ends_the_process(program, started, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(converter.select, "select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(program, tmp_path / "a.onnx", 11)
    assert started[0].poll() is not None


def test_a_converter_that_cannot_be_imported_says_so(program, tmp_path, monkeypatch):
    (tmp_path / "paddle2onnx.py").write_text("raise ImportError('libone.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"libone\.so: cannot open shared object file"):
        convert(program, tmp_path / "a.onnx", 11)
