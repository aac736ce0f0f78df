"""Networks of PaddleOCR's own code, traced and pruned in a process of their own; the results are printed as JSON.

    python tests/ppocr_networks.py det

The package `unstructured-paddleocr` must be installed: a process can use one `ppocr`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import paddle

from ocrslim.graph import TrainingForward, deployed
from ocrslim.ppocr import find_source, use_source
from ocrslim.pruning import ChannelPruner, apply_plan, measure_cost
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.pruning.plan import Plan

CHARACTERS = 6625  # of PaddleOCR's Chinese dictionary, with blank and space
LENGTH = 25
# Paddle's operator holds it as float32 in a network of doubles, too, and `rep()` does not: 1e-5 is another number
# there, which makes 1e-9 of difference in a layer and 1e-5 in a network.
_EPSILON = 2.0**-17


def recogniser(backbone: dict[str, Any], neck: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the architecture of a recogniser with two heads."""
    counts = {"CTCLabelDecode": CHARACTERS, "SARLabelDecode": CHARACTERS + 2, "NRTRLabelDecode": CHARACTERS + 3}
    svtr = {"name": "svtr", "depth": 2, "hidden_dims": 120, "use_guide": True, **neck}
    heads = [{"CTCHead": {"Neck": svtr, "Head": {"fc_decay": 1e-5}}}, second]
    head = {"name": "MultiHead", "head_list": heads, "out_channels_list": counts}
    return {"model_type": "rec", "algorithm": "SVTR_LCNet", "Transform": None, "Backbone": backbone, "Head": head}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "det": {
        "model_type": "det",
        "algorithm": "DB",
        "Transform": None,
        "Backbone": {"name": "PPLCNetV3", "scale": 0.75, "det": True},
        "Neck": {"name": "RSEFPN", "out_channels": 96, "shortcut": True},
        "Head": {"name": "DBHead", "k": 50},
    },
    "rec with NRTR": recogniser(
        {"name": "PPLCNetV3", "scale": 0.95},
        {"dims": 120, "kernel_size": [1, 3]},
        {"NRTRHead": {"nrtr_dim": 384, "max_text_length": LENGTH}},
    ),
    "rec with SAR": recogniser(
        {
            "name": "MobileNetV1Enhance",
            "scale": 0.5,
            "last_conv_stride": [1, 2],
            "last_pool_type": "avg",
            "last_pool_kernel_size": [2, 2],
        },
        {"dims": 64},
        {"SARHead": {"enc_dim": 512, "max_text_length": LENGTH}},
    ),
}


def training_step(model: paddle.nn.Layer, batch: list[paddle.Tensor]) -> Any:
    """Run a network as PaddleOCR's training step does."""
    return model(batch[0], data=batch[1:])


def forward_of(name: str) -> TrainingForward:
    """Return the training forward: images, and for a recogniser labels for both heads, lengths and valid ratios."""
    if name == "det":
        return TrainingForward([[1, 3, 64, 64]])
    characters = np.random.default_rng(0).integers(1, 90, (2, 1, LENGTH))
    return TrainingForward([[1, 3, 48, 320]], [*characters, np.full(1, 9), np.ones(1)], training_step)


def report(name: str) -> dict[str, Any]:
    """Trace a network, prune it by 0.3, re-parameterise it and let it train for a step."""
    from ppocr.modeling.architectures import build_model

    paddle.seed(0)
    paddle.set_default_dtype("float32")
    model = build_model(ARCHITECTURES[name])
    step = forward_of(name)
    shape = [1, 3, 640, 640] if name == "det" else [1, 3, 48, 320]
    graph = channel_graph(model, shape, proof_shapes=step.shapes, training=step)
    cuts = ChannelPruner(model, graph, "l1").cuts(dict.fromkeys(graph.groups, 0.3))
    apply_plan(model, Plan({}, cuts))
    image = paddle.randn(step.shapes[0])
    for norm in model.sublayers():
        if isinstance(norm, (paddle.nn.BatchNorm, paddle.nn.BatchNorm2D)):
            norm._momentum = 0.0  # statistics of one batch, or the outputs would be saturated
            norm._epsilon = _EPSILON
    model.train()
    outputs = paddle.utils.flatten(step(model, [image]))
    sum(output.mean() for output in outputs).backward()
    model.eval()
    model.to(dtype="float64")  # float32 alone reaches 1e-5 in networks of this depth
    paddle.set_default_dtype("float64")
    image = image.astype("float64")
    expected, found = (paddle.utils.flatten(one(image))[0] for one in (model, deployed(model)))
    return {
        "groups": len(graph.groups),
        "share": graph.prunable_macs_share,
        "fault": graph.training_fault,
        "macs": graph.macs,
        "left": measure_cost(graph, cuts).macs,
        "deployed": deployed(model) is not model,
        "difference": float((found - expected).abs().max() / expected.abs().max()),
    }


if __name__ == "__main__":
    use_source(find_source(None))
    print(json.dumps({name: report(name) for name in sys.argv[1:]}))
