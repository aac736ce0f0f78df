"""The channel graph of a network, its groups proven by running the network pruned.

A trace sees `reshape(x, [1, 2, 58, 28, 28])` and cannot tell whether the network's code computed the 58 of the
shape or holds it as a literal; of `x / C**0.5` it sees a constant. So all groups are pruned here, by half and by
a third, and the network is run: its outputs must equal those of the full network with the removed channels
silenced, that is with zeros in the weights that read them. Where they differ, bisection finds the groups at fault;
their layers become unprunable, with that reason. The runs use random weights, so that the result depends only on
the network's code and no saturated output hides a difference.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import GraphError, PlanError
from ocrslim.graph import INPUT, OUTPUT, ChannelGraph, Group, Member, Shape, as_it_was, described, floating_type, trace
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.surgery import is_pruned, pruned
from ocrslim.utils import last_line, postponed

logger = logging.getLogger(__name__)

_STEPS = (2, 3)  # remove every second unit, then every third: even numbers may suit a network's code by chance
_TOLERANCE = 1e-4  # relative to an output's range
_ROUNDING = 2e-6  # relative to an output's largest value; and to the input, to measure how the network magnifies it
_UNPROVEN = (
    "its outputs differ from run to run or are not finite, so that it cannot be proven to work with fewer channels"
)


def channel_graph(model: nn.Layer, *input_shapes: Shape, proof_shapes: Sequence[Shape] | None = None) -> ChannelGraph:
    """Trace `model` and prove its groups.

    Mode, attributes, weights and buffers of the model are unchanged; gradients of cut parameters are dropped.

    Args:
        input_shapes: shape of each input with its batch, in the order of the network's arguments; inputs have the
            type of its parameters. Costs are counted at these shapes.
        proof_shapes: smaller shapes to prove groups on; by default `input_shapes`.

    Raises:
        GraphError: Paddle cannot trace or run the network with such inputs.
        PlanError: the network is pruned already.
        MemoryError: memory does not suffice; the network may be fine.
    """
    if is_pruned(model):
        raise PlanError("this network is pruned already: trace the unpruned one")
    graph = trace(model, *input_shapes)
    shapes = input_shapes if proof_shapes is None else proof_shapes
    with as_it_was(model, training=False), paddle.no_grad():
        inputs = [_sample(shape, floating_type(model)) for shape in shapes]
        try:
            _outputs(model, inputs)
        except MemoryError:
            raise
        except Exception as error:  # whatever the network's own code raises
            raise GraphError(
                f"{type(model).__name__}: cannot be run with {described(shapes)} ({last_line(error)}): expected shapes "
                "that the network takes, and a type that this device computes in"
            ) from error
        faults = _proof(model, graph, inputs)
    return _without(graph, faults) if faults else graph


def _proof(model: nn.Layer, graph: ChannelGraph, inputs: Sequence[paddle.Tensor]) -> dict[str, str]:
    """Find groups that fail with fewer channels, and the reason; where nothing can be proven, the suspected ones."""
    groups = sorted(graph.groups.values(), key=lambda group: bool(group.fixed_by))
    for weights in (_own_weights, nullcontext):
        with weights(model):
            if _steady(model, inputs):
                return _faults(model, groups, inputs)
    logger.warning("%s: %s; its groups are used as traced", type(model).__name__, _UNPROVEN)
    return {group.name: _UNPROVEN for group in groups if group.fixed_by}


def _steady(model: nn.Layer, inputs: Sequence[paddle.Tensor]) -> bool:
    """Tell whether two runs give the same finite values, up to rounding (threads add up in no fixed order)."""
    first, second = _outputs(model, inputs), _outputs(model, inputs)
    finite = all(np.isfinite(one).all() for one in (*first, *second))
    return finite and all(map(_same, second, first, first))


def _faults(model: nn.Layer, groups: Sequence[Group], inputs: Sequence[paddle.Tensor]) -> dict[str, str]:
    """Find the groups that make the network fail, and the fault of each: all at once, then by bisection."""
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
    """Use random weights inside the block; their scale keeps values in range through many layers."""
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


def _sample(shape: Shape, dtype: str) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype("float32")).astype(dtype)


def _fault(model: nn.Layer, groups: Sequence[Group], inputs: Sequence[paddle.Tensor]) -> str:
    """Describe the fault when channels of `groups` are removed; "" without one."""
    return next(filter(None, (_fault_of(model, groups, inputs, step) for step in _STEPS)), "")


def _fault_of(model: nn.Layer, groups: Sequence[Group], inputs: Sequence[paddle.Tensor], step: int) -> str:
    cuts = combine(cut for group in groups for cut in _thinned(group, step))
    try:
        with pruned(model, Plan({}, cuts)):
            found = _outputs(model, inputs)
    except MemoryError:
        raise
    except Exception as error:  # whatever the network's own code raises
        return f"it fails with fewer channels ({type(error).__name__})"
    with _silenced(model, cuts, groups):
        expected = _outputs(model, inputs)
        nudged = _outputs(model, [one * (1 + _ROUNDING) for one in inputs])
    if [one.shape for one in found] != [one.shape for one in expected]:
        return "its outputs change their shape with fewer channels"
    same = all(map(_same, found, expected, nudged))
    return "" if same else "it computes something else with fewer channels"


def _same(found: np.ndarray, expected: np.ndarray, nudged: np.ndarray) -> bool:
    """Tell whether an output equals the expected one, up to rounding as the network magnifies it.

    Args:
        nudged: the output for inputs that differ by rounding.
    """
    if not expected.size:
        return True
    magnified = 10 * float(np.abs(nudged - expected).max())
    tolerated = max(_TOLERANCE * float(np.ptp(expected)), _ROUNDING * float(np.abs(expected).max()), magnified)
    return float(np.abs(found - expected).max()) <= tolerated


def _outputs(model: nn.Layer, inputs: Sequence[paddle.Tensor]) -> list[np.ndarray]:
    # a signal is put off, or Paddle could make another error of it, and that be taken for a fault of the network
    with postponed(), as_it_was(model, training=False):  # what one run keeps is nothing to the next
        values = paddle.utils.flatten(model(*inputs))
    return [value.astype("float64").numpy() for value in values if isinstance(value, paddle.Tensor)]


def _thinned(group: Group, step: int) -> Iterator[Cut]:
    """Cuts that remove every `step`-th unit, but none that a member would be empty without."""
    removed = set(range(step - 1, group.size, step))
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
    """Zero the removed channels in the members that read them, inside the block."""
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
    """Members that read the channels; all members where these are not all that reads them (queries and keys meet)."""
    readers = () if group.summed else [member for member in group.members if member.role == INPUT]
    return readers or group.members


def _without(graph: ChannelGraph, faults: dict[str, str]) -> ChannelGraph:
    reasons = dict(graph.unprunable)
    for name, fault in faults.items():
        group = graph.groups[name]
        where = f" ({', '.join(group.fixed_by)})" if group.fixed_by else ""
        why = f"the network's code fixes the number of channels{where}: {fault}"
        reasons.update({member.key: why for member in group.members if member.role == OUTPUT})
    return replace(graph, groups={k: g for k, g in graph.groups.items() if k not in faults}, unprunable=reasons)
