"""PaddleSlim's dygraph pruners on ocrslim's channel groups, with the methods that its documentation describes.

They correct faults of PaddleSlim's own classes: `groups` of convolutions, index maps that its `transform`
cannot express, several groups in one parameter, axis 0 for layers whose outputs lie on axis 1, mutable
default arguments, optimizer state, a network left pruned when an evaluation fails. Names are Paddle's
parameter names (`parameter.name`), as in PaddleSlim.
"""

from __future__ import annotations

import difflib
import functools
import logging
import numbers
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from paddle import nn
from paddle.optimizer import Optimizer

from ocrslim.errors import PlanError
from ocrslim.formats import read_sensitivities, write_sensitivities
from ocrslim.graph import ChannelGraph, Group, Member
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.cost import measure_cost
from ocrslim.pruning.criteria import paddleslim_class
from ocrslim.pruning.loss_rules import loss_of, ratio_by_loss
from ocrslim.pruning.paddleslim.plan import empty_plan
from ocrslim.pruning.surgery.cutting import named_tensors

logger = logging.getLogger(__name__)

RATIOS = tuple(round(0.1 * step, 1) for step in range(1, 10))
_BISECTIONS = 20
_APPLY = ("impretive", "lazy", None)


def filter_pruner(
    model: nn.Layer, graph: ChannelGraph, criterion: str = "fpgm", opt: Optimizer | None = None, **options: Any
) -> Any:
    """Return a pruner with PaddleSlim's interface: `prune_var`, `prune_vars`, `sensitive`, `restore` ...

    For `fpgm`, `l1` and `l2` it is an instance of PaddleSlim's own class, otherwise of its `FilterPruner`.

    Args:
        model: unpruned network, weights loaded.
        graph: its channel groups; a group is pruned by the name of its master's weight.
        criterion: one of `criteria.NAMES`.
        opt: the optimizer whose state is cut and restored with the weights.
        options: further ones of `ChannelPruner`.

    Raises:
        ConfigError: as `ChannelPruner`.
    """
    return _class(paddleslim_class(criterion))(model, ChannelPruner(model, graph, criterion, **options), opt)


@functools.cache
def _class(base: Any) -> Any:
    return type(f"{base.__name__}OnGroups", (_OnGroups, base), {})


class _OnGroups:
    """Methods that replace PaddleSlim's, mixed into its classes at first use."""

    model: nn.Layer
    opt: Optimizer | None
    plan: Any
    _status: Any

    def __init__(self, model: nn.Layer, channels: ChannelPruner, opt: Optimizer | None):
        from paddleslim.dygraph.prune.filter_pruner import Status
        from paddleslim.dygraph.prune.pruner import Pruner

        Pruner.__init__(self, model, [], opt=opt)  # FilterPruner's would trace the network
        self._status = Status()
        self.skip_leaves, self.num_head = True, -1
        self.skip_vars: list[str] = []
        self._channels = channels
        self._names = {key: tensor.name for key, tensor in named_tensors(model)}
        self._groups = {self._names[name]: group for name, group in channels.graph.groups.items()}
        self.collections = _Collections(self._groups)

    def cal_mask(self, pruned_ratio: float, collection: Any, num_head: int = -1) -> np.ndarray:
        """Mask of the master's output axis, int32: 1 for kept entries, 0 for removed ones."""
        group = self._groups[collection.master_name]
        return _mask(group.master, self._channels.removed(group.name, pruned_ratio))

    def prune_var(
        self, var_name: str, pruned_axis: int | list[int], pruned_ratio: float, apply: str | None = "impretive"
    ) -> Any:
        """Prune the group of `var_name`; `apply` is 'impretive' (PaddleSlim's spelling), 'lazy' or None.

        Axis 0 means the filters, on whichever axis the layer has them. A layer that has no group of its
        own gives an empty plan, with a warning that has the reason.

        Raises:
            PlanError: no parameter has that name, the ratio is no number in 0..1, or `apply` none of the three.
        """
        _check_apply(apply)
        plan = empty_plan(self.model)
        group = self._group(var_name, _single(pruned_axis))
        if not isinstance(pruned_ratio, numbers.Real) or not 0 <= pruned_ratio < 1:
            raise PlanError(
                f"{var_name}: ratio {pruned_ratio!r} is outside 0..1; expected the fraction to remove, below 1"
            )
        if group is not None:
            removed = self._channels.removed(group.name, pruned_ratio)
            for member in group.members:
                plan.add_mask(self._names[member.key], member.axis, _mask(member, removed), pruned_ratio)
        self._apply(plan, apply)
        return plan

    def prune_vars(self, ratios: Mapping[str, float], axis: int | list[int], apply: str | None = "impretive") -> Any:
        """Prune the groups of all of `ratios` {parameter name: ratio} in one plan.

        Raises:
            PlanError: as `prune_var`.
        """
        _check_apply(apply)
        plan = empty_plan(self.model)
        for name, ratio in ratios.items():
            plan.extend(self.prune_var(name, axis, ratio, apply=None))
        self._apply(plan, apply)
        self.plan = plan
        return plan

    def sensitive(
        self,
        eval_func: Callable[[], float] | None = None,
        sen_file: str | None = None,
        target_vars: Collection[str] | None = None,
        skip_vars: Collection[str] = (),
    ) -> dict[str, dict[float, float]]:
        """Measure the loss of each group at 0.1 .. 0.9; points in `sen_file` are not measured again.

        Args:
            eval_func: returns the model's score; without it, return the points measured so far.
            sen_file: table {name: {ratio: loss}}, written after every point.
            target_vars: names to measure; by default all.
            skip_vars: names to leave out.

        Raises:
            ArtifactError: `sen_file` is not a sensitivity table.
        """
        table = self._status.sensitivies
        if sen_file is not None and Path(sen_file).is_file():
            table.update(read_sensitivities(sen_file))
        if eval_func is None:
            return table
        self._warn_of_unknown("target_vars", target_vars or ())
        self._warn_of_unknown("skip_vars", skip_vars)
        wanted = [name for name in self._groups if target_vars is None or name in target_vars]
        points = [(name, ratio) for name in wanted if name not in skip_vars for ratio in RATIOS]
        missing = [(name, ratio) for name, ratio in points if ratio not in table.get(name, {})]
        baseline = eval_func() if missing else 0.0
        for name, ratio in missing:
            plan = self.prune_var(name, 0, ratio)
            try:
                score = eval_func()
            finally:
                plan.restore(self.model, opt=self.opt)
            table.setdefault(name, {})[ratio] = loss_of(baseline, score)
            if sen_file is not None:
                write_sensitivities(sen_file, table)
        return table

    def get_ratios_by_sensitivity(
        self, pruned_flops: float, align: int | None = None, dims: int = 0, skip_vars: Collection[str] = ()
    ) -> tuple[dict[str, float], float]:
        """Ratios at one loss tolerance, the same for all groups, and the fraction of MACs that they remove.

        Bisection over 0..1 finds the tolerance whose ratios come closest to `pruned_flops`. Call `sensitive`
        first.

        Args:
            pruned_flops: fraction of MACs to remove.
            align: round the number of kept channels to a multiple of it.
            skip_vars: names to leave out.

        Raises:
            PlanError: `pruned_flops` is outside 0..1, or no loss is measured.
        """
        if not isinstance(pruned_flops, numbers.Real) or not 0 <= pruned_flops <= 1:
            raise PlanError(f"pruned_flops: {pruned_flops!r} is outside 0..1; expected the fraction of MACs to remove")
        if not any(self._status.sensitivies.values()):
            raise PlanError("no loss is measured yet: call `sensitive` with an eval_func or a sen_file first")
        self._warn_of_unknown("skip_vars", skip_vars)
        table = {name: losses for name, losses in self._status.sensitivies.items() if name not in skip_vars}
        low, high = 0.0, 1.0
        best: tuple[dict[str, float], float] = {}, 0.0
        for _ in range(_BISECTIONS):
            loss = (low + high) / 2
            tolerated = {name: ratio_by_loss(losses, loss) for name, losses in table.items()}
            ratios = {name: self._aligned(name, ratio, align) for name, ratio in tolerated.items() if ratio}
            removed = self._removed_macs(ratios)
            if abs(removed - pruned_flops) < abs(best[1] - pruned_flops):
                best = ratios, removed
            low, high = (loss, high) if removed < pruned_flops else (low, loss)
        return best

    def sensitive_prune(self, pruned_flops: float, skip_vars: Collection[str] = (), align: int | None = None) -> Any:
        """Undo the last plan and prune by `get_ratios_by_sensitivity`; return the new plan."""
        if self.plan is not None:
            self.plan.restore(self.model, opt=self.opt)
        ratios, removed = self.get_ratios_by_sensitivity(pruned_flops, align, skip_vars=skip_vars)
        plan = self.prune_vars(ratios, 0)
        plan.pruned_flops = removed
        return plan

    def _aligned(self, name: str, ratio: float, align: int | None) -> float:
        """Round the number of kept channels as PaddleSlim does, to at least one step; return the ratio."""
        size = self._groups[name].master.size
        if not align:
            return ratio
        return max(0.0, 1 - max(align, round((1 - ratio) * size / align) * align) / size)

    def _removed_macs(self, ratios: Mapping[str, float]) -> float:
        graph = self._channels.graph
        cuts = self._channels.cuts({self._groups[name].name: ratio for name, ratio in ratios.items()})
        return 1 - measure_cost(graph, cuts).macs / max(1, graph.macs)

    def _apply(self, plan: Any, apply: str | None) -> None:
        if apply is not None:
            plan.apply(self.model, lazy=apply == "lazy", opt=self.opt)

    def _group(self, name: str, axis: int) -> Group | None:
        group = self._groups.get(name)
        if group is not None and axis in (0, group.axis):
            return group
        known = set(self._names.values())
        if name not in known:
            raise PlanError(f"{name}: {self._unknown(name)}")
        logger.warning("%s, axis %d: not pruned: %s", name, axis, self._reason(name, axis))
        return None

    def _warn_of_unknown(self, argument: str, names: Collection[str]) -> None:
        for name in names:
            if name not in self._groups:
                why = self._reason(name, 0) if name in self._names.values() else self._unknown(name)
                logger.warning("%s: %s has no effect: %s", argument, name, why)

    def _unknown(self, name: str) -> str:
        if name in self._names:
            return f"that is its key in the state dict; expected the parameter's name, {self._names[name]!r}"
        nearest = difflib.get_close_matches(name, sorted(set(self._names.values())), n=1, cutoff=0.0)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ": it has no parameters"
        return f"no parameter of this network has that name{hint}"

    def _reason(self, name: str, axis: int) -> str:
        graph = self._channels.graph
        keys = [key for key, known in self._names.items() if known == name]
        for key in keys:
            if key in graph.unprunable:
                return graph.unprunable[key]
        for group in graph.groups.values():
            if any(member.key in keys and member.axis == axis for member in group.members):
                return f"it belongs to the group of {self._names[group.name]}: prune that"
        return "its channels are in no group"


class _Collections:
    """Groups in the form in which PaddleSlim looks them up."""

    def __init__(self, groups: Mapping[str, Group]):
        self._found = {
            name: SimpleNamespace(master_name=name, master_axis=group.axis) for name, group in groups.items()
        }

    def __iter__(self) -> Iterator[SimpleNamespace]:
        return iter(self._found.values())

    def find_collection_by_master(self, name: str, axis: int) -> SimpleNamespace | None:
        found = self._found.get(name)
        return found if found is not None and axis in (0, found.master_axis) else None


def _check_apply(apply: str | None) -> None:
    if apply not in _APPLY:
        raise PlanError(f"apply: {apply!r}; expected 'impretive' (PaddleSlim's spelling), 'lazy' or None")


def _mask(member: Member, removed: Collection[int]) -> np.ndarray:
    mask = np.zeros(member.size, dtype="int32")
    mask[list(member.keep(removed))] = 1
    return mask


def _single(axis: int | list[int]) -> int:
    return axis[0] if isinstance(axis, list) else axis
