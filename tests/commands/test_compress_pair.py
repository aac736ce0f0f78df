"""`ocrslim compress --det --rec`: two smaller models and what they bring, gone on with, and what is refused."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from small_pages import detector, recogniser, write_pages

from ocrslim.cli import main
from ocrslim.pages import measuring
from ocrslim.pages.measuring import PageMeter

SMALL = ("-o", "Prune.align=1", "Prune.recover_images=4")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Two models and pages."""
    folder = tmp_path_factory.mktemp("given")
    detector(folder / "det/det.onnx")
    recogniser(folder / "rec/rec.onnx")
    write_pages(folder / "pages", 10)
    return folder


def words(given, out, *more, det="det/det.onnx", rec="rec/rec.onnx", pages="pages"):
    models = ["--det", str(given / det), "--rec", str(given / rec)]
    return ["compress", *models, "--images", str(given / pages), "--out", str(out), *more, *SMALL]


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """The folder of a run that was ended amid its measurements, and gone on with."""
    out = tmp_path_factory.mktemp("run") / "out"
    patch, reads = pytest.MonkeyPatch(), []
    keep = PageMeter._keep

    def ended(self, page, *rest):
        reads.append(page)
        if len(reads) == 12:  # two pages behind the first look at all of them
            raise KeyboardInterrupt
        keep(self, page, *rest)

    patch.setattr(PageMeter, "_keep", ended)
    assert main(words(given, out, "--target", "latency=0.01")) == 130
    patch.undo()
    known = (out / "run/pages.jsonl").read_text().splitlines()
    code = main(words(given, out, "--target", "latency=0.01"))
    return out, code, known


def record(out):
    return json.loads((out / "compress.json").read_text("utf-8"))


@pytest.mark.slow
def test_two_models_come_out_as_they_came_in_with_what_was_measured(finished):
    out, code, _ = finished
    found = record(out)
    assert (out / "det/det.onnx").is_file() and (out / "rec/rec.onnx").is_file()
    assert {found[task]["out"]["format"] for task in ("det", "rec")} == {"onnx"}
    assert code == (0 if found["verdict"]["kind"] == "worth it" else 3)
    assert found["agreement"]["metric"] == "line F1" and found["agreement"]["images"] == 3
    assert found["times"][0]["threads"] == 1
    for row in found["times"]:
        for name in ("before", "rewritten", "after"):
            assert row[name]["detection"] + row[name]["recognition"] == pytest.approx(row[name]["mean"])
        assert row["ratio"] == pytest.approx(row["after"]["mean"] / row["before"]["mean"])
    parts = [set(found["images"][name]) for name in ("calibration", "choice", "held_out")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10
    assert all((out / sample["image"]).is_file() for sample in found["samples"])
    assert {"points", "text", "score"} == set(found["samples"][0]["before"][0])


@pytest.mark.slow
def test_what_was_tried_holds_both_curves_and_the_pair_that_was_chosen(finished):
    found = record(finished[0])
    alone = [trial["target"] for trial in found["tried"] if len(trial["target"]) == 1]
    assert {0.0, 0.25} <= {target["det.macs"] for target in alone if "det.macs" in target}
    assert {0.0, 0.25} <= {target["rec.macs"] for target in alone if "rec.macs" in target}
    assert all(0 <= trial["agreement"] <= 1 and trial["ratio"] > 0 for trial in found["tried"])


@pytest.mark.slow
def test_a_run_that_was_ended_goes_on_with_what_it_has_read(finished, given, caplog):
    out, code, known = finished
    assert (out / "run/pages.jsonl").read_text().splitlines()[: len(known)] == known
    before = record(out)
    assert main(words(given, out, "--target", "latency=0.01")) == code  # nothing is left to do
    assert record(out) == before and "has finished before" in caplog.text


@pytest.mark.slow
def test_another_request_for_the_same_folder_is_refused(finished, given, capsys):
    assert main(words(given, finished[0], "--target", "latency=0.2")) == 2
    assert "--target was latency=0.01, now latency=0.2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "swap, more, said",
    [
        ({}, ("--target", "macs=0.5"), "--target macs=0.5: two models share the seconds of a page"),
        ({}, ("-o", "Prune.target.macs=0.5"), "-o Prune.target is of one model: expected --target latency=FRACTION"),
        ({}, ("--task", "det"), "--task does not go with --det and --rec"),
        ({}, ("--chars", "chars.txt"), "ocrslim charset"),
        ({"rec": "det/det.onnx"}, (), "not a model for text recognition"),
        ({"det": "rec/rec.onnx"}, (), "is a model for text recognition, expected a detector: name it with --rec"),
        ({"det": "none.onnx"}, (), "none.onnx: not found"),
        ({"pages": "none"}, (), "none: not found; expected a folder of images"),
        ({"pages": "empty"}, (), "the two models as they came read nothing on 9 pages"),
        ({"pages": "few"}, (), "text is read on 5 of 5 pages, expected at least 8"),
        ({"pages": "broken"}, (), "none of 9 images can be read"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(swap, more, said, given, tmp_path, capsys):
    for name in ("empty", "broken"):
        (given / name).mkdir(exist_ok=True)
        for number in range(9):
            path = given / name / f"{number}.png"
            cv2.imwrite(str(path), np.full((64, 64, 3), 235, np.uint8))
            if name == "broken":
                path.write_bytes(b"none")
    write_pages(given / "few", 5)
    (tmp_path / "chars.txt").write_text("1\n")
    more = [str(tmp_path / word) if word.endswith(".txt") else word for word in more]
    assert main(words(given, tmp_path / "out", *more, **swap)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and said in error[0]


@pytest.mark.parametrize("task, other", [("det", "rec"), ("rec", "det")])
def test_one_of_two_models_alone_is_no_pair(task, other, given, tmp_path, capsys):
    model = str(given / f"{task}/{task}.onnx")
    assert main(["compress", f"--{task}", model, "--images", str(given / "pages"), "--out", str(tmp_path / "o")]) == 2
    assert f"--{task} is named without --{other}" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(given, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(words(given, tmp_path)) == 2
    assert "holds other files" in capsys.readouterr().err and (tmp_path / "mine.txt").is_file()


def test_few_recognisers_are_open_at_the_same_time():
    first = measuring.Pair("det", "rec")
    pairs = [first, *(measuring.Pair("det", f"rec{n}") for n in range(5)), measuring.Pair("det2", "rec")]
    groups = measuring._open_together(first, pairs)
    assert sorted(str(pair) for group in groups for pair in group) == sorted(map(str, pairs))
    assert max(len({pair.recogniser for pair in group} - {"rec"}) for group in groups) == 2


def test_models_of_two_runtimes_are_told_to_name_one(given, tmp_path, capsys):
    pytest.importorskip("paddle")
    from small_export import export
    from small_recognisers import CHARACTERS, Line, write_settings

    folder = tmp_path / "rec"
    shutil.rmtree(folder, ignore_errors=True)
    export(Line(len(CHARACTERS) + 2), folder, legacy=True)
    write_settings(folder)
    pair = ["--det", str(given / "det/det.onnx"), "--rec", str(folder)]
    assert main(["compress", *pair, "--images", str(given / "pages"), "--out", str(tmp_path / "out")]) == 2
    assert "--det is run by ONNX Runtime, --rec is run by Paddle Inference" in capsys.readouterr().err
