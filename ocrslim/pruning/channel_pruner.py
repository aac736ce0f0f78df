"""Choice of the channels to remove: the lowest scores of each group."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

import numpy as np
from paddle import Tensor, nn

from ocrslim.config import GroupScore
from ocrslim.errors import ConfigError, PlanError
from ocrslim.graph import OUTPUT, ChannelGraph, Group, Member
from ocrslim.pruning.criteria import (
    FALLBACKS,
    NAMES,
    PADDLESLIM,
    RECONSTRUCTION,
    Units,
    lowest,
    paddleslim_lowest,
    random_scores,
    unit_scores,
)
from ocrslim.pruning.plan import Cut, combine
from ocrslim.pruning.surgery.cutting import named_tensors

logger = logging.getLogger(__name__)

GROUP_SCORES: tuple[str, ...] = get_args(GroupScore)
Gradients = Mapping[tuple[str, int], np.ndarray]


class ChannelPruner:
    """Chooses the channels to remove by a criterion.

    Scores are those of the weights at construction.
    """

    def __init__(
        self,
        model: nn.Layer,
        graph: ChannelGraph,
        criterion: str,
        *,
        group_score: str = "master",
        seed: int = 0,
        gradients: Gradients | None = None,
        scores: Mapping[str, np.ndarray] | None = None,
    ):
        """
        Args:
            model: unpruned network, weights loaded.
            graph: its channel groups.
            criterion: one of `criteria.NAMES`.
            group_score: for groups made by several layers: use the scores of the layer that names the group
                (`master`), or the `mean` or `max` over all layers, each layer's scores divided by their mean.
            seed: for the criterion `random`.
            gradients: for the criterion `taylor`, from `calibration.weight_gradients`:
                [batches, entries of the axis] by (state-dict key, axis).
            scores: for the criterion `reconstruction`, from `reconstruction.removals`: [units] by group; groups
                without an entry are scored by fpgm.

        Raises:
            ConfigError: unknown criterion or group score, `taylor` without gradients, `reconstruction` without scores.
        """
        _check_choice("criterion", criterion, NAMES)
        _check_choice("group_score", group_score, GROUP_SCORES)
        if (criterion == "taylor" and gradients is None) or (criterion == RECONSTRUCTION and scores is None):
            raise ConfigError(
                f"Prune.criterion: {criterion} needs measurements on training images, which are missing here: "
                "choose another one with -o Prune.criterion="
            )
        self.graph = graph
        self.criterion = criterion
        self.group_score = group_score
        self.seed = seed
        self._gradients, self._scores = gradients or {}, scores or {}
        self._removed: dict[tuple[str, float], tuple[int, ...]] = {}
        self._norms = _batch_norms(model) if criterion == "bn_scale" else {}
        tensors = dict(named_tensors(model))
        self._values = {key: _array(tensors[key]) for key in self._needed()}
        self._log_fallbacks()

    def cuts(self, ratios: Mapping[str, float]) -> tuple[Cut, ...]:
        """Make the cuts that remove the fraction `ratios[group]` of each named group's units.

        PaddleSlim's rounding: round(n * ratio) units are removed. Every layer keeps at least one channel: that of
        the highest score.

        Raises:
            PlanError: an unknown group, or a ratio outside 0..1.
        """
        found: list[Cut] = []
        for name, ratio in ratios.items():
            gone = self.removed(name, ratio)
            if gone:
                members = self.graph.groups[name].members
                found += [Cut(member.key, member.axis, member.size, member.keep(gone)) for member in members]
        return combine(found)

    def removed(self, name: str, ratio: float) -> tuple[int, ...]:
        """Indices of the units of the group `name` to remove at `ratio`, ascending.

        Raises:
            PlanError: an unknown group, or a ratio outside 0..1.
        """
        group = self._group(name)
        if not 0 <= ratio < 1:
            raise PlanError(f"{name}: ratio {ratio} is outside 0..1; expected the fraction to remove, below 1")
        if (name, ratio) not in self._removed:
            self._removed[name, ratio] = self._choose(group, ratio)
        return self._removed[name, ratio]

    def _choose(self, group: Group, ratio: float) -> tuple[int, ...]:
        master = group.master
        widths = {len(unit) for unit in master.units}
        if self.group_score == "master" and self.criterion in PADDLESLIM and len(widths) == 1 and 0 not in widths:
            values = np.moveaxis(self._values[master.key], master.axis, 0)
            gone = paddleslim_lowest(self.criterion, values, master.units, ratio)
        else:
            gone = lowest(self.scores(group.name), ratio)
        return self._without_gaps(group, gone)

    def scores(self, name: str) -> np.ndarray:
        """Score of each unit of the group `name`, float64 [units]; comparable within the group.

        Raises:
            PlanError: an unknown group.
        """
        group = self._group(name)
        if self.criterion == "random":
            return random_scores(self.seed, name, group.size)
        if name in self._scores:
            return self._scores[name]
        scores = np.array([unit_scores(*source) for source in self._sources(group)])
        if self.group_score == "master" and not np.isnan(scores[0]).any():
            return scores[0]
        scores = _scaled(scores)
        scores[:, np.isnan(scores).all(axis=0)] = np.inf  # no layer makes it: removed last
        if self.group_score == "master":
            first = np.argmin(np.isnan(scores), axis=0)  # the first layer that has the unit
            return scores[first, np.arange(group.size)]
        return (np.nanmean if self.group_score == "mean" else np.nanmax)(scores, axis=0)

    def _group(self, name: str) -> Group:
        if name not in self.graph.groups:
            nearest = difflib.get_close_matches(name, self.graph.groups, n=1, cutoff=0.0)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise PlanError(f"{name}: no channel group of this network has that name{hint}")
        return self.graph.groups[name]

    def _without_gaps(self, group: Group, gone: Sequence[int]) -> tuple[int, ...]:
        """Take the best unit back from `gone` for each member that would be left without channels."""
        removed = set(gone)
        for member in group.members:
            reaching = [unit for unit, positions in enumerate(member.units) if positions]
            if reaching and removed.issuperset(reaching):
                scores = self.scores(group.name)
                removed.discard(max(reaching, key=lambda unit: scores[unit]))
        return tuple(sorted(removed))

    def _sources(self, group: Group) -> Iterator[tuple[str, np.ndarray, Units]]:
        """Yield the arrays to score: criterion, values with the channels first, positions of the units there."""
        norms = self._norms_of(group)
        if norms:
            for member in norms:
                yield "bn_scale", self._values[member.key], member.units
            return
        for member in _makers(group):
            if self.criterion == "taylor":
                yield "taylor", self._gradients[member.key, member.axis].T, member.units
            else:
                criterion = FALLBACKS.get(self.criterion, self.criterion)
                yield criterion, np.moveaxis(self._values[member.key], member.axis, 0), member.units

    def _norms_of(self, group: Group) -> list[Member]:
        """The scales of the group's batch norms, the one behind the master first; [] if a unit has none."""
        found = [member for member in group.members if member.key in self._norms]
        if not all(any(member.units[unit] for member in found) for unit in range(group.size)):
            return []
        start = self._norms.get(_layer(group.name), 0)
        return sorted(found, key=lambda member: (self._norms[member.key] < start, self._norms[member.key]))

    def _needed(self) -> Iterable[str]:
        """Keys of the arrays that are scored."""
        if self.criterion in ("taylor", "random"):
            return set()
        groups = self.graph.groups.values()
        return {member.key for group in groups for member in self._norms_of(group) or _makers(group)}

    def _log_fallbacks(self) -> None:
        if self.criterion not in FALLBACKS:
            return
        scored = self._scores or {name for name, group in self.graph.groups.items() if self._norms_of(group)}
        others = [name for name in self.graph.groups if name not in scored]
        if others:
            text = "%s cannot score these groups, %s is used for them: %s"
            logger.info(text, self.criterion, FALLBACKS[self.criterion], ", ".join(others))


def _check_choice(key: str, value: str, options: Sequence[str]) -> None:
    if value not in options:
        raise ConfigError(f"Prune.{key}: {value!r} is not one of {', '.join(options)}: choose one with -o Prune.{key}=")


def _makers(group: Group) -> list[Member]:
    """The members whose layers make the channels, the master first."""
    others = (member for member in group.members[1:] if member.role == OUTPUT and any(member.units))
    return [group.master, *others]


def _scaled(scores: np.ndarray) -> np.ndarray:
    """Divide each layer's scores [layers, units] by their mean, so that all layers have equal weight."""
    means = np.nanmean(scores, axis=1, keepdims=True)
    return scores / np.where(means > 0, means, 1)


def _batch_norms(model: nn.Layer) -> dict[str, int]:
    """Index in the network's order of each layer by name, and of each batch norm's scale by key."""
    places = {}
    for place, (name, layer) in enumerate(model.named_sublayers()):
        places[name] = place
        if isinstance(layer, (nn.layer.norm._BatchNormBase, nn.BatchNorm)):
            places[f"{name}.weight"] = place
    return places


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _array(tensor: Tensor) -> np.ndarray:
    """The values as an array, float32 at least."""
    wide = str(tensor.dtype).rpartition(".")[2] in ("float32", "float64")
    return (tensor if wide else tensor.astype("float32")).numpy()
