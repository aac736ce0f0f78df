"""Human names of layers, and the way back."""

from __future__ import annotations

import pytest

from ocrslim.models.factory import build_model
from ocrslim.models.layer_names import to_public, to_state_key


def _architecture(model_name="large", **backbone):
    return {
        "model_type": "det",
        "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": model_name, **backbone},
        "Neck": {"name": "DBFPN", "out_channels": 96},
        "Head": {"name": "DBHead"},
    }


@pytest.mark.parametrize(
    ("model_name", "key", "name"),
    [
        ("large", "backbone.conv.conv.weight", "conv1_weights"),
        ("large", "backbone.stage0.0.expand_conv.conv.weight", "conv2_expand_weights"),
        ("large", "backbone.stage1.0.bottleneck_conv.conv.weight", "conv5_depthwise_weights"),
        ("large", "backbone.stage1.2.mid_se.conv1.weight", "conv7_se_1_weights"),
        ("large", "backbone.stage1.2.mid_se.conv2.weight", "conv7_se_2_weights"),
        ("large", "backbone.stage2.2.expand_conv.conv.weight", "conv10_expand_weights"),
        ("large", "backbone.stage3.2.linear_conv.conv.weight", "conv16_linear_weights"),
        ("large", "backbone.stage3.3.conv.weight", "conv_last_weights"),
        ("small", "backbone.stage0.0.linear_conv.conv.weight", "conv2_linear_weights"),
        ("small", "backbone.stage1.0.expand_conv.conv.weight", "conv3_expand_weights"),
        ("small", "backbone.stage2.0.expand_conv.conv.weight", "conv5_expand_weights"),
        ("small", "backbone.stage3.2.expand_conv.conv.weight", "conv12_expand_weights"),
        ("small", "backbone.stage3.3.conv.weight", "conv_last_weights"),
    ],
)
def test_documented_names(model_name, key, name):
    architecture = _architecture(model_name)
    assert to_public(key, architecture) == name
    assert to_state_key(name, architecture) == key


@pytest.mark.parametrize("model_name", ["large", "small"])
@pytest.mark.parametrize("disable_se", [False, True])
def test_every_key_has_one_name_and_comes_back(model_name, disable_se):
    architecture = _architecture(model_name, disable_se=disable_se)
    keys = list(build_model(architecture).state_dict())
    names = [to_public(key, architecture) for key in keys]
    assert len(set(names)) == len(keys)
    assert [to_state_key(name, architecture) for name in names] == keys
    for key, name in zip(keys, names):
        is_backbone_conv = key.startswith("backbone.") and ".bn." not in key and key.endswith(".weight")
        assert name.endswith("_weights") == is_backbone_conv, key
        assert (name == key) == (not is_backbone_conv), key


@pytest.mark.parametrize(
    "key", ["neck.p2_conv.weight", "backbone.conv.bn.weight", "backbone.stage1.0.mid_se.conv1.bias", "x"]
)
def test_everything_else_keeps_its_key(key):
    assert to_public(key, _architecture()) == key
    assert to_state_key(key, _architecture()) == key


def test_other_backbones_keep_their_keys():
    architecture = {"model_type": "det", "Backbone": {"name": "ResNet_vd", "layers": 18}}
    assert to_public("backbone.conv.conv.weight", architecture) == "backbone.conv.conv.weight"
    assert to_state_key("conv1_weights", architecture) == "conv1_weights"


def test_a_name_beyond_the_network_is_not_invented():
    assert to_state_key("conv99_expand_weights", _architecture()) == "conv99_expand_weights"
