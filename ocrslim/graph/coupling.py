"""The coupling of channels: the rules write it, and the groups are read from it.

Every entry along every axis of every parameter is an *atom*. Rules couple atoms that can only be removed
together (a union-find), and pin those that must stay, with a reason. A value between two operators carries
channels along at most one of its axes: for each index there, the atom that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ocrslim.graph.groups import FOLLOWS, INPUT, OUTPUT
from ocrslim.graph.program import Op, Value

ParameterAxis = tuple[str, int]
_PRECEDENCE = (FOLLOWS, INPUT, OUTPUT)


@dataclass(frozen=True)
class Channels:
    """The channels of a value: `atoms[i]` is what index i along `axis` belongs to."""

    axis: int
    atoms: np.ndarray


@dataclass(frozen=True)
class Use:
    """One run of a layer with a weight, or one product of activations: see `Coupling.count` and `count_product`."""

    key: str
    shape: tuple[int, ...]
    positions: int
    per: np.ndarray | None


class Coupling:
    """State of one walk over the programs of a network.

    Attributes:
        roles: what each parameter axis is to the channels along it.
        makers: axes that make channels of their own, which a depthwise convolution's does not.
        uses: layers and products of activations that inference runs.
        uncounted: operators of inference that may multiply, whose cost is not known.
        layer_weights: state-dict key of each weight that a layer of the framework holds -> the layer's class.
    """

    def __init__(self, layer_weights: Mapping[str, str]) -> None:
        self.layer_weights = layer_weights
        self.roles: dict[ParameterAxis, str] = {}
        self.makers: dict[ParameterAxis, None] = {}
        self.uses: list[Use] = []
        self.uncounted: dict[str, None] = {}
        self._parent: list[int] = []
        self._pins: dict[int, str] = {}
        self._fixed: list[tuple[int, str]] = []
        self._summed: list[int] = []
        self._axes: dict[ParameterAxis, np.ndarray] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.begin(inference=True)

    def begin(self, inference: bool) -> None:
        """Start on another program: atoms and parameters stay, the channels of values are forgotten."""
        self.inference = inference
        self._channels: dict[int, Channels] = {}
        self._lists: dict[int, list[Value]] = {}
        self._views: dict[int, tuple[ParameterAxis | None, ...]] = {}
        self._opaque: dict[int, str] = {}
        self._temporary = 0

    # -- atoms -------------------------------------------------------------------------------------------

    def fresh(self, count: int) -> np.ndarray:
        """`count` new atoms, coupled with nothing."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def pinned(self, count: int, reason: str) -> np.ndarray:
        """`count` new atoms that must stay."""
        atoms = self.fresh(count)
        self.pin(atoms, reason)
        return atoms

    def couple(self, first: np.ndarray, second: np.ndarray) -> None:
        """Let `first[i]` and `second[i]` go together.

        Raises:
            ValueError: there are more of one than of the other.
        """
        if first.shape != second.shape:
            raise ValueError(f"{first.size} channels cannot go together with {second.size}")
        for a, b in zip(first.tolist(), second.tolist()):
            self._union(a, b)

    def couple_all(self, atoms: np.ndarray) -> None:
        """Let all of `atoms` go together."""
        flat = atoms.reshape(-1)
        self.couple(flat[:-1], flat[1:])

    def pin(self, atoms: Iterable[int] | np.ndarray, reason: str) -> None:
        """Let `atoms` stay, whatever they are coupled with; the first reason given is kept."""
        for atom in np.asarray(atoms).reshape(-1).tolist():
            self._pins.setdefault(self._find(atom), reason)

    def fix(self, atoms: np.ndarray, op: Op) -> None:
        """Note that `op` names how many of `atoms` there are."""
        self._fixed += [(atom, str(op)) for atom in atoms.reshape(-1).tolist()]

    def sum_over(self, atoms: np.ndarray) -> None:
        """Note that an operator without weights sums over `atoms`."""
        self._summed += atoms.tolist()

    def summed(self) -> set[int]:
        """Return the roots that operators without weights sum over."""
        return {self._find(atom) for atom in self._summed}

    def roots(self, atoms: np.ndarray) -> np.ndarray:
        """Return one representative for each set of coupled atoms."""
        return np.array([self._find(atom) for atom in atoms.reshape(-1).tolist()], dtype=np.int64).reshape(atoms.shape)

    def reasons(self) -> Mapping[int, str]:
        """Return the mapping root -> why it stays."""
        return self._pins

    def fixed(self) -> dict[int, set[str]]:
        """Return the mapping root -> operators that name a number of channels."""
        found: dict[int, set[str]] = {}
        for atom, op in self._fixed:
            found.setdefault(self._find(atom), set()).add(op)
        return found

    def _find(self, atom: int) -> int:
        parent = self._parent
        while parent[atom] != atom:
            parent[atom] = parent[parent[atom]]
            atom = parent[atom]
        return atom

    def _union(self, a: int, b: int) -> None:
        a, b = self._find(a), self._find(b)
        if a == b:
            return
        keep, gone = min(a, b), max(a, b)
        self._parent[gone] = keep
        reason = self._pins.pop(gone, None)
        if reason is not None:
            self._pins.setdefault(keep, reason)

    # -- parameters --------------------------------------------------------------------------------------

    def parameter_axes(self) -> Mapping[ParameterAxis, np.ndarray]:
        """Return the atoms along every parameter axis that a rule has met."""
        return self._axes

    def view(self, value: Value) -> tuple[ParameterAxis | None, ...] | None:
        """Return the parameter axis behind each axis of `value`; None where it is not a parameter (turned around)."""
        if value.parameter is not None and value.id not in self._views:
            self._views[value.id] = tuple((value.parameter, axis) for axis in range(value.rank))
            self._shapes[value.parameter] = value.shape or ()
        return self._views.get(value.id)

    def set_view(self, value: Value, axes: Iterable[ParameterAxis | None]) -> None:
        """Say that `value` is a parameter with its axes arranged as `axes`."""
        self._views[value.id] = tuple(axes)

    def along(self, value: Value, axis: int, role: str = FOLLOWS) -> np.ndarray:
        """Return the atoms along `axis` of a parameter, which is a `role` of them."""
        view = self.view(value)
        place = view[axis] if view else None
        assert place is not None and value.shape is not None
        if place not in self._axes:
            self._axes[place] = self.fresh(value.shape[axis])
        assert len(self._axes[place]) == value.shape[axis]
        known = self.roles.get(place, role)
        self.roles[place] = max(known, role, key=_PRECEDENCE.index)
        return self._axes[place]

    def made(self, value: Value, axis: int) -> np.ndarray:
        """Return the atoms along `axis` of a weight that makes them."""
        atoms = self.along(value, axis, OUTPUT)
        view = self.view(value)
        if view is not None and (place := view[axis]) is not None:
            self.makers[place] = None
        return atoms

    # -- values ------------------------------------------------------------------------------------------

    def channels(self, value: Value) -> Channels | None:
        """Return the channels that `value` carries; of a parameter, those of its only axis with several entries."""
        if value.id in self._channels:
            return self._channels[value.id]
        view = self.view(value)
        if view is None or value.shape is None:
            return None
        wide = self.wide(value)
        if not wide and value.rank == 1 and view[0] is not None:
            wide = [0]
        return Channels(wide[0], self.along(value, wide[0])) if len(wide) == 1 else None

    def wide(self, value: Value) -> list[int]:
        """Return the axes of a parameter that have several entries; none of a value that is no parameter."""
        axes = enumerate(self.view(value) or ())
        return [axis for axis, place in axes if place is not None and (value.shape or ())[axis] > 1]

    def set(self, value: Value, axis: int, atoms: np.ndarray) -> None:
        """Let `value` carry `atoms` along `axis`.

        Raises:
            ValueError: it has another size there.
        """
        if value.shape is None or value.shape[axis] != len(atoms):
            raise ValueError(f"axis {axis} of {value.shape} cannot carry {len(atoms)} channels")
        self._channels[value.id] = Channels(axis, atoms)

    def atoms(self, value: Value, axis: int) -> np.ndarray:
        """Return the atoms of `value` along `axis`; where it carries none there, new ones that must stay.

        Channels that it carries along another axis are pinned: an operator that runs along `axis` reads all of them.

        Raises:
            ValueError: its size is only known when the network runs.
        """
        found = self.channels(value)
        if found is not None and found.axis == axis:
            return found.atoms
        self.pin_value(value, "an operator runs across its channels")
        if value.shape is None or value.shape[axis] < 0:
            raise ValueError(f"the size of axis {axis} of {value.shape} is not known")
        return self.pinned(value.shape[axis], self.origin(value))

    def pin_value(self, value: Value, reason: str) -> None:
        """Pin all channels of `value`: of a list, of each of its values; of a parameter, along all axes."""
        for one in self.items(value):
            found = self.channels(one)
            if found is not None:
                self.pin(found.atoms, reason)
            for axis, place in enumerate(self.view(one) or ()):
                if place is not None:
                    self.pin(self.along(one, axis), reason)

    def set_opaque(self, value: Value, reason: str) -> None:
        """Record why the channels of `value` cannot be followed."""
        self._opaque.setdefault(value.id, reason)

    def give_up(self, value: Value, reason: str) -> None:
        """Pin all channels of `value`, and forget that it carries any."""
        self.pin_value(value, reason)
        for known in (self._channels, self._lists, self._views):
            known.pop(value.id, None)
        self._opaque[value.id] = reason

    def origin(self, value: Value) -> str:
        """Why nothing is known of the channels of `value`."""
        return self._opaque.get(value.id, "it carries no channels that could be followed")

    # -- lists -------------------------------------------------------------------------------------------

    def items(self, value: Value) -> list[Value]:
        """Return the values in a list; a value that is none, alone."""
        return self._lists.get(value.id, [value])

    def set_items(self, value: Value, items: Iterable[Value]) -> None:
        """Say what a list holds."""
        self._lists[value.id] = list(items)

    def item(self, shape: Iterable[int]) -> Value:
        """Return a new value, to be put into a list."""
        self._temporary -= 1
        return Value(self._temporary, tuple(shape))

    # -- cost --------------------------------------------------------------------------------------------

    def count(self, weight: Value, positions: int, per: np.ndarray | None = None) -> None:
        """Note that each entry of the parameter `weight` is multiplied `positions` times.

        Args:
            per: channels that the layer runs over one by one, where it does; `positions` is then for one.
        """
        if self.inference:
            key = next(place[0] for place in self.view(weight) or () if place is not None)
            self.uses.append(Use(key, self._shapes[key], positions, per))

    def count_product(self, macs: int, per: np.ndarray | None) -> None:
        """Note a product of activations of `macs` multiply-accumulates, spread evenly over the channels `per`."""
        if self.inference:
            self.uses.append(Use("", (), macs // (1 if per is None else len(per)), per))

    def leave_uncounted(self, op: Op) -> None:
        """Note that the cost of `op` is not known before it runs."""
        if self.inference:
            self.uncounted[str(op)] = None
