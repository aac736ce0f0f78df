"""Networks as files, and what tests do with these: cut them, silence them, run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle
from oracle import randomise
from paddle import nn
from paddle.nn import functional as F
from small_export import export

from ocrslim.formats import write_pruned
from ocrslim.graph import INPUT, ChannelGraph, read_inference_folder
from ocrslim.inference import InferenceEngine
from ocrslim.models import ImportedNetwork
from ocrslim.pruning import Cut, combine, cut_arrays, program_channel_graph

SHAPE = (2, 3, 32, 48)


class Detector(nn.Layer):
    """What detectors are made of: depthwise blocks with squeeze-and-excitation, a neck, a transposed head."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2D(3, 8, 3, stride=2, padding=1, bias_attr=False), nn.BatchNorm2D(8)
        self.expand, self.depthwise = nn.Conv2D(8, 16, 1), nn.Conv2D(16, 16, 3, padding=1, groups=16)
        self.squeeze, self.excite = nn.Conv2D(16, 4, 1), nn.Conv2D(4, 16, 1)
        self.project, self.down = nn.Conv2D(16, 8, 1), nn.Conv2D(8, 12, 3, stride=2, padding=1)
        self.side, self.fuse = nn.Conv2D(12, 6, 1), nn.Conv2D(14, 8, 3, padding=1)
        self.up = nn.Conv2DTranspose(8, 1, 2, stride=2)

    def forward(self, x):
        x = F.hardswish(self.norm(self.stem(x)))
        y = F.relu(self.depthwise(self.expand(x)))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        x = x + self.project(y)
        small = F.interpolate(self.side(F.relu(self.down(x))), scale_factor=2, mode="nearest")
        return F.sigmoid(self.up(F.relu(self.fuse(paddle.concat([x, small], 1)))))


class Recogniser(nn.Layer):
    """What recognisers are made of: a map read as a sequence, attention with heads, a linear layer over characters."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2D(3, 12, 3, stride=2, padding=1), nn.BatchNorm2D(12)
        self.mix = nn.Conv2D(12, 16, 3, padding=1)
        self.qkv, self.after, self.ln = nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)
        self.wide, self.narrow = nn.Linear(16, 24), nn.Linear(24, 16)
        self.last = nn.Linear(16, 7)

    def forward(self, x):
        x = F.relu(self.mix(F.swish(self.norm(self.conv(x)))))
        x = F.avg_pool2d(x, [16, 1]).squeeze(2).transpose([0, 2, 1])
        q, k, v = self.qkv(x).reshape([0, x.shape[1], 3, 2, 8]).transpose([2, 0, 3, 1, 4])
        weights = F.softmax(q.matmul(k.transpose([0, 1, 3, 2])) * 8**-0.5, -1)
        x = x + self.after(weights.matmul(v).transpose([0, 2, 1, 3]).reshape([0, x.shape[1], 16]))
        x = x + self.narrow(F.gelu(self.wide(self.ln(x))))
        return F.softmax(self.last(x), 2)


class Folded(nn.Layer):
    """A sequence that becomes a map again, of a computed width, as in the neck of PP-OCRv4's recogniser."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner = nn.Conv2D(3, 12, 3, stride=2, padding=1), nn.Linear(12, 16)
        self.beside, self.last = nn.Conv2D(16, 8, [1, 3], padding=[0, 1]), nn.Linear(8, 7)

    def forward(self, x):
        x = F.avg_pool2d(F.relu(self.conv(x)), [16, 1])
        width = x.shape[3]
        x = F.relu(self.inner(x.flatten(2).transpose([0, 2, 1])))
        x = F.relu(self.beside(x.reshape([0, 1, width, 16]).transpose([0, 3, 1, 2])))
        return F.softmax(self.last(x.squeeze(2).transpose([0, 2, 1])), -1)


class Classifier(nn.Layer):
    """A map reduced to one vector, which is reshaped by numbers."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2D(3, 8, 3, stride=2, padding=1), nn.Linear(8, 2)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.conv(x)), 1)
        return F.softmax(self.last(x.reshape([x.shape[0], 8])), 1)


class Recurrent(nn.Layer):
    """Older recognisers: recurrent layers over a sequence, whose first state names their size."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2D(3, 6, 3, stride=2, padding=1), nn.Linear(16, 5)
        self.lstm = nn.LSTM(6, 8, num_layers=2, direction="bidirectional")

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.conv(x)), [1, 24]).squeeze(2).transpose([0, 2, 1])
        return F.softmax(self.last(self.lstm(x)[0]), 2)


NETWORKS = {network.__name__: network for network in (Detector, Recogniser, Classifier, Recurrent)}


def exported(network: type[nn.Layer], folder: Path, kind: str) -> Path:
    """Export a network with weights as after a training; its height and width are free, the recogniser's height not."""
    paddle.seed(1)
    height = 32 if network in (Recogniser, Folded) else None
    return export(randomise(network()), folder / network.__name__ / kind, kind == "legacy", height=height)


def imported(folder: Path) -> ImportedNetwork:
    model = ImportedNetwork(read_inference_folder(folder))
    model.eval()
    return model


def graph_of(model: ImportedNetwork, shape: Sequence[int] = SHAPE) -> ChannelGraph:
    return program_channel_graph(model, model.program_at(shape), shape)


def image(shape: Sequence[int] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def some_cuts(graph: ChannelGraph, ratio: float) -> tuple[Cut, ...]:
    """Cuts that remove a share of each group, at random."""
    rng = np.random.default_rng(0)
    cuts = []
    for group in graph.groups.values():
        removed = set(rng.choice(group.size, int(group.size * ratio), replace=False).tolist())
        for member in group.members:
            keep = member.keep(removed)
            if len(keep) < member.size:
                cuts.append(Cut(member.key, member.axis, member.size, keep))
    return combine(cuts)


def written_pruned(source: Path, target: Path, model: ImportedNetwork, cuts: Sequence[Cut]) -> Path:
    """Write the file of `model` with `cuts` into `target`."""
    arrays, groups = cut_arrays(model, cuts)
    write_pruned(source, target, in_file(model, arrays), in_file(model, groups))
    return target


def written_silenced(
    source: Path, target: Path, model: ImportedNetwork, graph: ChannelGraph, cuts: Sequence[Cut]
) -> Path:
    """Write the file of `model` with zeros for what reads the channels that `cuts` remove, into `target`."""
    write_pruned(source, target, in_file(model, silenced_arrays(model, graph, cuts)), {})
    return target


def silenced_arrays(model: ImportedNetwork, graph: ChannelGraph, cuts: Sequence[Cut]) -> dict[str, np.ndarray]:
    """The parameters that read the channels that `cuts` remove, with zeros for these."""
    reads = {
        (member.key, member.axis)
        for group in graph.groups.values()
        for member in group.members
        if member.role == INPUT or group.summed
    }
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    silenced: dict[str, np.ndarray] = {}
    for cut in cuts:
        if (cut.key, cut.axis) in reads:
            array = silenced.setdefault(cut.key, state[cut.key].copy())
            array[(slice(None),) * cut.axis + (sorted(set(range(cut.size)) - set(cut.keep)),)] = 0
    return silenced


def run(folder: Path, x: np.ndarray, onednn: bool = False) -> np.ndarray:
    """The output of a file in Paddle Inference."""
    return InferenceEngine(folder, onednn=onednn, own=True)(x)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the range of `other`."""
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / np.ptp(other))


def in_file(model: ImportedNetwork, found: Mapping[str, object]) -> dict:
    """What is known by state-dict key, by the names in the file."""
    return {model.file_names[key]: value for key, value in found.items()}
