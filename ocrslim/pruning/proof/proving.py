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
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
from paddle import nn

from ocrslim.graph import Group
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.pruning.proof.random_weights import random_weights
from ocrslim.pruning.proof.runs import ROUNDING, Outputs, Run, as_given
from ocrslim.pruning.proof.trial_cuts import at_random, cuts_of, every, silenced
from ocrslim.pruning.surgery.cutting import pruned

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-4  # relative to an output's range
UNPROVEN = (
    "its outputs differ from run to run or are not finite, so that it cannot be proven to work with fewer channels"
)


def prove(model: nn.Layer, groups: Iterable[Group], runs: Sequence[Run]) -> dict[str, str]:
    """Find the groups that fail with fewer channels, and the fault of each.

    Args:
        runs: the network's inference first. Where even that cannot be compared, the groups at fault are those on whose
            way an operator names a number of channels.
    """
    ordered = sorted(groups, key=lambda group: bool(group.fixed_by))
    for weights in (random_weights(model, runs[0]), nullcontext()):
        with weights:
            if _steady(model, runs[0]):
                return _faults(model, ordered, [runs[0], *(_comparable(model, run) for run in runs[1:])])
    logger.warning("%s: %s; its groups are used as traced", type(model).__name__, UNPROVEN)
    return {group.name: UNPROVEN for group in ordered if group.fixed_by}


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
    for choice, ways in ((every(2), runs[:1]), (every(3), runs[:1]), (at_random, runs)):
        fault = _fault_of(model, groups, cuts_of(groups, choice), ways)
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
    with silenced(model, cuts, groups):
        for run, outputs in zip(runs, found):
            expected = run.reference.outputs(model)
            if [one.shape for one in outputs] != [one.shape for one in expected]:
                return f"{run.of}its outputs change their shape with fewer channels"
            if run.by_value and not same(outputs, expected, partial(run.reference.outputs, model, nudged=True)):
                return f"{run.of}it computes something else with fewer channels"
    return ""
