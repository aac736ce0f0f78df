"""The oracle for channel groups: a network without channels equals the full one in which nobody reads them.

It knows nothing of the roles that the graph gives to members: what reads channels is decided by the type of the
layer that holds the weight. So a graph that takes an output for an input, or forgets a reader, is found out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import paddle
from paddle import nn
from paddle.vision.ops import DeformConv2D

from ocrslim.graph.groups import ChannelGraph, Group
from ocrslim.pruning.plan import Cut, combine
from ocrslim.pruning.surgery.cutting import cut, named_tensors

TOLERANCE = 1e-5  # of the largest output
RATIOS = (0.3, 0.7)  # each group alone
TOGETHER = (0.3, 0.5)  # all groups at once
_CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D, DeformConv2D)
_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
_RECURRENT = (nn.SimpleRNN, nn.LSTM, nn.GRU, nn.SimpleRNNCell, nn.LSTMCell, nn.GRUCell)

Reads = Mapping[str, int]
Outputs = list[np.ndarray]


@dataclass
class Verdict:
    """What the oracle saw: `faults` by group and ratio, and how many of its checks changed the output at all."""

    checks: int = 0
    changed: int = 0
    worst: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)


def randomise(model: nn.Layer, seed: int = 0) -> nn.Layer:
    """Statistics, scales and biases as after a training, in eval mode; the initial ones hide much."""
    rng = np.random.default_rng(seed)
    for key, value in model.state_dict().items():
        if value.dtype != paddle.float32:
            continue
        if key.endswith("_variance") or (value.ndim == 1 and key.endswith("weight")):
            value.set_value(rng.uniform(0.5, 1.5, value.shape).astype("float32"))
        elif value.ndim == 1:
            value.set_value(rng.normal(0, 0.3, value.shape).astype("float32"))
    model.eval()
    return model


def sample(*shapes: Sequence[int], seed: int = 1) -> list[paddle.Tensor]:
    """Random inputs."""
    rng = np.random.default_rng(seed)
    return [paddle.to_tensor(rng.standard_normal(shape).astype("float32")) for shape in shapes]


def assert_groups(
    model: nn.Layer, graph: ChannelGraph, inputs: Sequence[paddle.Tensor], reads: Reads | None = None
) -> None:
    """Every group alone and all together stand the oracle, and most of what they remove matters.

    Args:
        reads: axes of parameters that no layer of Paddle holds, along which the network's code reads channels.
    """
    verdict = judge(model, graph, inputs, reads)
    assert graph.groups, "no groups: nothing to prove"
    assert not verdict.faults, "\n".join(f"{label}: {fault}" for label, fault in verdict.faults.items())
    assert verdict.changed >= 0.8 * verdict.checks, "silencing hardly matters: this proves nothing"


def judge(
    model: nn.Layer,
    graph: ChannelGraph,
    inputs: Sequence[paddle.Tensor],
    reads: Reads | None = None,
    ratios: Sequence[float] = RATIOS,
    together: Sequence[float] = TOGETHER,
    output: Callable[..., object] | None = None,
) -> Verdict:
    """Prune each group of `graph` alone and all together, at random, and compare with silencing.

    Args:
        output: what to compare, called with the inputs; the network's outputs without.
    """
    rng = np.random.default_rng(5)
    trials = [(name, [group], ratio) for name, group in graph.groups.items() for ratio in ratios]
    trials += [("all", list(graph.groups.values()), ratio) for ratio in together if graph.groups]
    call = output or model
    original = run(call, inputs)
    verdict = Verdict()
    for name, groups, ratio in trials:
        chosen = [random_cuts(group, ratio, rng) for group in groups]
        cuts = combine(one for group_cuts in chosen for one in group_cuts)
        label = f"{name} at {ratio}"
        verdict.checks += 1
        with contextlib.ExitStack() as stack:
            for group, group_cuts in zip(groups, chosen):
                stack.enter_context(silenced(model, group_cuts, reads or {}, everything=group.summed))
            wanted = run(call, inputs)
        verdict.changed += difference(original, wanted) > 10 * TOLERANCE
        try:
            found = _run_without(model, cuts, call, inputs)
        except Exception as error:  # whatever surgery or the network says: it is a fault of the group
            verdict.faults[label] = f"{type(error).__name__}: {str(error).strip()[-300:]}"
            continue
        off = difference(wanted, found)
        verdict.worst = max(verdict.worst, off)
        if not off <= TOLERANCE:
            verdict.faults[label] = f"outputs differ by {off:.2g} of the largest"
    return verdict


def _run_without(
    model: nn.Layer, cuts: Iterable[Cut], call: Callable[..., object], inputs: Sequence[paddle.Tensor]
) -> Outputs:
    undo = cut(model, cuts)  # and not `pruned`, which copies the whole network, 138 million parameters of vgg16 too
    try:
        return run(call, inputs)
    finally:
        undo.restore()


def random_cuts(group: Group, ratio: float, rng: np.random.Generator) -> list[Cut]:
    """Cuts that remove about `ratio` of the units, at least one, and leave something of every member."""
    wanted = min(group.size - 1, max(1, round(group.size * ratio)))
    order = rng.permutation(group.size).tolist()
    removed: list[int] = order[:wanted]
    if not all(member.keep(removed) for member in group.members):  # rare, and slow with a thousand channels
        removed = []
        for unit in order:
            if len(removed) < wanted and all(member.keep([*removed, unit]) for member in group.members):
                removed.append(unit)
    kept = [(member, member.keep(removed)) for member in group.members]
    return [Cut(member.key, member.axis, member.size, keep) for member, keep in kept if len(keep) < member.size]


@contextlib.contextmanager
def silenced(model: nn.Layer, cuts: Iterable[Cut], reads: Reads, everything: bool = False) -> Iterator[None]:
    """Zeros in all that reads what `cuts` remove, inside the block.

    Args:
        everything: zeros in all that makes it too, where not only weights read it (queries and keys meet one another);
            so it is where none does.
    """
    places = {*_reading(model), *reads.items()}
    tensors = dict(named_tensors(model))
    cuts = list(cuts)
    cuts = [cut for cut in cuts if not everything and (cut.key, cut.axis) in places] or cuts
    before = {cut.key: tensors[cut.key].numpy().copy() for cut in cuts}
    try:
        for cut in cuts:
            values = tensors[cut.key].numpy().copy()
            gone = sorted(set(range(cut.size)) - set(cut.keep))
            values[(slice(None),) * cut.axis + (gone,)] = 0
            tensors[cut.key].set_value(values)
        yield
    finally:
        for key, values in before.items():
            tensors[key].set_value(values)


def _reading(model: nn.Layer) -> Iterator[tuple[str, int]]:
    """Key and axis of every weight that reads channels, by the type of its layer."""
    for name, layer in model.named_sublayers(include_self=True):
        prefix = f"{name}." if name else ""
        if isinstance(layer, _CONVOLUTIONS):
            yield f"{prefix}weight", 1
        elif isinstance(layer, nn.Linear) or (isinstance(layer, _TRANSPOSED) and layer._groups == 1):
            yield f"{prefix}weight", 0
        elif isinstance(layer, _RECURRENT):
            yield from ((f"{prefix}{key}", 1) for key in layer._parameters if key.startswith("weight_"))


def run(call: Callable[..., object], inputs: Sequence[paddle.Tensor]) -> Outputs:
    """All tensors that a call returns."""
    with paddle.no_grad():
        values = paddle.utils.flatten(call(*inputs))
    return [value.numpy().astype("float64") for value in values if isinstance(value, paddle.Tensor)]


def difference(wanted: Outputs, found: Outputs) -> float:
    """The largest difference, as a share of the largest entry of the output that shows it."""
    if [one.shape for one in wanted] != [one.shape for one in found]:
        return float("inf")
    pairs = [(one, other) for one, other in zip(wanted, found) if one.size]
    return max((float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-9)) for one, other in pairs), default=0.0)
