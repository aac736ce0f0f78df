"""Names of parameters as layers, in the order in which PaddleOCR creates them."""

from __future__ import annotations

import pytest

from ocrslim.models.weights.names import layers


def as_itself(*names):
    return {name: name for name in names}


def test_numbers_order_layers_as_numbers():
    found = layers(as_itself("conv2d_10.w_0", "conv2d_9.w_0", "conv2d_9.b_0", "linear_0.w_0_deepcopy_3"))
    assert found == {
        "conv2d": [{"w_0": "conv2d_9.w_0", "b_0": "conv2d_9.b_0"}, {"w_0": "conv2d_10.w_0"}],
        "linear": [{"w_0": "linear_0.w_0_deepcopy_3"}],
    }


def test_the_documented_names_of_older_exports_stand_before_those_with_numbers():
    ordered = ["conv1", "conv2_expand", "conv2_depthwise", "conv2_se_1", "conv2_se_2", "conv2_linear", "conv10_expand"]
    names = [f"{layer}_weights" for layer in [*ordered, "conv_last"]]
    found = layers(as_itself("conv2d_0.w_0", "conv2_se_1_offset", *reversed(names)))
    assert [layer["w_0"] for layer in found["conv2d"]] == [*names, "conv2d_0.w_0"]
    assert found["conv2d"][3] == {"w_0": "conv2_se_1_weights", "b_0": "conv2_se_1_offset"}


def test_the_four_arrays_of_a_batch_norm_are_one_layer():
    names = [f"conv2_expand_bn_{slot}" for slot in ("scale", "offset", "mean", "variance")]
    assert layers(as_itself(*names)) == {"batch_norm": [dict(zip(("w_0", "b_0", "w_1", "w_2"), names))]}


@pytest.mark.parametrize("name", ["unet_h_1_weights", "conv5_expand_else", "res2a_branch2a_weights", "fc.weight"])
def test_other_names_are_no_layer_s(name):
    assert layers(as_itself(name)) == {}


def test_a_name_that_the_network_has_itself_keeps_its_meaning():
    assert layers(as_itself("conv1_weights"), known={"conv1_weights"}) == {}
