"""Networks to trace and prune: the project's detectors, and what others wrote for `paddle.vision.models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from oracle import randomise, sample
from paddle import nn

from ocrslim.models.factory import build_model

Shape = tuple[int, ...]


def _detector(neck: Mapping[str, Any], **backbone: Any) -> dict[str, Any]:
    return {
        "model_type": "det",
        "algorithm": "DB",
        "Transform": None,
        "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "large", **backbone},
        "Neck": dict(neck),
        "Head": {"name": "DBHead", "k": 50},
    }


ARCHITECTURES = {
    "det_mv3_db": _detector({"name": "DBFPN", "out_channels": 256}),
    "ch_det_mv3_db_v2.0": _detector({"name": "DBFPN", "out_channels": 96}, disable_se=True),
    "ch_PP-OCRv3_det_student": _detector({"name": "RSEFPN", "out_channels": 96, "shortcut": True}, disable_se=True),
}
# The side of the smallest square image that a network takes and that still gives every layer a map.
SMALL = {
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "wide_resnet50_2": 64,
    "vgg16": 64,
    "alexnet": 224,
    "mobilenet_v1": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "mobilenet_v3_large": 64,
    "densenet121": 64,
    "googlenet": 192,
    "inception_v3": 96,
    "shufflenet_v2_x1_0": 64,
    "squeezenet1_1": 64,
    "LeNet": 28,
}
VISION = tuple(SMALL)
CLASSIFIERS = {"vgg16": ("classifier.0", "classifier.3", "classifier.6"), "alexnet": ("_fc6", "_fc7", "_fc8")}
NARROW = 64
_USUAL = {"inception_v3": 299, "LeNet": 28}


def build(name: str, **options: Any) -> nn.Layer:
    """A detector or a network of `paddle.vision.models` by name, untrained; `options` go to the latter."""
    if name in ARCHITECTURES:
        return build_model(ARCHITECTURES[name])
    return getattr(paddle.vision.models, name)(**options)


def usual_shape(name: str) -> Shape:
    """The input that a network's cost is quoted at."""
    if name in ARCHITECTURES:
        return (1, 3, 736, 1280)
    return _square(name, _USUAL.get(name, 224))


def small_shape(name: str) -> Shape:
    """An input that is quick to run."""
    return (1, 3, 64, 96) if name in ARCHITECTURES else _square(name, SMALL[name])


def _square(name: str, side: int) -> Shape:
    return (1, 1 if name == "LeNet" else 3, side, side)


def _narrow(model: nn.Layer, classifier: Sequence[str]) -> None:
    """Give the linear layers behind the maps few channels: they hold nine tenths of the weights, all of one kind."""
    layers = dict(model.named_sublayers())
    width = layers[classifier[0]].weight.shape[0]
    for name in classifier:
        holder, _, last = name.rpartition(".")
        outputs = layers[name].weight.shape[1] if name == classifier[-1] else NARROW
        (layers[holder] if holder else model).add_sublayer(last, nn.Linear(width, outputs))
        width = outputs


def settled(name: str, narrow: bool = False) -> nn.Layer:
    """A network with random weights in eval mode, its batch norms with the statistics of random images.

    With statistics that have nothing to do with the weights, signals die on their way through thirty layers, and it
    makes no difference which channels are silenced.

    Args:
        narrow: with few channels in its `CLASSIFIERS`.
    """
    model = build(name)
    if narrow and name in CLASSIFIERS:
        _narrow(model, CLASSIFIERS[name])
    randomise(model)
    norms = [layer for layer in model.sublayers() if isinstance(layer, (nn.BatchNorm2D, nn.BatchNorm))]
    before = [layer._momentum for layer in norms]
    for layer in norms:
        layer._momentum = 0.0  # the next batch is all that counts
    model.train()
    with paddle.no_grad():
        model(*sample((8, *small_shape(name)[1:]), seed=2))
    for layer, momentum in zip(norms, before):
        layer._momentum = momentum
    model.eval()
    return model
