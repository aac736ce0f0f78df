"""Recognisers with fewer characters in every format: what they compute, what lies beside them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx_models import photograph
from small_recognisers import CHARACTERS, KINDS, SHAPE, model_file, recogniser

import ocrslim.vocabulary.exported
from ocrslim.config import load_model_config, setting
from ocrslim.errors import ArtifactError, ConfigError, ExportError, WeightsError
from ocrslim.inference import open_exported
from ocrslim.tasks import Wanted, task_of
from ocrslim.vocabulary import CutCharacters, cut_characters
from ocrslim.vocabulary.proof import probability_difference

WANTED = "b1中€"
LEFT = ("b", "中", "1", "b")
CLASSES = [0, 2, 5, 6, 10, 11]  # the blank, these, the space


def cut(model: Path, out: Path, characters: str = WANTED, options: Sequence[str] = ()) -> CutCharacters:
    return cut_characters(load_model_config(model, None, options, "rec"), Wanted(texts=[characters]), out)


def probabilities(model: Path, seed: int = 1) -> np.ndarray:
    return open_exported(model, task_of("rec"))(photograph(*SHAPE, seed=seed))


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_whole_model_over_the_kept_classes(kind, tmp_path):
    model = recogniser(tmp_path / "model", kind)
    found = cut(model, tmp_path / "out")
    assert found.classes == (12, 6) and found.unknown == ("€",) and found.difference < 1e-6
    for seed in range(3):
        before, after = probabilities(model, seed), probabilities(found.model, seed)
        assert after.shape[-1] == 6
        assert probability_difference(before, after, np.array(CLASSES)) < 1e-6
        others = np.array([0, 1, *CLASSES[2:]])
        assert probability_difference(before, after, others) > 1e-3, "a control: other classes"
    assert found.bytes[0] > found.bytes[1] == sum(
        path.stat().st_size for path in found.folder.iterdir() if path.suffix in (".onnx", ".pdmodel", ".pdiparams")
        or path.name == "inference.json"
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_dictionary_and_settings_match_and_all_else_stays(kind, tmp_path):
    model = recogniser(tmp_path / "model", kind)
    out = cut(model, tmp_path / "out").folder
    assert (out / "dict.txt").read_bytes().decode() == "b\n中\n1\nb\n"
    before, after = (
        yaml.safe_load((folder / "inference.yml").read_text("utf-8")) for folder in (tmp_path / "model", out)
    )
    assert after["PostProcess"]["character_dict"] == list(LEFT)
    before["PostProcess"]["character_dict"] = after["PostProcess"]["character_dict"]
    assert before == after
    record = json.loads((out / "charset.json").read_text("utf-8"))
    assert record["kept"] == CLASSES and record["classes"] == [12, 6] and record["unknown"] == ["€"]
    if kind == "onnx":
        whole, small = onnx.load(model), onnx.load(out / "rec.onnx")
        assert {one.key: one.value for one in small.metadata_props} == {"character": "b\n中\n1\nb"}
        assert [str(one) for one in small.graph.node] == [str(one) for one in whole.graph.node]
    else:
        assert {path.name for path in out.iterdir()} >= {"inference.pdiparams", "inference.yml"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_can_be_cut_again_by_itself(kind, tmp_path):
    model = recogniser(tmp_path / "model", kind)
    once = cut(model, tmp_path / "once")
    twice = cut(once.model if kind == "onnx" else once.folder, tmp_path / "twice", "b")
    assert twice.classes == (6, 4)
    kept = np.array([0, 2, 10, 11])
    assert probability_difference(probabilities(model), probabilities(twice.model), kept) < 1e-6


def test_the_sizes_that_an_onnx_file_notes_follow(tmp_path):
    model = recogniser(tmp_path / "model", "onnx")
    noted = onnx.shape_inference.infer_shapes(onnx.load(model))
    assert noted.graph.output[0].type.tensor_type.shape.dim[2].dim_value == 12
    onnx.save(noted, model)
    small = onnx.load(cut(model, tmp_path / "out").model)
    assert small.graph.output[0].type.tensor_type.shape.dim[2].dim_value == 6
    onnx.checker.check_model(small, full_check=True)


def test_a_model_without_a_space_gets_none(tmp_path):
    model = recogniser(tmp_path / "model", "onnx", space=False)
    found = cut(model, tmp_path / "out")
    assert found.classes == (11, 5)
    assert (found.folder / "dict.txt").read_text("utf-8") == "b\n中\n1\nb\n"


def test_an_inference_folder_without_settings_gets_some(tmp_path):
    model = model_file(tmp_path / "model", KINDS[0], 12)
    with pytest.raises(ConfigError, match="brings no dictionary along: name the one it was trained with, --dict FILE"):
        cut(model, tmp_path / "out")
    dictionary = tmp_path / "dict.txt"
    dictionary.write_text("".join(f"{one}\n" for one in CHARACTERS), "utf-8")
    named = [setting("Global.character_dict_path", str(dictionary))]
    size = [f"{mode}.dataset.transforms.RecResizeImg={{image_shape: [3, 32, 96]}}" for mode in ("Train", "Eval")]
    found = cut(model, tmp_path / "out", options=[*named, *size])
    assert cut(found.folder, tmp_path / "again").classes == (6, 6)


def test_a_dictionary_of_another_model_is_refused_with_both_numbers(tmp_path):
    model = recogniser(tmp_path / "model", "onnx", CHARACTERS)
    dictionary = tmp_path / "other.txt"
    dictionary.write_text("a\nb\n")
    with pytest.raises(WeightsError, match=r"tells 12 classes apart, and the 2 characters of .*other.txt make 4 with"):
        cut(model, tmp_path / "out", options=[setting("Global.character_dict_path", str(dictionary))])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_that_is_not_exact_leaves_nothing(kind, tmp_path, monkeypatch):
    model = recogniser(tmp_path / "model", kind)
    right = ocrslim.vocabulary.exported.LastLayer.kept

    def wrong(*given):
        return {name: array + np.float32(0.01) * np.arange(6) for name, array in right(*given).items()}

    monkeypatch.setattr(ocrslim.vocabulary.exported.LastLayer, "kept", wrong)
    with pytest.raises(ExportError, match="differ by .* expected at most 1e-05: nothing was written"):
        cut(model, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_only_an_earlier_cut_is_replaced(tmp_path):
    model, out = recogniser(tmp_path / "model", "onnx"), tmp_path / "out"
    cut(model, out)
    assert cut(model, out, "a").classes == (12, 3)
    (out / "mine.txt").write_text("mine")
    cut(model, out)
    assert (out / "mine.txt").read_text() == "mine" and (out / "dict.txt").read_text() != "a\n"
    (out / "charset.json").unlink()
    with pytest.raises(ArtifactError, match=r"out: holds other files \(.*mine.txt.*\).*with --out"):
        cut(model, out)
    for folder in (tmp_path / "model", tmp_path / "model/rec.onnx"):
        with pytest.raises(ArtifactError, match="holds the model that is cut, expected another folder"):
            cut(model, folder)


def test_what_is_no_recogniser_with_a_ctc_head_is_refused(tmp_path):
    model = recogniser(tmp_path / "model", "onnx")
    config = load_model_config(model, None, (), "rec")
    other = config.changed({"PostProcess.name": "AttnLabelDecode"})
    with pytest.raises(ConfigError, match="PostProcess.name: found AttnLabelDecode, expected CTCLabelDecode"):
        cut_characters(other, Wanted(texts=["a"]), tmp_path / "out")
    other = config.changed({"Architecture.model_type": "cls"})
    with pytest.raises(ConfigError, match="is for .*classif.*, expected a recogniser, which has characters"):
        cut_characters(other, Wanted(texts=["a"]), tmp_path / "out")
