"""The channel graph of a network, with what the trace cannot know proven by running it.

A trace sees `reshape(x, [1, 2, 58, 28, 28])` and cannot tell whether the network's code computed the 58 of the
shape or holds it as a literal; of `x / C**0.5` it sees a constant. So all groups are pruned here by half, and the
network is run: it must give what the full one gives with the removed channels silenced, that is with zeros in
all that reads them. Where it does not, those that make the network fail are found by halves, and are no groups,
with that reason. The runs have weights of their own, so that what is found depends on the network's
code alone and no saturated output hides a difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import paddle
from paddle import nn

from ocrslim.graph.groups import INPUT, OUTPUT, ChannelGraph, Group, Member
from ocrslim.graph.trace import Shape, mode, trace
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.surgery import pruned

_TOLERANCE = 1e-4  # of the largest output


def channel_graph(model: nn.Layer, *input_shapes: Shape, proof_shapes: Sequence[Shape] | None = None) -> ChannelGraph:
    """Trace `model` and prove its groups; its mode, weights and forward pass are left as they are.

    Args:
        input_shapes: shape of each float32 input with its batch; costs are counted at these.
        proof_shapes: smaller ones that the network takes as well, to prove groups on; the same without.

    Raises:
        GraphError: Paddle cannot trace the network with such inputs.
    """
    graph = trace(model, *input_shapes)
    with mode(model, training=False), paddle.no_grad(), _own_weights(model):
        inputs = [_sample(shape) for shape in (input_shapes if proof_shapes is None else proof_shapes)]
        faults = _faults(model, sorted(graph.groups.values(), key=lambda group: bool(group.fixed_by)), inputs)
    return _without(graph, faults) if faults else graph


def _faults(model: nn.Layer, groups: Sequence[Group], inputs: Sequence[paddle.Tensor]) -> dict[str, str]:
    """Groups that make the network fail, and how: all at once, then by halves to find them."""
    proven: list[Group] = []
    faults: dict[str, str] = {}

    def prove(candidates: Sequence[Group]) -> None:
        fault = _fault(model, [*proven, *candidates], inputs)
        if not fault:
            proven.extend(candidates)
        elif len(candidates) == 1:
            faults[candidates[0].name] = fault
        else:
            middle = len(candidates) // 2
            prove(candidates[:middle])
            prove(candidates[middle:])

    if groups:
        prove(groups)
    return faults


@contextmanager
def _own_weights(model: nn.Layer) -> Iterator[None]:
    """Random weights that keep values in range through many layers, inside the block."""
    rng = np.random.default_rng(0)
    before = {key: (tensor, tensor.numpy().copy()) for key, tensor in model.named_parameters()}
    try:
        for key, (tensor, values) in before.items():
            tensor.set_value(_random(key, values.shape, rng).astype(values.dtype))
        yield
    finally:
        for tensor, values in before.values():
            tensor.set_value(values)


def _random(key: str, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    if len(shape) < 2:
        scale = key.endswith(("_variance", "weight", "scale"))
        return rng.uniform(0.5, 1.5, shape) if scale else rng.normal(0, 0.1, shape)
    fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
    return rng.normal(0, math.sqrt(2 / fan_in), shape)


def _sample(shape: Shape) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype("float32"))


def _fault(model: nn.Layer, groups: Sequence[Group], inputs: Sequence[paddle.Tensor]) -> str:
    """What goes wrong when half of the channels of `groups` are removed; empty where nothing does."""
    cuts = combine(cut for group in groups for cut in _halved(group))
    try:
        with pruned(model, Plan({}, cuts)):
            found = _outputs(model, inputs)
    except Exception as error:  # whatever the network's own code raises
        return f"it fails with fewer channels ({type(error).__name__})"
    with _silenced(model, cuts, groups):
        expected = _outputs(model, inputs)
    if [one.shape for one in found] != [one.shape for one in expected]:
        return "its outputs change their shape with fewer channels"
    off = _largest([one - other for one, other in zip(found, expected)])
    return "" if off <= _TOLERANCE * _largest(expected) else "it computes something else with fewer channels"


def _largest(values: Sequence[np.ndarray]) -> float:
    """The largest magnitude among all outputs."""
    return max((float(np.abs(one).max()) for one in values if one.size), default=0.0)


def _outputs(model: nn.Layer, inputs: Sequence[paddle.Tensor]) -> list[np.ndarray]:
    values = paddle.utils.flatten(model(*inputs))
    return [value.numpy().astype("float64") for value in values if isinstance(value, paddle.Tensor)]


def _halved(group: Group) -> Iterator[Cut]:
    """Cuts that remove every other unit, but none that a member would be empty without."""
    removed = set(range(1, group.size, 2))
    for member in group.members:
        reaching = [unit for unit, positions in enumerate(member.units) if positions]
        if reaching and removed.issuperset(reaching):
            removed.discard(reaching[0])
    for member in group.members:
        keep = member.keep(removed)
        if len(keep) < member.size:
            yield Cut(member.key, member.axis, member.size, keep)


@contextmanager
def _silenced(model: nn.Layer, cuts: Iterable[Cut], groups: Sequence[Group]) -> Iterator[None]:
    """Zeros where the members that read channels would be cut, inside the block."""
    reads = {(member.key, member.axis) for group in groups for member in _readers(group)}
    parameters = dict(model.named_parameters())
    cuts = [cut for cut in cuts if (cut.key, cut.axis) in reads and cut.key in parameters]
    before = {cut.key: parameters[cut.key].numpy().copy() for cut in cuts}
    try:
        for cut in cuts:
            values = parameters[cut.key].numpy().copy()
            removed = sorted(set(range(cut.size)) - set(cut.keep))
            values[(slice(None),) * cut.axis + (removed,)] = 0
            parameters[cut.key].set_value(values)
        yield
    finally:
        for key, values in before.items():
            parameters[key].set_value(values)


def _readers(group: Group) -> Sequence[Member]:
    """Members that read the channels; where none does (queries and keys meet only one another), all that make them."""
    return [member for member in group.members if member.role == INPUT] or group.members


def _without(graph: ChannelGraph, faults: dict[str, str]) -> ChannelGraph:
    reasons = dict(graph.unprunable)
    for name, fault in faults.items():
        group = graph.groups[name]
        where = f" ({', '.join(group.fixed_by)})" if group.fixed_by else ""
        why = f"the network's code fixes the number of channels{where}: {fault}"
        reasons.update({member.key: why for member in group.members if member.role == OUTPUT})
    return replace(graph, groups={k: g for k, g in graph.groups.items() if k not in faults}, unprunable=reasons)
