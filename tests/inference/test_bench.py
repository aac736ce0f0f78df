"""Exports compared: which rows there are, what they are held against, and what is left out and why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from detection import DETECTION
from onnx_models import node, onnx_model, saved, weights
from small_export import FORMATS, Tiny, export

from ocrslim.cli.commands.bench import RUNTIMES as OFFERED
from ocrslim.config import Runtime as RuntimeName
from ocrslim.errors import OcrSlimError, WeightsError
from ocrslim.inference import RUNTIMES, BenchSettings, bench
from ocrslim.inference.timing import bench as module
from ocrslim.inference.timing.process import TimingProcess
from ocrslim.inference.timing.stand import Pass

SHAPES = [(1, 3, 64, 96), (1, 3, 32, 64)]


def onnx_detector(path: Path, height: object = "h", channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nodes = [node("Conv", "x w", "m", kernel_shape=[1, 1]), node("Sigmoid", "m", "y")]
    tensors = {"w": weights(channels, 3, 1, 1)}
    return saved(path, onnx_model(*nodes, tensors=tensors, image=("n", 3, height, "w_")))


@pytest.fixture
def two(tmp_path):
    return [onnx_detector(tmp_path / name / "inference.onnx").parent for name in ("before", "after")]


class Told:
    """Stands for a process; every pass of its network number n takes n + 1 ms, and a tenth of that more each round."""

    started: list = []  # noqa: RUF012

    def __init__(self, runtime, threads):
        self.runtime, self.threads, self.files = runtime, threads, []
        self.started.append((runtime, threads))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def open(self, path, own=False):
        if b"damaged" in path.read_bytes():
            raise WeightsError(f"{path}: damaged")
        self.files.append(path)
        return len(self.files) - 1

    def check(self, number, path, task, shape):
        return f"kernels of {self.runtime}"

    def time(self, numbers, shape, rounds, on_pass):
        return [[Pass(n, (n + 1) * (1 + turn), 2 * (n + 1), 0) for turn in range(rounds)] for n in numbers]


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(module, "TimingProcess", Told)
    monkeypatch.setattr(Told, "started", [])
    monkeypatch.setattr(module.RUNTIMES["openvino"].__class__, "installed", True)
    return Told


def test_every_runtime_and_number_of_threads_has_a_process_and_every_size_and_export_a_row(two, told):
    found = bench(two, DETECTION, BenchSettings(["openvino", "onnxruntime"], [4, 1], SHAPES, rounds=5))
    assert told.started == [("openvino", 4), ("openvino", 1), ("onnxruntime", 4), ("onnxruntime", 1)]
    rows = [(row.runtime, row.threads, row.size, row.export) for row in found.rows]
    assert rows == [
        (runtime, threads, size, str(export))
        for runtime in ("openvino", "onnxruntime")
        for threads in (4, 1)
        for size in ((64, 96), (32, 64))
        for export in two
    ]
    assert found.rows[0].kernels == "kernels of openvino" and found.rows[0].file == two[0] / "inference.onnx"
    assert not found.not_run


def test_times_are_medians_and_quartiles_and_ratios_are_to_the_first_export_round_by_round(two, told):
    first, second = bench(two, DETECTION, BenchSettings(["onnxruntime"], [1], SHAPES[:1], rounds=5)).rows
    assert (first.wall_ms.low, first.wall_ms.median, first.wall_ms.high) == (2, 3, 4)
    assert (second.wall_ms.median, second.cpu_ms.median) == (6, 4)
    assert (first.ratio, second.ratio, second.cpu_ratio) == (1, 2, 2)


def test_one_round_is_its_own_median(two, told):
    (row, _) = bench(two, DETECTION, BenchSettings(["onnxruntime"], [1], SHAPES[:1], rounds=1)).rows
    assert row.wall_ms.low == row.wall_ms.median == row.wall_ms.high == 1


def test_what_is_damaged_is_left_out_with_the_reason_and_there_is_no_ratio_to_it(two, told):
    (two[0] / "inference.onnx").write_bytes(b"damaged")
    found = bench(two, DETECTION, BenchSettings(["onnxruntime"], [1], SHAPES[:1]))
    assert [(row.export, row.ratio) for row in found.rows] == [(str(two[1]), None)]
    assert found.not_run == {(str(two[0]), "onnxruntime"): f"{two[0] / 'inference.onnx'}: damaged"}


def test_an_export_may_be_held_against_itself(two, told):
    rows = bench([two[0], two[0]], DETECTION, BenchSettings(["onnxruntime"], [1], SHAPES[:1])).rows
    assert len(rows) == 2 and rows[0].ratio == 1


def test_the_empty_file_that_guards_a_folder_is_no_network(tmp_path):
    folder = export(Tiny(), tmp_path / "model", legacy=False)
    (folder / "inference.pdmodel").touch()
    assert RUNTIMES["paddle"].file_of(folder) == folder / "inference.json"


@pytest.mark.parametrize("kind", FORMATS)
def test_each_runtime_takes_the_format_that_it_reads(tmp_path, kind):
    folder = export(Tiny(), tmp_path / "model", legacy=kind == "legacy")
    program = folder / ("inference.pdmodel" if kind == "legacy" else "inference.json")
    assert RUNTIMES["paddle"].file_of(folder) == RUNTIMES["paddle"].file_of(program) == program
    with pytest.raises(WeightsError, match=r"ONNX Runtime reads \.onnx, and it has none: .*Export\.formats"):
        RUNTIMES["onnxruntime"].file_of(folder)
    file = onnx_detector(folder / "onnx/inference.onnx")
    assert RUNTIMES["onnxruntime"].file_of(folder) == RUNTIMES["onnxruntime"].file_of(file) == file
    assert RUNTIMES["openvino"].file_of(folder) == (program if kind == "legacy" else file)
    with pytest.raises(WeightsError, match=r"Paddle Inference reads \.pdmodel and \.json"):
        RUNTIMES["paddle"].file_of(file)


def test_json_files_without_weights_are_no_networks(tmp_path):
    file = onnx_detector(tmp_path / "inference.onnx")
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(WeightsError, match="it has none"):
        RUNTIMES["paddle"].file_of(tmp_path)
    assert RUNTIMES["onnxruntime"].file_of(tmp_path) == file


def test_a_runtime_that_is_not_installed_is_named_with_its_command(two, monkeypatch):
    monkeypatch.setattr(module.RUNTIMES["openvino"].__class__, "installed", False)
    with pytest.raises(OcrSlimError, match="OpenVINO is not installed: pip install openvino"):
        bench(two, DETECTION, BenchSettings(["openvino"], [1], SHAPES))


def test_the_runtimes_are_those_of_the_configuration():
    assert tuple(RUNTIMES) == OFFERED == get_args(RuntimeName)


def test_networks_run_in_their_runtime_and_what_does_not_fit_is_refused(tmp_path):
    any_size, fixed = onnx_detector(tmp_path / "any.onnx"), onnx_detector(tmp_path / "fixed.onnx", height=64)
    other = onnx_detector(tmp_path / "other.onnx", channels=5)
    found = bench([any_size, fixed, other], DETECTION, BenchSettings(["onnxruntime"], [2], SHAPES, rounds=2))
    assert [(row.export, row.size) for row in found.rows] == [
        (str(any_size), (64, 96)),
        (str(fixed), (64, 96)),
        (str(any_size), (32, 64)),
    ]
    assert all(row.wall_ms.low > 0 and row.threads == 2 for row in found.rows)
    assert "its input is fixed to [-1, 3, 64, -1]" in found.not_run[str(fixed), "onnxruntime"]
    assert "not a model for text detection" in found.not_run[str(other), "onnxruntime"]


def test_paddle_runs_an_export_beside_another(tmp_path):
    folders = [export(Tiny(), tmp_path / name, legacy=False) for name in "ab"]
    found = bench(folders, DETECTION, BenchSettings(["paddle"], [1], SHAPES[:1], rounds=2))
    assert [row.export for row in found.rows] == list(map(str, folders)) and not found.not_run


def test_openvino_runs_an_export(tmp_path):
    pytest.importorskip("openvino", reason="package not installed: openvino (requirements-dev.txt)")
    file = onnx_detector(tmp_path / "any.onnx")
    (row,) = bench([file], DETECTION, BenchSettings(["openvino"], [1], SHAPES[:1], rounds=2)).rows
    assert (row.kernels, row.ratio) == ("OpenVINO", 1)


def test_a_process_has_the_threads_that_it_is_given(two):
    running = []
    for threads in (1, 3):
        with TimingProcess("onnxruntime", threads) as process:
            process.open(two[0] / "inference.onnx")
            running.append(len([*Path(f"/proc/{process._process.pid}/task").iterdir()]))
    assert running[1] - running[0] == 2


def test_a_process_that_crashes_is_a_line(two):
    with TimingProcess("onnxruntime", 1) as process:
        process.open(two[0] / "inference.onnx")
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(OcrSlimError, match="the process that runs ONNX Runtime with 1 thread ended with status -9"):
            process.open(two[1] / "inference.onnx")


def test_denormal_numbers_are_taken_as_zero(tmp_path):
    nodes = [node("Conv", "x w", "m", kernel_shape=[1, 1]), node("Mul", "m one", "y")]
    denormal = np.full((1, 3, 1, 1), 713_624, np.uint32).view(np.float32)  # 1e-39, which this process may compute as 0
    tensors = {"w": denormal, "one": weights(1) * 0 + 1}
    file = saved(tmp_path / "denormal.onnx", onnx_model(*nodes, tensors=tensors))
    opened = {"OnnxEngine(path)": "True", "RUNTIMES['onnxruntime'].open(path, 1, False)": "False"}
    for engine, some in opened.items():  # a process each: the first session of one decides; the first is the control
        code = (
            "import numpy, pathlib, sys; from ocrslim.inference import OnnxEngine, RUNTIMES; "
            f"path = pathlib.Path(sys.argv[1]); print({engine}(numpy.ones((1, 3, 8, 8), numpy.float32)).any())"
        )
        told = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(file)], capture_output=True, check=True)
        assert told.stdout.decode().strip() == some
