"""Paddle's names of parameters, by which inference models and ONNX files keep their weights.

Most have the layer's type and running number (`conv2d_57.w_0`). The numbers depend on what was built before, their
order does not. Older versions of PaddleOCR named the layers of MobileNetV3 (`conv5_expand_weights`,
`conv5_expand_bn_mean`), as its pruning documents still do; these names say the order, too. Other classes name some
parameters themselves (`unet_h_1_weights`); such names are the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

import paddle

Layers = dict[str, list[dict[str, str]]]

# A copied model's parameters get a suffix and keep their number.
_PARAMETER = re.compile(r"(?P<type>[a-z0-9_]+?)_(?P<number>\d+)\.(?P<slot>[wb]_\d+)(_deepcopy_\d+)?")
_COPY = re.compile(r"_deepcopy_\d+$")
_DOCUMENTED = re.compile(
    r"conv(?P<block>\d+|_last)(_(?P<part>expand|depthwise|se_1|se_2|linear))?(?P<norm>_bn)?_(?P<slot>[a-z]+)"
)
_PARTS = ("", "expand", "depthwise", "se_1", "se_2", "linear")  # in the order in which they are created
_SLOTS = {"weights": "w_0", "scale": "w_0", "offset": "b_0", "mean": "w_1", "variance": "w_2"}


def layers(names: Mapping[str, str], known: Container[str] = ()) -> Layers:
    """Group {parameter name: key} by layer: {type: [{slot: key}, in the order of creation]}.

    Args:
        known: names that the network has itself, and that are not to be understood in another way.
    """
    found: dict[str, dict[tuple[float, ...], dict[str, str]]] = {}
    for name, key in names.items():
        place = None if name in known else _numbered(name) or _documented(name)
        if place:
            kind, order, slot = place
            found.setdefault(kind, {}).setdefault(order, {})[slot] = key
    return {kind: [by_order[order] for order in sorted(by_order)] for kind, by_order in found.items()}


def layers_of(state: Mapping[str, paddle.Tensor]) -> Layers:
    """Group the keys of a state dict by layer."""
    return layers({tensor.name: key for key, tensor in state.items()}, known=named(state))


def named(state: Mapping[str, paddle.Tensor]) -> dict[str, str]:
    """Return the keys of the parameters that PaddleOCR names itself, by these names."""
    names = {_COPY.sub("", tensor.name): key for key, tensor in state.items()}
    return {name: key for name, key in names.items() if not _PARAMETER.fullmatch(name)}


def _numbered(name: str) -> tuple[str, tuple[float, ...], str] | None:
    match = _PARAMETER.fullmatch(name)
    return (match["type"], (1.0, int(match["number"])), match["slot"]) if match else None


def _documented(name: str) -> tuple[str, tuple[float, ...], str] | None:
    """Place a layer of MobileNetV3, a backbone, before those with numbers."""
    match = _DOCUMENTED.fullmatch(name)
    if not match or match["slot"] not in _SLOTS:
        return None
    block = float("inf") if match["block"] == "_last" else int(match["block"])
    order = (0.0, block, _PARTS.index(match["part"] or ""))
    return "batch_norm" if match["norm"] else "conv2d", order, _SLOTS[match["slot"]]
