"""Rules for what leaves channels where they are: maps, sums and statistics along axes, constants, control flow."""

from __future__ import annotations

from ocrslim.graph.coupling import Coupling
from ocrslim.graph.program import Op
from ocrslim.graph.rules.registry import CONSTANT, NotFollowedError, carry, rule

_SPATIAL = """
    pool2d pool3d max_pool2d_with_index max_pool3d_with_index fractional_max_pool2d lp_pool2d unpool pad3d
    nearest_interp bilinear_interp bicubic_interp linear_interp trilinear_interp grid_sample roi_align roi_pool
""".split()
_REDUCTIONS = """
    all amax amin any argmax argmin frobenius_norm logsumexp max mean median min nanmedian p_norm prod
    squared_l2_norm sum
""".split()
_ALONG = """
    argsort cummax cummin cumprod cumsum flip gumbel_softmax log_softmax logcumsumexp roll softmax topk
""".split()


@rule(*_SPATIAL)
def spatial(op: Op, coupling: Coupling) -> None:
    """Works on each channel's map alone."""
    source = next(op.values())
    found = coupling.channels(source)
    if found is not None and found.axis not in (0, op.channel_axis(source)):
        raise NotFollowedError("runs across its channels")
    for value in op.values():
        if value is not source:
            coupling.pin_value(value, f"{op} reads places, not channels, from it")
    for target in op.outputs:
        carry(coupling, source, target)


@rule(*_REDUCTIONS, matrices=True)
def reduce(op: Op, coupling: Coupling) -> None:
    """One value for all along some axes; channels among those stay, as the result depends on each."""
    source, out = next(op.values()), op.outputs[0]
    axes = {axis % source.rank for axis in op.ints("axis", op.attributes.get("dims", []))}
    if not axes or any(op.attributes.get(name) for name in ("reduce_all", "flatten", "asvector")):
        axes = set(range(source.rank))
    reason = f"{op} runs over its channels"
    kept = out.rank == source.rank
    order = [None if axis in axes else axis for axis in range(source.rank) if kept or axis not in axes]
    for target in op.outputs:
        carry(coupling, source, target, order, reason)


@rule(*_ALONG)
def along(op: Op, coupling: Coupling) -> None:
    """Each result depends on all entries along some axes (without any named, on all): channels there stay."""
    source = next(op.values())
    found = coupling.channels(source)
    axes = {axis % source.rank for axis in op.ints("axis", op.attributes.get("dim", []))}
    if found is not None and (found.axis in axes or not axes or op.attributes.get("flatten")):
        coupling.pin(found.atoms, f"{op} runs over its channels")
    for target in op.outputs:
        if target.rank == source.rank:
            carry(coupling, source, target)


@rule("shape", "shape64", "numel", "size")
def sizes(op: Op, coupling: Coupling) -> None:
    """A size, not a value: nothing behind it carries channels, but it may be their number."""
    found = coupling.channels(next(op.values()))
    if found is not None:
        coupling.fix(found.atoms, op)
    for target in op.outputs:
        coupling.set_opaque(target, "a size")


@rule("full", "full_int_array", "data", "assign_value", "arange", "full_with_tensor", "gaussian", "uniform", "empty")
def constant(op: Op, coupling: Coupling) -> None:
    """A value that depends on no input."""
    for target in op.outputs:
        coupling.set_opaque(target, CONSTANT)


@rule("if", "while", "select_input", "select_output", matrices=True)
def control_flow(op: Op, coupling: Coupling) -> None:
    """Follow nothing inside: the operators that run depend on the data."""
    raise NotFollowedError("control flow that depends on the data")
