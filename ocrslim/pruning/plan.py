"""A plan: the kept indices of each parameter, as a value and as JSON.

Applying a plan needs neither the channel graph nor the criterion that made it, so a pruned checkpoint with
its plan beside it can be rebuilt anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocrslim.errors import PlanError
from ocrslim.models import to_public, to_state_key
from ocrslim.utils import Field, hash_value, read_json, shown, write_json

SCHEMA = 1
_AXES = tuple("01234567")
_MOST_ENTRIES = 10_000_000  # along an axis


@dataclass(frozen=True)
class Cut:
    """Kept indices of one axis of one parameter.

    Attributes:
        key: state-dict key.
        axis: the axis that is cut.
        size: entries before the cut.
        keep: the kept indices, ascending.
    """

    key: str
    axis: int
    size: int
    keep: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Kept channels of a whole network.

    Attributes:
        architecture: the `Architecture` section of the network it was made for.
        cuts: one for each (key, axis) that loses entries.
        ratios: group name (state-dict key) -> fraction of its channels removed.
        skipped: group name -> reason why it was not pruned.
        criterion: the criterion that scored the channels.
        origin: hashes of the plan's inputs, such as weights and table.
    """

    architecture: Mapping[str, Any]
    cuts: tuple[Cut, ...]
    ratios: Mapping[str, float] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    criterion: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, layers by their public names."""

        def public(key: str) -> str:
            return to_public(key, self.architecture)

        layers: dict[str, dict[str, Any]] = {}
        for cut in self.cuts:
            layers.setdefault(public(cut.key), {})[str(cut.axis)] = {"size": cut.size, "keep": list(cut.keep)}
        return {
            "schema": SCHEMA,
            "criterion": self.criterion,
            "architecture": dict(self.architecture),
            "origin": dict(self.origin),
            "ratios": {public(name): ratio for name, ratio in self.ratios.items()},
            "skipped": {public(name): reason for name, reason in self.skipped.items()},
            "layers": layers,
        }

    def hash(self) -> str:
        """Hash architecture and cuts (SHA-256)."""
        content = self.to_json()
        return hash_value([content["architecture"], content["layers"]])

    def save(self, path: Path | str) -> None:
        """Write the plan as JSON, atomically."""
        write_json(path, self.to_json())

    def after(self, first: Plan | None) -> Plan:
        """Combine two plans into one: `first` prunes the network, this plan prunes the result.

        Raises:
            PlanError: this plan does not fit the network that `first` leaves.
        """
        if first is None:
            return self
        before = {(cut.key, cut.axis): cut for cut in first.cuts}
        both = {**before, **{(cut.key, cut.axis): _nested(cut, before.get((cut.key, cut.axis))) for cut in self.cuts}}
        names = dict.fromkeys([*first.ratios, *self.ratios])
        ratios = {name: 1 - (1 - first.ratios.get(name, 0.0)) * (1 - self.ratios.get(name, 0.0)) for name in names}
        skipped = {name: reason for name, reason in self.skipped.items() if name not in ratios}
        return Plan(self.architecture, tuple(both.values()), ratios, skipped, self.criterion, self.origin)

    def since(self, first: Plan | None) -> Plan:
        """Return the rest of this plan after its part `first`, so that `since(first).after(first)` is this plan."""
        if first is None:
            return self
        before = {(cut.key, cut.axis): cut.keep for cut in first.cuts}
        cuts = []
        for cut in self.cuts:
            places = {index: place for place, index in enumerate(before.get((cut.key, cut.axis), range(cut.size)))}
            cuts.append(Cut(cut.key, cut.axis, len(places), tuple(places[index] for index in cut.keep)))
        return Plan(self.architecture, combine(cuts), {}, {}, self.criterion, self.origin)

    @staticmethod
    def load(path: Path | str) -> Plan:
        """Read a plan.

        Raises:
            ArtifactError: the file is missing, not a regular file, or not JSON.
            PlanError: it is JSON, but not a plan of this version.
        """
        content = read_json(path, "ocrslim prune")
        found = content.get("schema")
        if found != SCHEMA:
            newer = isinstance(found, int) and found > SCHEMA
            remedy = (
                "it is of a newer ocrslim: update this one" if newer else "prune again with this version of ocrslim"
            )
            raise PlanError(f"{path}: schema {shown(found)}, expected {SCHEMA}: {remedy}")
        try:
            return _from_json(Field(content))
        except ValueError as error:
            raise PlanError(
                f"{path}: not a pruning plan ({error}): restore the file that ocrslim prune wrote, or prune again"
            ) from None


def _from_json(plan: Field) -> Plan:
    architecture = _architecture(plan["architecture"])

    def keyed(field: Field) -> list[tuple[str, Field]]:
        return [(to_state_key(name, architecture), value) for name, value in field.items()]

    cuts = tuple(_cut(key, axis, cut) for key, axes in keyed(plan["layers"]) for axis, cut in axes.items())
    if len({(cut.key, cut.axis) for cut in cuts}) < len(cuts):
        raise ValueError("layers: a layer is listed twice, under two names")
    return Plan(
        architecture=architecture,
        cuts=cuts,
        ratios={key: value.number(0, 1) for key, value in keyed(plan["ratios"])},
        skipped={key: value.text() for key, value in keyed(plan["skipped"])},
        criterion=plan["criterion"].text(),
        origin={what: value.text() for what, value in plan["origin"].items()},
    )


def _architecture(field: Field) -> dict[str, Any]:
    """Check the parts of an `Architecture` section that public names depend on, and return it."""
    for part in ("Backbone", "Neck", "Head"):
        if field.mapping().get(part) is not None:
            field[part].mapping()
    return field.mapping()


def _cut(key: str, axis: str, field: Field) -> Cut:
    if axis not in _AXES:
        raise ValueError(f"{field.place} is no axis of a parameter, expected one from 0 to {len(_AXES) - 1}")
    size = field["size"].whole(1, _MOST_ENTRIES)
    keep = tuple(field["keep"].wholes(0, size - 1))
    if not keep or any(after <= before for before, after in zip(keep, keep[1:])):
        raise ValueError(f"{field.place}.keep is not an ascending selection of {size} indices")
    return Cut(key, int(axis), size, keep)


def _nested(cut: Cut, before: Cut | None) -> Cut:
    """Convert `cut`, made after `before`, to indices of the whole axis."""
    if before is None:
        return cut
    if cut.size != len(before.keep):
        raise PlanError(
            f"{cut.key}, axis {cut.axis}: the second plan expects {cut.size} entries, the first leaves "
            f"{len(before.keep)}: they are not of the same network"
        )
    return Cut(cut.key, cut.axis, before.size, tuple(before.keep[index] for index in cut.keep))


def combine(cuts: Iterable[Cut]) -> tuple[Cut, ...]:
    """Merge cuts of the same (key, axis), where several groups meet: an index is kept if all of them keep it.

    Cuts that remove nothing are dropped.

    Raises:
        PlanError: a layer would be left without channels.
    """
    merged: dict[tuple[str, int], Cut] = {}
    for cut in cuts:
        place = cut.key, cut.axis
        if place in merged:
            keep = tuple(sorted(set(cut.keep) & set(merged[place].keep)))
            cut = Cut(cut.key, cut.axis, cut.size, keep)
        if not cut.keep:
            raise PlanError(f"{cut.key}, axis {cut.axis}: the plan would remove all {cut.size} channels")
        merged[place] = cut
    return tuple(cut for cut in merged.values() if len(cut.keep) < cut.size)
