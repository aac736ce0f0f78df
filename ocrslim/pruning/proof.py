"""Proof of a network's groups: it is run pruned, and must compute what it does with the removed channels silenced.

All groups are pruned, by every second unit, by every third and by units at random, and the network is run in each of
its ways: as it infers, as it trains, and as it is deployed, where that is another network. Its outputs must equal
those of the full network with zeros in the weights that read the removed channels. Where they differ, bisection finds
the groups at fault.

The runs use random weights, so that the result depends only on the network's code and no saturated output hides a
difference. Training runs without dropout and leaves statistics as they were; where its outputs are random even so, they
are compared by their shapes.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
from paddle import Tensor, nn
from paddle.nn.layer.norm import _BatchNormBase

from ocrslim.graph import INPUT, Group, Member, as_it_was
from ocrslim.pruning.optimizer_state import assign
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.runs import ROUNDING, Outputs, Run, as_given
from ocrslim.pruning.surgery import named_tensors, pruned
from ocrslim.utils import postponed

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-4  # relative to an output's range
_LEAST_VARIANCE = 0.01  # of maps with a single position, whose variance is 0
UNPROVEN = (
    "its outputs differ from run to run or are not finite, so that it cannot be proven to work with fewer channels"
)

Choice = Callable[[Group], set[int]]


def prove(model: nn.Layer, groups: Iterable[Group], runs: Sequence[Run]) -> dict[str, str]:
    """Find the groups that fail with fewer channels, and the fault of each.

    Args:
        runs: the network's inference first. Where even that cannot be compared, the groups at fault are those on whose
            way an operator names a number of channels.
    """
    ordered = sorted(groups, key=lambda group: bool(group.fixed_by))
    for weights in (own_weights(model, runs[0]), nullcontext()):
        with weights:
            if _steady(model, runs[0]):
                return _faults(model, ordered, [runs[0], *(_comparable(model, run) for run in runs[1:])])
    logger.warning("%s: %s; its groups are used as traced", type(model).__name__, UNPROVEN)
    return {group.name: UNPROVEN for group in ordered if group.fixed_by}


def cuts_at_random(groups: Iterable[Group]) -> tuple[Cut, ...]:
    """Return cuts that remove a third of the units of each group."""
    return _cuts(groups, _at_random)


def same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], nudged: Callable[[], Outputs]) -> bool:
    """Tell whether outputs equal the expected ones, up to rounding as the network magnifies it.

    Args:
        nudged: returns the outputs for inputs that differ by rounding; called where they matter.
    """
    if [one.shape for one in found] != [one.shape for one in expected]:
        return False
    if all(_within(one, other, 0.0) for one, other in zip(found, expected)):
        return True
    moved = [float(np.abs(one - other).max(initial=0)) for one, other in zip(nudged(), expected)]
    return all(map(_within, found, expected, moved))


def _within(found: np.ndarray, expected: np.ndarray, moved: float) -> bool:
    if not expected.size:
        return True
    tolerated = max(_TOLERANCE * float(np.ptp(expected)), ROUNDING * float(np.abs(expected).max()), 10 * moved)
    return float(np.abs(found - expected).max()) <= tolerated


def _steady(model: nn.Layer, run: Run) -> bool:
    """Tell whether two runs give the same finite values, up to rounding (threads add up in no fixed order).

    A network that is made of the one given rounds elsewhere, and may magnify that as it does rounded inputs.
    """
    first, second = run.reference.outputs(model), run.outputs(model)
    finite = all(np.isfinite(one).all() for one in (*first, *second))
    exact = run.made is as_given
    return finite and same(second, first, lambda: first if exact else run.reference.outputs(model, nudged=True))


def _comparable(model: nn.Layer, run: Run) -> Run:
    """The run, compared by shapes alone where its values differ without a cut."""
    steady = _steady(model, run)
    if not steady and run.made is not as_given:
        logger.warning("%s: %sit computes something else than as it trains", type(model).__name__, run.of)
    return replace(run, by_value=steady)


def _faults(model: nn.Layer, groups: Sequence[Group], runs: Sequence[Run]) -> dict[str, str]:
    """Find the groups that make the network fail, and the fault of each: all at once, then by bisection."""
    proven: list[Group] = []
    faults: dict[str, str] = {}

    def prove_all(candidates: Sequence[Group]) -> None:
        fault = _fault(model, [*proven, *candidates], runs)
        if not fault:
            proven.extend(candidates)
        elif len(candidates) == 1:
            faults[candidates[0].name] = fault
        else:
            middle = len(candidates) // 2
            prove_all(candidates[:middle])
            prove_all(candidates[middle:])

    if groups:
        prove_all(groups)
    return faults


def _fault(model: nn.Layer, groups: Sequence[Group], runs: Sequence[Run]) -> str:
    """Describe the fault when channels of `groups` are removed; "" without one.

    Inference is run with all cuts, the other ways only with the random one, which has no order that could suit them.
    """
    for choice, ways in ((_every(2), runs[:1]), (_every(3), runs[:1]), (_at_random, runs)):
        fault = _fault_of(model, groups, _cuts(groups, choice), ways)
        if fault:
            return fault
    return ""


def _fault_of(model: nn.Layer, groups: Sequence[Group], cuts: Sequence[Cut], runs: Sequence[Run]) -> str:
    found = []
    with pruned(model, Plan({}, tuple(cuts))):
        for run in runs:
            try:
                found.append(run.outputs(model))
            except MemoryError:
                raise
            except Exception as error:  # whatever the network's own code raises
                return f"{run.of}it fails with fewer channels ({type(error).__name__})"
    with _silenced(model, cuts, groups):
        for run, outputs in zip(runs, found):
            expected = run.reference.outputs(model)
            if [one.shape for one in outputs] != [one.shape for one in expected]:
                return f"{run.of}its outputs change their shape with fewer channels"
            if run.by_value and not same(outputs, expected, partial(run.reference.outputs, model, nudged=True)):
                return f"{run.of}it computes something else with fewer channels"
    return ""


@contextmanager
def own_weights(model: nn.Layer, run: Run) -> Iterator[None]:
    """Use random weights inside the block, of a scale that keeps values in range through many layers."""
    rng = np.random.default_rng(0)
    before = [(tensor, tensor.numpy().copy()) for _, tensor in named_tensors(model)]
    try:
        for key, tensor in model.named_parameters():
            tensor.set_value(_random(key, tensor.shape, rng).astype(tensor.numpy().dtype))
        _set_statistics(model, run)
        yield
    finally:
        for tensor, values in before:
            assign(tensor, values)


def _set_statistics(model: nn.Layer, run: Run) -> None:
    """Set the statistics of the batch norms to what one run meets.

    Of branches that are added up each would add to the scale otherwise, and a deep network's output be saturated.
    """
    norms = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, (_BatchNormBase, nn.BatchNorm))]
    with postponed(), as_it_was(model, training=False):
        for norm in norms:
            norm.training, norm._momentum = True, 0.0
        run.call(model, run.inputs)
    for norm in norms:
        norm._variance.set_value(norm._variance + _LEAST_VARIANCE)


def _random(key: str, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    if len(shape) < 2:
        scale = key.endswith(("_variance", "weight", "scale"))
        return rng.uniform(0.5, 1.5, shape) if scale else rng.normal(0, 0.1, shape)
    fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
    return rng.normal(0, math.sqrt(2 / fan_in), shape)


def _every(step: int) -> Choice:
    """Choose every `step`-th unit: even numbers of channels may suit a network's code by chance, so may others."""
    return lambda group: set(range(step - 1, group.size, step))


def _at_random(group: Group) -> set[int]:
    """Choose a third of the units, others in each group, and more of the first ones than of the last.

    Cuts that take as many of each block of channels suit code that treats blocks differently.
    """
    rng = np.random.default_rng(zlib.crc32(group.name.encode()))
    odds = np.arange(group.size, 0, -1.0) ** 2
    return set(rng.choice(group.size, max(1, group.size // 3), replace=False, p=odds / odds.sum()).tolist())


def _cuts(groups: Iterable[Group], choice: Choice) -> tuple[Cut, ...]:
    return combine(cut for group in groups for cut in _without_units(group, choice(group)))


def _without_units(group: Group, removed: set[int]) -> Iterator[Cut]:
    """Cuts that remove the units `removed`, but none that a member would be empty without."""
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
    parameters: Mapping[str, Tensor] = dict(model.named_parameters())
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
