"""`ocrslim bench` as it is called: what it prints, and what it refuses."""

from __future__ import annotations

import json

import pytest
from small_export import Tiny, export

from ocrslim.cli import main
from ocrslim.commands import bench as command
from ocrslim.inference import RUNTIMES, Bench, BenchRow, Spread


@pytest.fixture
def folder(tmp_path):
    return export(Tiny(), tmp_path / "model", legacy=False)


def refused(capsys, *arguments: object) -> str:
    assert main(["bench", *map(str, arguments)]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def asked(monkeypatch):
    """The settings that exports would be timed with."""
    given = []

    def timed(exports, task, settings):
        given.append(settings)
        spreads = [Spread(time, time - 1, time + 1) for time in (9.0, 5.0, 3.0)]
        rows = [
            BenchRow(str(export), export, "paddle", "kernels", 1, (64, 96), spread, spread, 1.0, 1.0)
            for export, spread in zip(exports, spreads)
        ]
        return Bench(rows, {(str(exports[-1]), "onnxruntime"): "it has none"})

    monkeypatch.setattr(command, "bench", timed)
    return given


def test_two_exports_are_timed_and_told_as_json(capsys, folder):
    words = ["--task", "det", "--runtime", "paddle", "--threads", "1", "--sizes", "64x96", "32X64", "--rounds", "2"]
    assert main(["bench", str(folder), str(folder), *words, "--json"]) == 0
    *printed, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert [(row["size"], row["threads"]) for row in result["rows"]] == 2 * [([64, 96], 1)] + 2 * [([32, 64], 1)]
    assert {"median", "low", "high"} == result["rows"][0]["wall_ms"].keys() == result["rows"][0]["cpu_ms"].keys()
    assert result["rows"][0]["ratio"] == 1 and result["task"] == "det" and result["rounds"] == 2
    assert result["runtimes"].keys() == {"paddle"} and not result["not_run"]
    assert sum(str(folder) in line for line in printed) == 4


def test_without_options_every_runtime_is_used_with_one_and_all_threads_on_the_tasks_sizes(capsys, folder, asked):
    assert main(["bench", str(folder), "--task", "det", "--json"]) == 0
    (settings,) = asked
    assert settings.runtimes == tuple(name for name, runtime in RUNTIMES.items() if runtime.installed)
    assert settings.threads[0] == 1 and len(settings.threads) == len(set(settings.threads)) <= 2
    assert settings.shapes[0] == (1, 3, 736, 1280) and len(settings.shapes) > 1
    assert all(height % 32 == width % 32 == 0 for _, _, height, width in settings.shapes)
    out = capsys.readouterr().out
    assert "not run: it has none" in out
    assert json.loads(out.splitlines()[-1])["not_run"] == [
        {"export": str(folder), "runtime": "onnxruntime", "reason": "it has none"}
    ]


def test_a_recognisers_sizes_are_lines(folder, asked):
    assert main(["bench", str(folder), "--task", "rec"]) == 0
    assert {shape[2] for shape in asked[0].shapes} == {48}


def test_denormal_numbers_are_spoken_of_where_onnx_runtime_runs(capsys, folder, asked):
    for runtime, said in (("onnxruntime", True), ("paddle", False)):
        assert main(["bench", str(folder), "--task", "det", "--runtime", runtime]) == 0
        assert ("session.set_denormal_as_zero" in capsys.readouterr().out) == said


def test_a_runtime_that_is_missing_is_left_out_or_refused_where_it_is_named(capsys, caplog, folder, asked, monkeypatch):
    monkeypatch.setattr(type(RUNTIMES["openvino"]), "installed", property(lambda runtime: runtime.module == "paddle"))
    assert main(["bench", str(folder), "--task", "det"]) == 0
    assert asked[0].runtimes == ("paddle",)
    assert "OpenVINO is not installed, and left out: pip install openvino" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(type(RUNTIMES["openvino"]), "installed", False)
    line = refused(capsys, folder, "--task", "det", "--runtime", "openvino")
    assert line == "error: OpenVINO is not installed: pip install openvino"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--runtime", "tensorrt"], "argument --runtime: invalid choice: 'tensorrt'"),
        (["--sizes", "736"], "'736' is not a height and a width in pixels, such as 736x1280"),
        (["--sizes", "0x32"], "'0x32' is not a height and a width"),
        (["--sizes", "99999x99999"], "is not a height and a width"),
        (["--threads", "0"], "'0' is not a whole number from 1 to 10000"),
        (["--rounds", "many"], "'many' is not a whole number"),
        (["--task", "pose"], "pose"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, folder, words, expected):
    assert expected in refused(capsys, folder, *words)


def test_a_missing_export_is_named_before_anything_runs(capsys, folder, tmp_path, asked):
    assert f"{tmp_path / 'none'}" in refused(capsys, folder, tmp_path / "none", "--task", "det")
    assert not asked


def test_what_nothing_runs_is_refused_with_the_reason(capsys, folder):
    line = refused(capsys, folder, "--task", "det", "--runtime", "onnxruntime", "--sizes", "64x64")
    assert "ONNX Runtime reads .onnx, and it has none" in line


def test_scores_stand_beside_the_times_and_the_fastest_that_scores_well_enough_is_named(
    capsys, tmp_path, asked, monkeypatch
):
    exports = [export(Tiny(), tmp_path / name, legacy=False) for name in ("float", "pruned", "int8")]
    scores = dict(zip(exports, (0.9, 0.895, 0.88)))
    monkeypatch.setattr(command, "scan_evaluation", lambda config: "images")
    monkeypatch.setattr(
        command,
        "export_scores",
        lambda config, images, rows: {(row.runtime, row.file): scores[row.file] for row in rows},
    )
    for tolerance, best in ((0.001, "float"), (0.01, "pruned"), (0.1, "int8")):
        words = ["--task", "det", "--score", "--json", "-o", f"Export.int8_tolerance={tolerance}"]
        assert main(["bench", *map(str, exports), *words]) == 0
        *table, last = capsys.readouterr().out.splitlines()
        assert f"paddle, threads: 1, 64x96: {tmp_path / best}" in table
        assert [row["score"] for row in json.loads(last)["rows"]] == [0.9, 0.895, 0.88]
        assert sum("0.8950" in line for line in table) == 1


def test_without_images_to_score_on_nothing_is_timed(capsys, folder, asked):
    assert "Eval.dataset" in refused(capsys, folder, "--task", "det", "--score")
    assert not asked
