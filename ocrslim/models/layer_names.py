"""Public names of layers, as `sen.pickle`, plans and the `Prune` section have them.

MobileNetV3's backbone has the names that PaddleOCR's pruning documents use; everything else keeps its
state-dict key. The scheme: `backbone.conv` is `conv1`; block b of stage s is `conv{2 + blocks before it}`
with `_expand`, `_depthwise` (state dict: `bottleneck_conv`), `_linear`, `_se_1` and `_se_2`; the
convolution that ends the last stage is `conv_last`; each with `_weights`. Only convolution weights have
such names: so `backbone.stage2.2.expand_conv.conv.weight` is `conv10_expand_weights`, and the batch norm
behind it stays `backbone.stage2.2.expand_conv.bn.weight`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ocrslim.models.backbones.mobilenet_v3 import STAGES
from ocrslim.tasks import DEFAULT, task_of, task_types

_PARTS = {
    "expand": "expand_conv.conv",
    "depthwise": "bottleneck_conv.conv",
    "linear": "linear_conv.conv",
    "se_1": "mid_se.conv1",
    "se_2": "mid_se.conv2",
}


def to_public(key: str, architecture: Mapping[str, Any]) -> str:
    """Return the human name of a state-dict key; `key` itself where the scheme has none.

    Args:
        key: such as `backbone.stage2.2.expand_conv.conv.weight`.
        architecture: the `Architecture` section that the model was built from.
    """
    return _public_names(_variant(architecture)).get(key, key)


def to_state_key(name: str, architecture: Mapping[str, Any]) -> str:
    """Return the state-dict key of a human name: the inverse of `to_public`."""
    return _state_keys(_variant(architecture)).get(name, name)


def _variant(architecture: Mapping[str, Any]) -> str:
    """Return the variant of MobileNetV3, or '' for a network that the scheme does not cover."""
    backbone = architecture.get("Backbone") or {}
    model_type = architecture.get("model_type", DEFAULT)
    documented = model_type in task_types() and task_of(model_type).documented_names
    if not documented or backbone.get("name") != "MobileNetV3":
        return ""
    return str(backbone.get("model_name", "large"))


@functools.cache
def _public_names(variant: str) -> dict[str, str]:
    """Return the public name of each state-dict key of one MobileNetV3, whether or not it has all these layers (SE)."""
    stages = STAGES.get(variant)
    if stages is None:
        return {}
    names = {"backbone.conv.conv.weight": "conv1_weights"}
    number = 2
    for stage, blocks in enumerate(stages):
        for block in range(len(blocks)):
            for part, path in _PARTS.items():
                names[f"backbone.stage{stage}.{block}.{path}.weight"] = f"conv{number}_{part}_weights"
            number += 1
    last = len(stages) - 1
    names[f"backbone.stage{last}.{len(stages[last])}.conv.weight"] = "conv_last_weights"
    return names


@functools.cache
def _state_keys(variant: str) -> dict[str, str]:
    return {name: key for key, name in _public_names(variant).items()}
