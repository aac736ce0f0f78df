"""Where PaddleSlim finds a group too, ours is the same and keeps the same channels; and what only one side finds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import known_networks
import paddle
import pytest
from oracle import randomise
from paddle import nn
from slow import quick
from waiting import PATIENCE

from ocrslim.graph.builder import TRAINING_ONLY
from ocrslim.graph.frontends.dygraph import trace
from ocrslim.graph.groups import ChannelGraph
from ocrslim.pruning.channel_pruner import ChannelPruner

CRITERIA = ["fpgm", "l1", "l2"]
ALL_RATIOS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]  # of the real weights
RATIOS = [0.1, 0.5, 0.9]  # of the others: PaddleSlim scores the channels anew for each
pytestmark = pytest.mark.skipif(
    paddle.__version__ != "3.1.1",
    reason="PaddleSlim's own tracer runs on paddlepaddle 3.1.1 alone: others lack the legacy programs it needs",
)


@dataclass
class Pair:
    """Both sides for one network with the same weights."""

    model: nn.Layer
    graph: ChannelGraph
    theirs: dict[str, Any]
    ratios: list[float]

    @property
    def both(self) -> list[str]:
        return [name for name in self.graph.groups if name in self.theirs["groups"]]


class PaddleSlim:
    """PaddleSlim in a process of its own, which answers one request after the other."""

    def __init__(self, folder: Path):
        script = Path(__file__).parents[1] / "paddleslim_reference.py"
        self._errors = folder / "stderr.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(script)],
                env={**os.environ, "PYTHONPATH": str(script.parents[1])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def answer(self, request: dict[str, Any], folder: Path) -> dict[str, Any]:
        path = folder / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            print(path, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith('{"groups"'):
                return json.loads(line)
        raise AssertionError(f"no answer: {self._errors.read_text()[-2000:]}")

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(PATIENCE)


@pytest.fixture(scope="module")
def paddleslim(tmp_path_factory):
    process = PaddleSlim(tmp_path_factory.mktemp("process"))
    yield process
    process.end()


def pair(
    paddleslim: PaddleSlim, folder: Path, network: str, criteria: list[str], weights: Path | None = None, **options: Any
) -> Pair:
    """`network` by both sides; random weights where none are given."""
    model = randomise(known_networks.build(network, **options))
    ratios = RATIOS if weights is None else ALL_RATIOS
    if weights is None:
        weights = folder / "weights.pdparams"
        paddle.save(model.state_dict(), str(weights))
    else:
        model.set_state_dict(paddle.load(str(weights)))
    shape = known_networks.small_shape(network)
    request = {
        "network": network,
        "options": options,
        "weights": str(weights),
        "input_shape": shape,
        "criteria": criteria,
        "ratios": ratios,
    }
    return Pair(model, trace(model, shape), paddleslim.answer(request, folder), ratios)


def differences(sides: Pair, criterion: str) -> list[str]:
    """Members of common groups whose kept indices differ, with the ratio."""
    pruner = ChannelPruner(sides.model, sides.graph, criterion)
    sizes = {key: value.shape for key, value in sides.model.named_parameters()}
    found = []
    for name in sides.both:
        places = [(key, axis) for key, axis in sides.theirs["groups"][name]]
        for ratio in sides.ratios:
            ours = {(cut.key, cut.axis): list(cut.keep) for cut in pruner.cuts({name: ratio})}
            for (key, axis), kept in zip(places, sides.theirs["kept"][name][criterion][str(ratio)]):
                if ours.get((key, axis), list(range(sizes[key][axis]))) != kept:
                    found.append(f"{name} at {ratio}: {key}, axis {axis}")
    return found


ONLY_OURS = {
    "ch_det_mv3_db_v2.0": [*(f"neck.p{i}_conv.weight" for i in (5, 4, 3, 2)), "head.binarize.conv2.weight"],
    "det_mv3_db": [*(f"neck.p{i}_conv.weight" for i in (5, 4, 3, 2)), "head.binarize.conv2.weight"],
    "ch_PP-OCRv3_det_student": [
        *(f"neck.inp_conv.{i}.in_conv.weight" for i in range(4)),
        "head.binarize.conv2.weight",
    ],
}


@pytest.fixture(scope="module", params=quick([*ONLY_OURS, "PP-OCRv2's weights"], ["ch_det_mv3_db_v2.0"]))
def detector(request, paddleslim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paddleslim")
    real = request.param not in ONLY_OURS
    network = "ch_det_mv3_db_v2.0" if real else request.param
    weights = request.getfixturevalue("pp_ocrv2") if real else None
    return network, pair(paddleslim, folder, network, CRITERIA, weights)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_common_groups_keep_the_same_channels(detector, criterion):
    network, sides = detector
    assert len(sides.both) == len(sides.graph.groups) - len(ONLY_OURS[network]) >= 24
    assert not differences(sides, criterion)


def test_common_groups_have_the_same_members(detector):
    _, sides = detector
    for name in sides.both:
        ours = {(member.key, member.axis) for member in sides.graph.groups[name].members}
        assert ours == {(key, axis) for key, axis in sides.theirs["groups"][name]}, name


def test_ours_has_what_concat_and_transposed_convolutions_hide_and_not_what_inference_does_not_run(detector):
    network, sides = detector
    assert [name for name in sides.graph.groups if name not in sides.both] == ONLY_OURS[network]
    assert [name for name in sides.theirs["groups"] if name not in sides.both] == ["head.thresh.conv1.weight"]
    assert sides.graph.unprunable["head.thresh.conv1.weight"] == TRAINING_ONLY


def test_more_of_the_network_is_prunable_than_for_paddleslim(detector):
    _, sides = detector
    assert sides.theirs["macs_share"] < 0.6 < 0.97 < sides.graph.prunable_macs_share


def test_other_weights_keep_other_channels(detector):
    """The control: this comparison can fail."""
    _, sides = detector
    name = sides.both[-1]
    weight = dict(sides.model.named_parameters())[name]
    before = weight.numpy().copy()
    weight.set_value(before[::-1].copy())
    try:
        found = differences(sides, "l1")
    finally:
        weight.set_value(before)
    assert found and all(one.startswith(name) for one in found)


@pytest.mark.parametrize(
    "network, options, criteria",
    [("mobilenet_v1", {"scale": 0.25}, CRITERIA), ("resnet18", {}, ["l1", "l2"])],  # FPGM takes minutes on 512 filters
    ids=["mobilenet_v1", "resnet18"],
)
@pytest.mark.slow
def test_networks_of_others_have_the_same_groups_and_keep_the_same_channels(
    paddleslim, tmp_path, network, options, criteria
):
    sides = pair(paddleslim, tmp_path, network, criteria, **options)
    assert list(sides.graph.groups) == list(sides.theirs["groups"])
    assert sides.graph.prunable_macs_share == pytest.approx(sides.theirs["macs_share"])
    for criterion in criteria:
        assert not differences(sides, criterion)
