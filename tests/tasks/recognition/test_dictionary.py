"""Dictionaries: where they are found, and the classes that they make, as PaddleOCR's own classes count them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ocrslim.errors import ConfigError
from ocrslim.ppocr import build_post_process
from ocrslim.tasks import task_of
from ocrslim.tasks.line_task import other_classes
from ocrslim.tasks.recognition import dictionary
from ocrslim.tasks.recognition.classes import fill_in
from ocrslim.tasks.recognition.dictionary import SPECIAL, characters_of, class_count, dictionary_file


@pytest.fixture
def letters(tmp_path):
    file = tmp_path / "letters.txt"
    file.write_bytes("a\nb\r\né\n中\n".encode())
    return file


@pytest.mark.parametrize("space", [None, True, False])
@pytest.mark.parametrize("decoder", sorted(SPECIAL))
def test_classes_are_those_of_paddleocrs_decoder(letters, decoder, space):
    settings = {"character_dict_path": str(letters), "max_text_length": 25}
    settings |= {} if space is None else {"use_space_char": space}
    if decoder == "DistillationSARLabelDecode":
        pytest.skip("PaddleOCR's builder has it, and no such class")
    theirs = build_post_process({"name": decoder}, dict(settings))
    assert class_count(settings, decoder) == len(theirs.character)
    assert set(characters_of(settings, decoder)) <= set(theirs.character)


def test_without_a_dictionary_there_are_digits_and_small_letters():
    assert class_count({"use_space_char": True}, "CTCLabelDecode") == 37
    assert len(build_post_process({"name": "CTCLabelDecode"}, {"use_space_char": True}).character) == 37


def test_it_is_looked_for_in_the_working_directory_then_in_paddleocr(tmp_path, monkeypatch):
    name = {"character_dict_path": "./ppocr/utils/en_dict.txt"}
    monkeypatch.chdir(tmp_path)
    installed = dictionary_file(name)
    assert installed.is_file() and len(characters_of(name)) == 95
    checkout = tmp_path / "checkout"
    for folder, content in ((checkout, "x\n"), (tmp_path, "x\ny\n")):
        (folder / "ppocr/utils").mkdir(parents=True)
        (folder / "ppocr/utils/en_dict.txt").write_text(content)
        assert len(characters_of({**name, "paddleocr": str(checkout)})) == len(content) / 2


def test_a_dictionary_that_is_changed_is_read_anew(letters):
    settings = {"character_dict_path": str(letters)}
    assert len(characters_of(settings)) == 4
    letters.write_text("a\nb\n")
    assert characters_of(settings) == ("a", "b")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(None, "not found; looked in the working directory", id="missing"),
        pytest.param(b"", "is empty, expected one character a line", id="empty"),
        pytest.param(b"a\n\xff\n", "is not UTF-8 (byte 2)", id="not-utf-8"),
    ],
)
def test_a_file_that_is_no_dictionary_is_named(tmp_path, content, expected):
    file = tmp_path / "letters.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        characters_of({"character_dict_path": str(file)})
    assert expected in str(caught.value) and str(file) in str(caught.value)


def test_an_unknown_decoder_is_named():
    with pytest.raises(ConfigError, match="PostProcess.name: found 'CTCDecode', expected one of CTCLabelDecode"):
        class_count({}, "CTCDecode")


def tree(head, loss, decoder="CTCLabelDecode"):
    return {"Architecture": {"algorithm": "x", "Head": head}, "Loss": loss, "PostProcess": {"name": decoder}}


MULTI_SAR = {"name": "MultiHead", "head_list": [{"CTCHead": {}}, {"SARHead": {"enc_dim": 512}}]}
MULTI_NRTR = {"name": "MultiHead", "head_list": [{"CTCHead": {}}, {"NRTRHead": {}}]}


# What PaddleOCR's tools/train.py writes for 96 classes of CTC, 98 of SAR.
@pytest.mark.parametrize(
    ("given", "classes", "path", "expected"),
    [
        pytest.param(tree({"name": "CTCHead"}, {}), 96, "Head.out_channels", 96, id="ctc"),
        pytest.param(
            tree(MULTI_SAR, {"loss_config_list": [{"CTCLoss": None}, {"SARLoss": None}]}),
            *(96, "Head.out_channels_list", {"CTCLabelDecode": 96, "SARLabelDecode": 98}),
            id="multi-sar",
        ),
        pytest.param(
            tree(MULTI_NRTR, {"loss_config_list": [{"CTCLoss": None}, {"NRTRLoss": None}]}),
            *(96, "Head.out_channels_list", {"CTCLabelDecode": 96, "NRTRLabelDecode": 99}),
            id="multi-nrtr",
        ),
        pytest.param(
            tree(MULTI_SAR, {}, "SARLabelDecode"),
            *(98, "Head.out_channels_list", {"CTCLabelDecode": 96, "SARLabelDecode": 98}),
            id="multi-decoded-by-sar",
        ),
    ],
)
def test_the_last_layer_gets_its_classes(given, classes, path, expected):
    given = json.loads(json.dumps(given))
    fill_in(given, classes)
    section, key = path.split(".")
    assert given["Architecture"][section][key] == expected


def test_the_losses_that_ignore_a_class_learn_which():
    multi = json.loads(json.dumps(tree(MULTI_SAR, {"loss_config_list": [{"CTCLoss": None}, {"SARLoss": None}]})))
    fill_in(multi, 96)
    assert multi["Loss"]["loss_config_list"] == [{"CTCLoss": None}, {"SARLoss": {"ignore_index": 97}}]
    alone = tree({"name": "SARHead"}, {"name": "SARLoss"}, "SARLabelDecode")
    fill_in(alone, 98)
    assert alone["Loss"]["ignore_index"] == 97 and alone["Architecture"]["Head"]["out_channels"] == 98


def test_every_student_and_teacher_of_a_distillation_gets_them():
    models = {name: {"Head": {"name": "CTCHead"}} for name in ("Teacher", "Student")}
    given = {"Architecture": {"Models": models}, "PostProcess": {"name": "DistillationCTCLabelDecode"}}
    fill_in(given, 96)
    assert [part["Head"]["out_channels"] for part in models.values()] == [96, 96]


MULTI = {"backbone.conv.weight": (16, 3, 3, 3), "head.ctc_head.fc.weight": (64, 97), "head.ctc_head.fc.bias": (97,)}
OF_12 = {**MULTI, "head.ctc_head.fc.weight": (64, 12), "head.ctc_head.fc.bias": (12,)}


@pytest.mark.parametrize(
    ("found", "expected", "numbers"),
    [
        pytest.param(OF_12, MULTI, (12, 97), id="another-dictionary"),
        pytest.param(
            {**OF_12, "head.sar_head.embedding.weight": (14, 512)},
            {**MULTI, "head.sar_head.embedding.weight": (99, 512)},
            (12, 97),
            id="of-two-heads",
        ),
        pytest.param(MULTI, MULTI, None, id="the-same"),
        pytest.param({**OF_12, "backbone.conv.weight": (8, 3, 3, 3)}, MULTI, None, id="pruned-as-well"),
        pytest.param({**MULTI, "head.ctc_head.fc.weight": (48, 97)}, {**MULTI, "other": (1,)}, None, id="other-keys"),
        pytest.param({**OF_12, "head.ctc_head.fc.weight": (48, 12)}, MULTI, None, id="two-sizes"),
        pytest.param(
            {**MULTI, "head.ctc_encoder.norm.weight": (48,), "head.ctc_head.fc.weight": (48, 97)},
            {**MULTI, "head.ctc_encoder.norm.weight": (64,)},
            None,
            id="pruned-in-the-head",
        ),
    ],
)
def test_weights_for_another_dictionary_are_known(found, expected, numbers):
    assert other_classes(found, expected) == numbers
    fault = task_of("rec").weights_fault(found, expected)
    assert (fault is None) == (numbers is None)
    assert fault is None or "tell 12 classes apart, and the dictionary makes 97" in fault


def test_the_dictionary_of_a_model_is_read_once_and_anew_where_the_model_is_another(tmp_path, monkeypatch):
    file, read = tmp_path / "inference.yml", []
    monkeypatch.setattr(dictionary, "read_file", lambda path, most: read.append(path) or path.read_bytes())
    file.write_text(yaml.safe_dump({"PostProcess": {"character_dict": ["a", "b"]}}))
    paths = [Path(dictionary.resolved({"character_dict_path": str(file)})["character_dict_path"]) for _ in range(3)]
    assert len(set(paths)) == 1 and paths[0].read_text() == "a\nb\n"
    assert read == [file], "a label asks for it each time"
    paths[0].unlink()  # as a clean-up of temporary files does
    assert Path(dictionary.resolved({"character_dict_path": str(file)})["character_dict_path"]).is_file()
    file.write_text(yaml.safe_dump({"PostProcess": {"character_dict": ["a", "b", "c"]}}))
    changed = Path(dictionary.resolved({"character_dict_path": str(file)})["character_dict_path"])
    assert changed.read_text() == "a\nb\nc\n"
