"""`ocrslim compress` on tiny networks, in every format: what comes out, what goes on, what is refused in one line."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bare_models import FORMAT_OF, KINDS, SMALL, source, write_images
from small_recognisers import recogniser
from waiting import wait_until

from ocrslim.cli import main
from ocrslim.compression import Agreement, comparison, cutting, times
from ocrslim.inference import RUNTIMES, Bench, BenchRow, Spread
from ocrslim.pruning import prunable

OPTIONS = ["-o", SMALL, "Prune.align=1", "Prune.recover_images=4"]
SPEED = {"before": 10.0, "rewritten": 8.0, "after": 5.0}


@pytest.fixture
def images(tmp_path) -> Path:
    return write_images(tmp_path / "images")


@pytest.fixture
def timed(monkeypatch) -> dict[str, float]:
    """The milliseconds that each file takes, in place of the machine's, which differ from run to run."""
    speed = dict(SPEED)

    def bench(exports, task, settings):
        rows = []
        for threads in settings.threads:
            for export, name in zip(exports, ("before", "rewritten", "after")):
                spread, ratio = Spread(*[speed[name]] * 3), speed[name] / speed["before"]
                place = (settings.runtimes[0], "kernels", threads, settings.shapes[0][2:])
                rows.append(BenchRow(str(export), export, *place, spread, spread, ratio, ratio))
        return Bench(rows)

    monkeypatch.setattr(times, "bench", bench)
    return speed


def words(model: Path, images: Path, out: Path, *more: str) -> list[str]:
    return ["compress", str(model), "--task", "det", "--images", str(images), "--out", str(out), *more, *OPTIONS]


def compressed(capsys, arguments: list[str], *codes: int) -> dict:
    """The record of a command that ends with one of these exit codes, by default with any verdict."""
    assert main([*arguments, "--json"]) in (codes or (0, 3))
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys, arguments: list[str]) -> str:
    assert main(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_out_smaller_in_its_own_format(kind, images, tmp_path, capsys, timed):
    model, out = source(tmp_path / "model", kind), tmp_path / "out"
    record = compressed(capsys, words(model, images, out, "--target", "macs=0.2"))
    assert record == json.loads((out / "compress.json").read_text())
    assert record["model"]["format"] == record["out"]["format"] == FORMAT_OF[kind]
    assert all(str(out) in call and "run/export" not in call for call in record["export"]["clients"].values())
    before, after = record["costs"]["before"], record["costs"]["after"]
    assert 0.7 * before["macs"] < after["macs"] <= 0.8 * before["macs"] and after["params"] < before["params"]
    parts = [record["images"][name] for name in ("calibration", "choice", "held_out")]
    assert sorted(itertools.chain(*parts)) == sorted(path.name for path in images.iterdir())
    agreement = record["agreement"]
    assert agreement["images"] == len(parts[2]) and agreement["low"] <= agreement["value"] <= agreement["high"]
    assert [row["threads"] for row in record["times"]] == [1, 2] and record["times"][0]["ratio"] == 0.5
    samples = record["samples"]
    assert samples and all(cv2.imread(str(out / one["image"])).shape[:2] == tuple(one["size"]) for one in samples)
    assert all(item["points"] for one in samples for item in one["before"])
    assert (
        main(
            [
                "predict",
                str(out),
                "--task",
                "det",
                "--images",
                str(images),
                "--out",
                str(tmp_path / "seen"),
                "-o",
                SMALL,
            ]
        )
        == 0
    )


def test_the_order_of_removal_is_measured_once(images, tmp_path, capsys, timed, monkeypatch):
    """The run that prunes, and records its other plans for the report, takes over what the choice was made by."""
    measured, real = [], prunable.removals
    monkeypatch.setattr(prunable, "removals", lambda *given, **more: measured.append(1) or real(*given, **more))
    model, out = source(tmp_path / "model", "onnx"), tmp_path / "out"
    compressed(capsys, words(model, images, out, "--target", "macs=0.2"))
    assert (out / "run/plans.json").is_file() and measured == [1]


def test_without_a_target_the_most_is_removed_that_the_images_bear(images, tmp_path, capsys, timed):
    record = compressed(capsys, words(source(tmp_path / "model", "onnx"), images, tmp_path / "out"))
    tried = {trial["target"]["macs"]: trial["agreement"] for trial in record["tried"]}
    assert record["target"] == {"agreement_loss": 0.01} and 1 < len(tried) <= 5
    bearable = [target for target, agreement in tried.items() if agreement >= 0.99]
    assert record["pruned"] == ({"macs": max(bearable)} if bearable else None)


def test_the_same_command_goes_on_and_another_one_is_refused(images, tmp_path, capsys, timed, monkeypatch):
    model, out = source(tmp_path / "model", "onnx"), tmp_path / "out"
    arguments = words(model, images, out, "--target", "macs=0.2")
    first = compressed(capsys, arguments)
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "prune_and_train", None)  # nothing is done again
        again = compressed(capsys, arguments)
        assert again == first
        patch.chdir(tmp_path)  # the same files by other words
        here = words(Path("model/det.onnx"), Path("images"), Path("out"), "--target", "macs=0.2")
        assert compressed(capsys, here)["agreement"] == first["agreement"]
        (out / "det.onnx").unlink()
        restored = compressed(capsys, arguments)
    assert restored["agreement"] == first["agreement"] and (out / "det.onnx").is_file()
    other = words(model, images, out, "--target", "macs=0.3")
    assert "--target was macs=0.2, now macs=0.3: choose another --out, or" in refused(capsys, other)
    write_images(tmp_path / "more", 13)
    assert "--images was 12 of hash" in refused(capsys, words(model, tmp_path / "more", out, "--target", "macs=0.2"))
    assert compressed(capsys, [*other, "Global.overwrite=true"])["pruned"] == {"macs": 0.3}


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_as_one_that_was_not(images, tmp_path, capsys):
    model = source(tmp_path / "model", "onnx")
    whole = compressed(capsys, words(model, images, tmp_path / "whole", "--target", "macs=0.2"))
    arguments = words(model, images, tmp_path / "killed", "--target", "macs=0.2")
    for step in ("look", "choose", "prune", "export", "agree"):
        kill_after(step, arguments, tmp_path / "killed/run/steps.json")
    record = compressed(capsys, arguments)
    assert record["agreement"] == whole["agreement"] and record["images"] == whole["images"]
    for kind in ("macs", "params"):  # bytes differ by names that paddle2onnx counts up
        assert record["costs"]["after"][kind] == whole["costs"]["after"][kind]


def kill_after(step: str, arguments: list[str], journal: Path) -> None:
    """Run the command until a step is done, and kill it."""

    def done() -> bool:
        return journal.is_file() and f'"{step}"' in journal.read_text()

    command = [sys.executable, "-m", "ocrslim", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_until(done, lambda: process.poll() is None)
    process.kill()
    process.wait()


def test_what_is_not_faster_is_not_worth_it_and_a_collapse_is_named(images, tmp_path, capsys, timed, monkeypatch):
    model = source(tmp_path / "model", "onnx")
    timed["after"] = 9.6
    record = compressed(capsys, words(model, images, tmp_path / "slow", "--target", "macs=0.2"), 3)
    assert record["verdict"]["kind"] == "not worth it" and record["verdict"]["advice"]
    timed["after"] = 2.0
    monkeypatch.setattr(comparison, "agreement_of", lambda counts, config: Agreement("hmean", 0.5, 0.4, 0.6, 4))
    record = compressed(capsys, words(model, images, tmp_path / "lost", "--target", "macs=0.2"), 3)
    assert record["verdict"]["kind"] == "collapse"


def test_labels_add_the_score_of_both(images, tmp_path, capsys, timed):
    boxes = [{"transcription": "text", "points": [[8, 8], [80, 8], [80, 50], [8, 50]]}]
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{path.name}\t{json.dumps(boxes)}\n" for path in sorted(images.iterdir())))
    model = source(tmp_path / "model", "onnx")
    arguments = words(model, images, tmp_path / "out", "--target", "macs=0.2", "--labels", str(labels))
    record = compressed(capsys, arguments)
    assert record["score"]["metric"] == "hmean" and record["score"]["images"] == record["agreement"]["images"]
    labels.write_text(f"elsewhere.png\t{json.dumps(boxes)}\n")
    arguments[arguments.index(str(tmp_path / "out"))] = str(tmp_path / "other")
    assert "names none of the images" in refused(capsys, arguments)


def test_it_trains_for_some_minutes_on_the_unpruned_models_outputs(images, tmp_path, capsys, timed):
    model = source(tmp_path / "model", "onnx")
    record = compressed(capsys, words(model, images, tmp_path / "out", "--target", "macs=0.2", "--minutes", "0.05"))
    trained = json.loads((tmp_path / "out/run/latest.json").read_text())
    assert trained["global_step"] > 0 and record["score"] is None


def test_a_latency_is_that_of_the_file_as_it_came_so_that_rewriting_counts(images, tmp_path, capsys, timed):
    record = compressed(
        capsys, words(source(tmp_path / "model", "onnx"), images, tmp_path / "out", "--target", "latency=0.15")
    )
    assert record["pruned"] is None, "rewriting alone takes 80 % of the time"
    assert record["agreement"]["value"] == 1 and "computes the same" in record["verdict"]["text"]


def test_characters_go_first(tmp_path, capsys, timed):
    model, images = recogniser(tmp_path / "model", "onnx"), tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        cv2.imwrite(str(images / f"{number}.png"), rng.integers(0, 256, (32, 96, 3), dtype=np.uint8))
    chars = tmp_path / "chars.txt"
    chars.write_text("1\nb\n")
    arguments = ["compress", str(model), "--images", str(images), "--out", str(tmp_path / "out"), "--chars", str(chars)]
    record = compressed(
        capsys,
        [*arguments, "--target", "macs=0.2", "-o", "Prune.align=1", "Prune.recover_images=4", "Prune.skip_loss=1"],
    )
    assert record["charset"]["classes"][1] < record["charset"]["classes"][0]
    assert record["costs"]["after"]["params"] < record["costs"]["before"]["params"]
    texts = [item["text"] for one in record["samples"] for item in one["after"]]
    assert texts and set("".join(texts)) <= set("1b ")
    chars.write_text("")
    assert "chars.txt: no characters in it" in refused(capsys, arguments)


def blank(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((64, 96, 3), np.uint8))
    return folder


def test_bad_images_are_refused_in_one_line(images, tmp_path, capsys):
    model = source(tmp_path / "model", "onnx")

    def said(folder: Path, *more: str) -> str:
        return refused(capsys, words(model, folder, tmp_path / "out", *more))

    assert "not found; expected a folder" in said(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no images" in said(tmp_path / "empty")
    assert "is one file, expected a folder of at least 8 images" in said(images / "00.png")
    one = write_images(tmp_path / "one", 1)
    assert "1 image in which the unpruned model finds something, expected at least 8" in said(one)
    (tmp_path / "broken").mkdir()
    for number in range(9):
        (tmp_path / f"broken/{number}.jpg").write_bytes(b"no image")
    assert "none of 9 images can be read" in said(tmp_path / "broken")
    assert "the unpruned model finds nothing in 9 images" in said(
        blank(tmp_path / "blank", 9), "-o", "PostProcess.thresh=0.999"
    )


def test_other_bad_input_is_refused_in_one_line(images, tmp_path, capsys, monkeypatch):
    model, out = source(tmp_path / "model", "onnx"), tmp_path / "out"
    assert "cannot be reached: at most" in refused(capsys, words(model, images, out, "--target", "macs=0.99"))
    assert "'speed=0.5' is no target: expected macs, params, latency" in refused(
        capsys, words(model, images, tmp_path / "b", "--target", "speed=0.5")
    )
    assert "not a model for text recognition" in refused(
        capsys, ["compress", str(model), "--task", "rec", "--images", str(images), "--out", str(tmp_path / "c")]
    )
    monkeypatch.setattr(type(RUNTIMES["openvino"]), "installed", property(lambda runtime: runtime.module != "openvino"))
    assert "OpenVINO is not installed: pip install openvino" in refused(
        capsys, words(model, images, tmp_path / "d", "--runtime", "openvino")
    )
    assert "holds the model itself" in refused(capsys, words(model, images, tmp_path / "model"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    assert "holds other files" in refused(capsys, words(model, images, tmp_path / "full"))
    assert "no model is named" in refused(capsys, ["compress", "--images", str(images), "--out", str(out)])
