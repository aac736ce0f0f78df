"""The command `charset`, in every format, and what it refuses: each in one line, with exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from lines import draw_line, own_networks, write_lines, write_tree  # noqa: F401  (a fixture)
from lines import recogniser as configuration
from oracle import randomise
from small_recognisers import KINDS, recogniser

import ocrslim
import ocrslim.errors
from ocrslim.cli import main
from ocrslim.config import load_config
from ocrslim.models import build_model, save_checkpoint


def written(folder: Path, content: str, name: str = "chars.txt") -> Path:
    path = folder / name
    path.write_text(content, "utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_cut_to_the_characters_of_files_and_read_by_predict(kind, tmp_path, capsys):
    model, out = recogniser(tmp_path / "model", kind), tmp_path / "out"
    chars, text = written(tmp_path, "1\n€\n"), written(tmp_path, "béé", "text.txt")
    labels = written(tmp_path, "x.png\t中\n", "label.txt")
    words = ["--chars", str(chars), "--text", str(text), "--labels", str(labels), "--out", str(out), "--json"]
    assert main(["charset", str(model), *words]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "not in the model's dictionary: 1 of the wanted characters: '€' (U+20AC)"
    assert "7 of 12 classes" in said[1] and "largest difference of probabilities" in said[1]
    result = json.loads(said[2])
    assert result["classes"] == [12, 7] and result["unknown"] == ["€"] and result["folder"] == str(out)
    image = tmp_path / "line.png"
    cv2.imwrite(str(image), draw_line("1b", np.random.default_rng(0)))
    assert main(["predict", str(out), "--images", str(image), "--out", str(tmp_path / "seen"), "--json"]) == 0
    found = json.loads((tmp_path / "seen/texts.json").read_text("utf-8"))
    assert set(next(iter(found.values()))["text"]) <= set("1bé中 ")


def test_a_checkpoint_with_its_configuration_can_be_trained_on(tmp_path, capsys):
    label = write_lines(tmp_path / "lines", ["12", "21", "112", "22"])
    path = write_tree(tmp_path / "rec.yml", configuration(tmp_path, label, label))
    paddle.seed(1)
    save_checkpoint(randomise(build_model(load_config(path).section("Architecture"))), tmp_path / "latest")
    out = tmp_path / "out"
    assert main(["charset", str(tmp_path / "latest"), "-c", str(path), "--labels", str(label), "--out", str(out)]) == 0
    assert "3 of 11 classes" in capsys.readouterr().out
    assert main(["eval", str(out / "latest"), "--json"]) == 0  # by the config.yml beside it
    capsys.readouterr()
    assert main(["train", "-c", str(out / "config.yml"), "-o", "Global.epoch_num=1", "--json"]) == 0
    assert main(["export", str(out / "latest"), "-o", f"Global.save_inference_dir={tmp_path / 'exported'}"]) == 0
    assert "character_dict:\n  - '1'\n  - '2'\n" in (tmp_path / "exported/inference.yml").read_text()


def test_from_python(tmp_path):
    model = recogniser(tmp_path / "model", "onnx")
    found = ocrslim.charset(model, tmp_path / "out", "12€", labels=written(tmp_path, "x.png\tb\n"))
    assert isinstance(found, ocrslim.CutCharacters)
    assert found.classes == (12, 6) and found.unknown == ("€",) and found.difference < 1e-6
    assert found.model == tmp_path / "out/rec.onnx"
    flag = "\U0001f1e9\U0001f1ea"
    assert ocrslim.charset(model, tmp_path / "out", f"a{flag}").classes == (12, 4)
    assert ocrslim.charset(model, tmp_path / "out", ["a", flag]).classes == (12, 4)
    with pytest.raises(ocrslim.errors.DataError, match="none is in the model's dictionary|no character but"):
        ocrslim.charset(model, tmp_path / "none", "")


REFUSED = {
    "no file": ([], "no characters are named: expected --chars FILE, --text FILE or --labels FILE"),
    "empty": (["--chars", "{empty}"], "empty.txt: no characters in it"),
    "several code points": (["--chars", "{joined}"], "joined.txt:1: 'ab' is 2 code points (U+0061 U+0062)"),
    "all unknown": (["--text", "{other}"], "of its 3 characters none is in the model's dictionary ('x' (U+0078)"),
    "no dictionary": (["--chars", "{right}", "--dict", "{missing}"], "missing.txt not found"),
    "misfit": (["--chars", "{right}", "--dict", "{right}"], "tells 12 classes apart, and the 1 characters of"),
    "no labels": (["--labels", "{right}"], "right.txt:1: found 'a', expected NAME<TAB>text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line(name, tmp_path, capsys):
    words, message = REFUSED[name]
    contents = {"empty": "\n", "joined": "ab\n", "other": "xyz", "right": "a\n"}
    paths = {key: str(written(tmp_path, text, f"{key}.txt")) for key, text in contents.items()}
    paths["missing"] = str(tmp_path / "missing.txt")
    model = recogniser(tmp_path / "model", "onnx")
    out = tmp_path / "out"
    assert main(["charset", str(model), *(word.format(**paths) for word in words), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not out.exists()


def test_a_damaged_model_is_one_line(tmp_path, capsys):
    model, chars = recogniser(tmp_path / "model", "onnx"), written(tmp_path, "a\n")
    whole = model.read_bytes()
    for data in (whole[:200], b"", whole[: len(whole) // 2]):
        model.write_bytes(data)
        assert main(["charset", str(model), "--chars", str(chars), "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert not (tmp_path / "out").exists()
