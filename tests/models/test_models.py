"""The networks: PaddleOCR's keys, shapes and outputs."""

from __future__ import annotations

import importlib.util
import json
import re

import numpy as np
import paddle
import pytest

from ocrslim.errors import ConfigError
from ocrslim.models.backbones.mobilenet_v3 import MobileNetV3, scaled_channels
from ocrslim.models.factory import build_model


def _detector(neck, **backbone):
    return {
        "model_type": "det",
        "algorithm": "DB",
        "Transform": None,
        "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "large", **backbone},
        "Neck": neck,
        "Head": {"name": "DBHead", "k": 50},
    }


DETECTORS = {
    "det_mv3_db": _detector({"name": "DBFPN", "out_channels": 256}),
    "ch_det_mv3_db_v2.0": _detector({"name": "DBFPN", "out_channels": 96}, disable_se=True),
    "ch_PP-OCRv3_det_student": _detector({"name": "RSEFPN", "out_channels": 96, "shortcut": True}, disable_se=True),
}
every_detector = pytest.mark.parametrize("name", DETECTORS)


def _shapes(model):
    return {key: list(value.shape) for key, value in model.state_dict().items()}


def _image(height=64, width=96):
    return paddle.to_tensor(np.random.default_rng(0).standard_normal((1, 3, height, width)).astype("float32"))


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "compat"
    spec = importlib.util.spec_from_file_location("golden_params", folder / "params.py")
    params = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(params)
    return folder, json.loads((folder / "state_dicts.json").read_text()), params


@every_detector
def test_agrees_with_paddleocr(name, golden):
    folder, architectures, params = golden
    entry = architectures[name]
    model = build_model(entry["architecture"])
    assert _shapes(model) == entry["parameters"]
    state = model.state_dict()
    for key, value in params.fill(entry["parameters"], entry["gain"]).items():
        state[key].set_value(value)
    model.eval()
    image = paddle.to_tensor(params.golden_input(entry["input_shape"]))
    with paddle.no_grad():
        maps = model.backbone(image)
        fused = model.neck(maps)
        output = model.head(fused)["maps"]
    expected = np.load(folder / f"golden_{name}.npz")
    for part, value in (("backbone", maps[-1]), ("neck", fused), ("output", output)):
        assert np.abs(value.numpy() - expected[part]).max() < 1e-4, part


@every_detector
def test_same_architecture_as_the_golden_files(name, golden):
    assert DETECTORS[name] == golden[1][name]["architecture"]


@every_detector
def test_maps_have_the_size_of_the_image(name):
    model = build_model(DETECTORS[name])
    with paddle.no_grad():
        training = model(_image())["maps"].numpy()
        model.eval()
        inference = model(_image())["maps"].numpy()
    assert training.shape == (1, 3, 64, 96)
    assert inference.shape == (1, 1, 64, 96)
    shrink, threshold, binary = training[0]
    np.testing.assert_allclose(binary, 1 / (1 + np.exp(-50 * (shrink - threshold))), atol=1e-4)
    assert inference.min() > 0 and inference.max() < 1


@every_detector
def test_keys_are_those_of_paddleocr(name):
    shapes = _shapes(build_model(DETECTORS[name]))
    width = DETECTORS[name]["Neck"]["out_channels"]
    assert shapes["backbone.conv.conv.weight"] == [8, 3, 3, 3]
    assert shapes["backbone.stage1.2.bottleneck_conv.conv.weight"] == [64, 1, 5, 5]
    assert shapes["backbone.stage2.5.linear_conv.bn._variance"] == [56]
    assert shapes["backbone.stage3.3.conv.weight"] == [480, 80, 1, 1]
    assert ("backbone.stage1.0.mid_se.conv1.weight" in shapes) == (name == "det_mv3_db")
    lateral = "neck.ins_conv.0.in_conv.weight" if name.startswith("ch_PP") else "neck.in2_conv.weight"
    assert shapes[lateral] == [width, 16, 1, 1]
    assert shapes["head.thresh.conv2.bias"] == [width // 4]
    assert shapes["head.binarize.conv3.weight"] == [width // 4, 1, 2, 2]


@every_detector
def test_parameters_are_numbered_as_paddleocr_creates_them(name):
    """Inference models identify a layer by that number alone, so weights import relies on the order."""
    model = build_model(DETECTORS[name])
    numbers = {key: int(re.search(r"_(\d+)\.[wb]_\d$", p.name)[1]) for key, p in model.state_dict().items()}
    order = sorted((k for k in numbers if "bn" not in k), key=numbers.get)
    convolutions = [k for k in order if k.endswith("weight") and "conv2." not in k and "conv3." not in k]
    neck = [k.removeprefix("neck.").removesuffix(".weight") for k in convolutions if k.startswith("neck")]
    if name.startswith("ch_PP"):
        assert neck[:4] == [
            "ins_conv.0.in_conv",
            "ins_conv.0.se_block.conv1",
            "inp_conv.0.in_conv",
            "inp_conv.0.se_block.conv1",
        ]
    else:
        assert neck == [f"in{i}_conv" for i in (2, 3, 4, 5)] + [f"p{i}_conv" for i in (5, 4, 3, 2)]
    for number_of in ("conv1.weight", "conv_bn2.weight", "conv3.weight"):
        assert numbers[f"head.binarize.{number_of}"] < numbers[f"head.thresh.{number_of}"]
    assert max(numbers[k] for k in convolutions if k.startswith("backbone")) < min(
        numbers[k] for k in convolutions if k.startswith("neck")
    )


def test_a_second_model_in_one_process_has_the_same_keys_and_takes_the_first_one_s_weights():
    first, second = (build_model(DETECTORS["ch_det_mv3_db_v2.0"]) for _ in range(2))
    assert _shapes(first) == _shapes(second)
    first.eval()
    second.eval()
    with paddle.no_grad():
        expected, other = first(_image())["maps"].numpy(), second(_image())["maps"].numpy()
        assert np.abs(expected - other).max() > 1e-6  # fresh weights differ
        second.set_state_dict(first.state_dict())
        np.testing.assert_array_equal(second(_image())["maps"].numpy(), expected)


def test_the_threshold_branch_trains_but_does_not_run_in_inference():
    model = build_model(DETECTORS["ch_det_mv3_db_v2.0"])
    model(_image())["maps"].sum().backward()
    assert np.abs(model.head.thresh.conv1.weight.grad.numpy()).max() > 0
    model.eval()
    with paddle.no_grad():
        before = model(_image())["maps"].numpy()
        model.head.thresh.conv1.weight.set_value(paddle.full_like(model.head.thresh.conv1.weight, 9.0))
        np.testing.assert_array_equal(model(_image())["maps"].numpy(), before)


@pytest.mark.parametrize(("model_name", "stages"), [("large", [3, 3, 6, 4]), ("small", [1, 2, 5, 4])])
def test_backbone_taps_the_maps_at_a_quarter_to_a_32nd(model_name, stages):
    backbone = MobileNetV3(model_name=model_name, scale=0.35, disable_se=True)
    with paddle.no_grad():
        maps = backbone(_image(64, 64))
    assert [list(m.shape) for m in maps] == [[1, c, s, s] for c, s in zip(backbone.out_channels, (16, 8, 4, 2))]
    assert [len(getattr(backbone, f"stage{i}")) for i in range(4)] == stages


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(8.0, 8), (3, 8), (36.0, 40), (12, 16), (25.2, 24), (92.0, 96), (20, 24), (11, 16)],
)
def test_channels_are_multiples_of_8_and_lose_at_most_a_tenth(channels, expected):
    assert scaled_channels(channels) == expected


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("Backbone", {"name": "MobileNetv3"}, ["Architecture.Backbone.name", "did you mean MobileNetV3"]),
        ("Neck", {"name": "RSFPN", "out_channels": 96}, ["Architecture.Neck.name", "did you mean RSEFPN"]),
        ("Head", {"name": "DBHed"}, ["Architecture.Head.name", "did you mean DBHead"]),
        ("Backbone", {"name": "MobileNetV3", "scales": 0.5}, ["Backbone.scales", "did you mean scale"]),
        ("Backbone", {"name": "MobileNetV3", "scale": 0.6}, ["Backbone.scale", "0.6", "0.75"]),
        ("Backbone", {"name": "MobileNetV3", "model_name": "tiny"}, ["model_name", "'tiny'", "small"]),
        ("Neck", {"name": "DBFPN", "out_channels": 97}, ["Neck.out_channels", "97"]),
        ("Neck", {"name": "DBFPN"}, ["Architecture.Neck", "out_channels"]),
        ("Head", None, ["Architecture.Head", "DBHead"]),
        ("model_type", "kie", ["Architecture.model_type", "'kie'", "'det'"]),
        ("Transform", {"name": "TPS"}, ["Architecture.Transform", "TPS"]),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_key_and_a_remedy(part, change, words):
    with pytest.raises(ConfigError) as caught:
        build_model({**DETECTORS["det_mv3_db"], part: change})
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
