"""PaddleOCR's own configurations, read as they are: detectors that are not built in, and students of distillations."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import yaml
from checkout import checkout  # noqa: F401

from ocrslim.config import load_config
from ocrslim.errors import ConfigError
from ocrslim.ppocr import is_named, use_source
from ocrslim.tasks import REGISTERED_PARTS

REPO = Path(__file__).resolve().parents[2]
MAIN = REPO / "configs/det/det_mv3_db.yml"
STUDENT = {
    "model_type": "det",
    "algorithm": "DB",
    "Backbone": {"name": "MobileNetV3", "scale": 0.5},
    "Neck": {"name": "DBFPN", "out_channels": 96},
    "Head": {"name": "DBHead", "k": 50},
}


def tree(**sections) -> dict:
    return {**yaml.safe_load(MAIN.read_text()), **sections}


def write(folder: Path, content: dict, text: str = "") -> Path:
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(content) + text)
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


# Detectors that are not built in


@pytest.fixture
def other(checkout, tmp_path) -> Path:  # noqa: F811
    architecture = {
        "model_type": "det",
        "algorithm": "Box",
        "Backbone": {"name": "Wide", "layers": 18},
        "Neck": {"name": "Pyramid", "out_channels": 96},
        "Head": {"name": "BoxHead", "sides": 4},
    }
    content = tree(
        Architecture=architecture, Loss={"name": "BoxLoss", "eps": 0.1}, PostProcess={"name": "DBPostProcess"}
    )
    content["Train"]["dataset"]["transforms"] = [{"DecodeImage": None}, {"Shear": {"by": 3}}, {"KeepKeys": None}]
    content["Train"]["dataset"]["transforms"][2]["KeepKeys"] = {"keep_keys": ["image", "boxes"]}
    content["Eval"]["dataset"]["transforms"] = content["Train"]["dataset"]["transforms"]
    return write(tmp_path, content)


def test_sections_that_are_not_built_in_stay_as_they_are(other, checkout):  # noqa: F811
    config = load_config(other, [f"Global.paddleocr={checkout}"])
    assert config.get("Architecture.Head") == {"name": "BoxHead", "sides": 4}
    assert config.get("Loss") == {"name": "BoxLoss", "eps": 0.1}
    assert config.get("Train.dataset.transforms.Shear") == {"by": 3}
    assert config.source is not None and config.source.folder == checkout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("Architecture.Backbone.name=Wyde", "Architecture.Backbone.name=Wyde: found 'Wyde', expected a class"),
        ("Architecture.Backbone.layrs=1", "Wide has no such argument: did you mean layers?"),
        ("Loss.epps=1", "BoxLoss has no such argument: did you mean eps?"),
        ("Train.dataset.transforms=[{Sheer: }]", "unknown transform 'Sheer', expected one"),
        ("Metric.main_indicator=speed", "expected one of hmean, precision, recall, f_score"),
        ("Architecture.Backbone=", "Architecture.Backbone"),
        ("Global.epoch_nmu=1", "nearest valid key: Global.epoch_num"),
    ],
)
def test_what_the_checkout_does_not_know_is_a_fault(override, words, other, checkout):  # noqa: F811
    assert words in refusal(other, f"Global.paddleocr={checkout}", override)


def test_the_working_directory_counts_where_it_is_a_checkout(other, checkout, monkeypatch):  # noqa: F811
    monkeypatch.chdir(checkout)
    assert load_config(other).source.folder == checkout
    assert not is_named()


def test_without_a_checkout_the_name_and_the_remedy_are_told(other, tmp_path, monkeypatch):
    monkeypatch.setattr("ocrslim.ppocr.source._installed", lambda: None)
    monkeypatch.chdir(tmp_path)
    line = refusal(other)
    assert "Architecture.Backbone.name: found 'Wide', which is not built in, expected MobileNetV3" in line
    assert "Global.paddleocr=DIR" in line and "ocrslim[zoo]" in line
    assert "is no checkout" in refusal(other, f"Global.paddleocr={tmp_path}/none")


def test_a_built_in_detector_needs_no_checkout_and_stays_strict(checkout, monkeypatch):  # noqa: F811
    monkeypatch.chdir(checkout)
    assert load_config(MAIN).source is None
    assert "nearest valid key: Architecture.Neck.out_channels" in refusal(MAIN, "Architecture.Neck.out_chanels=96")


def test_a_registered_network_is_not_looked_for_in_the_checkout(other, checkout, monkeypatch):  # noqa: F811
    monkeypatch.chdir(checkout)
    names = {"Backbone": "OwnNet", "Neck": "OwnNeck", "Head": "OwnHead"}
    own = [f"Architecture.{part}.name={name}" for part, name in names.items()]
    assert "Neck.name=OwnNeck: found 'OwnNeck', expected a class that" in refusal(other, *own)
    for part, name in names.items():
        monkeypatch.setitem(REGISTERED_PARTS[part], name, object)
    assert load_config(other, own).get("Architecture.Neck.name") == "OwnNeck"
    assert "found 'BoxLess', expected a class that" in refusal(other, *own, "Loss.name=BoxLess")
    mixed = refusal(other, *own, "Architecture.Head.name=BoxHead")
    assert "found 'OwnNeck', expected a class that" in mixed, (
        "PaddleOCR's code builds the whole of a network or nothing of it"
    )
    assert "found 'OwnNeck', expected a class that" in refusal(other, *own, f"Global.paddleocr={checkout}")


def test_a_worker_that_gets_the_configuration_uses_the_same_checkout(other, checkout):  # noqa: F811
    sent = pickle.dumps(load_config(other, [f"Global.paddleocr={checkout}"]))
    use_source(None)
    assert not is_named()
    assert pickle.loads(sent).source.folder == checkout and is_named()


def test_the_score_of_ct_is_called_as_here(other, checkout):  # noqa: F811
    config = load_config(other, [f"Global.paddleocr={checkout}", "Metric.main_indicator=f_score"])
    assert config.main_indicator == "hmean"


# Distillations


def distillation(losses: list[dict], **student) -> dict:
    return tree(
        Architecture={
            "name": "DistillationModel",
            "algorithm": "Distillation",
            "model_type": "det",
            "Models": {
                "Teacher": {"freeze_params": True, "model_type": "det", "algorithm": "DB"},
                "Student": {"pretrained": None, "return_all_feats": False, **STUDENT, **student},
            },
        },
        Loss={"name": "CombinedLoss", "loss_config_list": losses},
        PostProcess={"name": "DistillationDBPostProcess", "model_name": ["Student"], "key": "head_out", "thresh": 0.3},
        Metric={
            "name": "DistillationMetric",
            "base_metric_name": "DetMetric",
            "main_indicator": "hmean",
            "key": "Student",
        },
    )


BY_LABELS = {"DistillationDBLoss": {"weight": 1.0, "model_name_list": ["Student", "Student2"], "alpha": 5, "beta": 10}}
BY_TEACHER = {"DistillationDilaDBLoss": {"model_name_pairs": [["Student", "Teacher"]], "key": "maps", "alpha": 4}}


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([BY_TEACHER, BY_LABELS], {"name": "DBLoss", "alpha": 5, "beta": 10}, id="the one by labels"),
        pytest.param([BY_TEACHER], {"name": "DBLoss", "alpha": 4}, id="by the teacher's maps where it is alone"),
    ],
)
def test_a_distillation_is_read_as_its_student(losses, expected, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        config = load_config(write(tmp_path, distillation(losses)), ["Architecture.Neck.out_channels=64"])
    assert config.section("Architecture") == {**STUDENT, "Neck": {"name": "DBFPN", "out_channels": 64}}
    assert config.section("Loss") == expected
    assert config.section("PostProcess") == {"name": "DBPostProcess", "thresh": 0.3}
    assert config.section("Metric") == {"name": "DetMetric", "main_indicator": "hmean"}
    assert "a distillation of Student, Teacher: its Student is taken" in caplog.text


def test_a_recogniser_s_student_learns_from_labels_by_all_its_heads():
    from ocrslim.config.translation import translate

    ctc = {
        "DistillationCTCLoss": {"weight": 1.0, "model_name_list": ["Student"], "key": "head_out", "multi_head": True}
    }
    sar = {
        "DistillationSARLoss": {"weight": 0.5, "model_name_list": ["Student"], "multi_head": True, "ignore_index": 3}
    }
    content = distillation([{"DistillationDMLLoss": {"model_name_pairs": ["Student", "Teacher"]}}, ctc, sar])
    translate(content)
    assert content["Loss"] == {
        "name": "MultiLoss",
        "loss_config_list": [{"CTCLoss": None}, {"SARLoss": {"ignore_index": 3}}],
        "weight_1": 1.0,
        "weight_2": 0.5,
    }


@pytest.mark.parametrize("models", [None, [], {"Teacher": {}}, {"Student": 3}, {"Student": None}])
def test_a_distillation_without_a_student_is_left_to_the_checks(models, tmp_path):
    content = distillation([BY_LABELS])
    content["Architecture"]["Models"] = models
    assert "Architecture.Models" in refusal(write(tmp_path, content))


def test_pairs_that_stand_there_two_times_are_no_fault_as_in_paddleocr_s_own_files(tmp_path):
    twice = "\nLoss: {name: DBLoss, model_name_pairs: 1, model_name_pairs: 2}\n"
    content = tree()
    del content["Loss"]
    assert "given twice" not in refusal(write(tmp_path, content, twice))
    assert "'name' is given twice" in refusal(write(tmp_path, content, "\nLoss: {name: DBLoss, name: DBLoss}\n"))


def test_what_reads_formulas_is_told_to_be_something_else(tmp_path):
    assert "CANMetric is for formulas" in refusal(write(tmp_path, tree(Metric={"name": "CANMetric"})))


# The average of weights, and data


def test_pp_ocrv6_s_average_is_the_optimizer_s_here(tmp_path):
    content = tree()
    content["Global"].update(use_ema=True, ema_decay=0.9997, ema_decay_type="threshold")
    assert load_config(write(tmp_path, content)).get("Optimizer.ema") == {"decay": 0.9997}
    content["Global"]["ema_decay_type"] = "exponential"
    assert "Optimizer.ema" in refusal(write(tmp_path, content))
    content["Global"]["use_ema"] = False
    assert load_config(write(tmp_path, content)).get("Optimizer.ema") is None


def test_a_data_set_that_is_not_read_is_refused_when_it_is_needed():
    config = load_config(MAIN, ["Train.dataset.name=LMDBDataSet"])
    config.require("Architecture", "Eval")
    with pytest.raises(ConfigError, match=r"Train\.dataset\.name: found 'LMDBDataSet', which is not read here"):
        config.require("Train")
