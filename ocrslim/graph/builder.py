"""The channel groups of a network, built from its programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ocrslim.graph.coupling import Coupling, ParameterAxis
from ocrslim.graph.depth import Place, places
from ocrslim.graph.groups import OUTPUT, ChannelGraph, Group, Layer, Member
from ocrslim.graph.program import Program
from ocrslim.graph.rules import channelwise, joins, layers, products, recurrent, shapes  # noqa: F401  (registration)
from ocrslim.graph.rules.registry import walk

TRAINING_ONLY = "only training runs it, inference does not"
NOT_RUN = "the network does not run it"
COMPUTED = "its weight is not used as it is, but computed with"
ONE_UNIT = "all its channels are coupled with one another, so none can go alone"
SINGLE = "it makes a single channel"

Roots = Mapping[ParameterAxis, list[int]]  # what each entry along a parameter axis goes together with


def build_graph(
    inference: Program,
    training: Program | None,
    weights: Mapping[str, str],
    trainable: Mapping[str, tuple[int, ...]],
) -> ChannelGraph:
    """Couple the channels of both programs and read the groups.

    Args:
        inference: the network as it is used.
        training: the same network as it trains, if it can be traced so.
        weights: state-dict key of every convolution's and linear layer's weight, in the order in which the
            model creates them -> class of the layer.
        trainable: shape of every trainable parameter, by state-dict key.
    """
    coupling = Coupling(weights)
    walk(inference, coupling, inference=True)
    used = _parameters(inference)
    if training is not None:
        walk(training, coupling, inference=False)
    roots = {place: coupling.roots(atoms).tolist() for place, atoms in coupling.parameter_axes().items()}
    trained = used | (_parameters(training) if training is not None else set())
    ranks = _ranks(coupling, weights)
    groups: dict[str, Group] = {}
    touched, fixed, summed = _touched(roots), coupling.fixed(), coupling.summed()
    for free in _components(coupling, roots):
        touching = dict.fromkeys(place for root in free for place in touched[root])
        makers = [place for place in touching if place in coupling.makers and place[0] in used]
        if makers and len(free) > 1:
            master = min(makers, key=lambda place: ranks[place[0]])
            members = _members({place: roots[place] for place in touching}, master, set(free), coupling.roles)
            operators = sorted({op for root in free for op in fixed.get(root, ())})
            groups[master[0]] = Group(master[0], members, tuple(operators), not summed.isdisjoint(free))
    groups = dict(sorted(groups.items(), key=lambda item: ranks[item[0]][1]))
    reasons = {key: reason for key in ranks if (reason := _reason(key, coupling, roots, groups, used, trained))}
    costs = _layers(coupling, roots, places(inference))
    run = {key: shape for key, shape in trainable.items() if key in used}
    return ChannelGraph(groups, reasons, costs, run, tuple(coupling.uncounted))


def _ranks(coupling: Coupling, weights: Mapping[str, str]) -> dict[str, tuple[bool, int]]:
    """Rank the weights; the lowest names a group. Convolutions first, then linear layers, in creation order."""
    keys = dict.fromkeys([*weights, *(key for (key, _), role in coupling.roles.items() if role == OUTPUT)])
    return {key: (weights.get(key, "Linear") == "Linear", index) for index, key in enumerate(keys)}


def _parameters(program: Program) -> set[str]:
    """Return the state-dict keys of what a program uses."""
    return {value.parameter for op in program.ops for value in op.values() if value.parameter is not None}


def _components(coupling: Coupling, roots: Roots) -> list[list[int]]:
    """Roots that can go, put together where one weight makes the channels of several."""
    pins = coupling.reasons()
    parent: dict[int, int] = {}

    def find(root: int) -> int:
        while parent.setdefault(root, root) != root:
            root = parent[root]
        return root

    for place in coupling.makers:
        free = [root for root in dict.fromkeys(roots[place]) if root not in pins]
        for root in free:
            parent[find(root)] = find(free[0])
    components: dict[int, list[int]] = defaultdict(list)
    for root in list(parent):
        components[find(root)].append(root)
    return list(components.values())


def _touched(roots: Roots) -> dict[int, list[ParameterAxis]]:
    """Return the mapping root -> the parameter axes that have entries of it."""
    touched: dict[int, list[ParameterAxis]] = defaultdict(list)
    for place, along in roots.items():
        for root in dict.fromkeys(along):
            touched[root].append(place)
    return touched


def _members(
    roots: Roots, master: ParameterAxis, free: set[int], roles: Mapping[ParameterAxis, str]
) -> tuple[Member, ...]:
    """The members of the group of the roots `free`; units in the order of the master's channels, then of others'."""
    order = sorted(roots, key=lambda place: (place != master, roles[place] != OUTPUT))
    units = {root: i for i, root in enumerate(dict.fromkeys(r for place in order for r in roots[place] if r in free))}
    return tuple(_member(place, roots[place], units, roles[place]) for place in order)


def _member(place: ParameterAxis, roots: list[int], units: Mapping[int, int], role: str) -> Member:
    positions: list[list[int]] = [[] for _ in units]
    for position, root in enumerate(roots):
        if root in units:
            positions[units[root]].append(position)
    return Member(place[0], place[1], len(roots), tuple(map(tuple, positions)), role)


def _layers(coupling: Coupling, roots: Roots, known: Mapping[str, Place]) -> tuple[Layer, ...]:
    """List the layers and products that inference runs, each with its positions and its place."""
    entries = {root: (*place, index) for place, along in roots.items() for index, root in enumerate(along)}
    found = []
    for use in coupling.uses:
        per = () if use.per is None else coupling.roots(use.per).tolist()
        stays = (use.key, 0, 0)  # for a channel that no parameter holds: a weight that runs over positions is pinned
        along = tuple(entries.get(root, stays) for root in per)
        found.append(Layer(use.key, use.shape, use.positions, along, *known.get(use.key, ())))
    return tuple(found)


def _reason(
    key: str, coupling: Coupling, roots: Roots, groups: Mapping[str, Group], used: set[str], trained: set[str]
) -> str | None:
    """Why a layer's outputs are in no group; None where they are."""
    if any(m.key == key and m.role == OUTPUT for group in groups.values() for m in group.members):
        return None
    if key not in used:
        return TRAINING_ONLY if key in trained else NOT_RUN
    axes = [place for place in roots if place[0] == key]
    made = [place for place in axes if coupling.roles[place] == OUTPUT] or axes
    pins = coupling.reasons()
    for place in made:
        for root in roots[place]:
            if root in pins:
                return pins[root]
        if coupling.roles[place] == OUTPUT:
            return SINGLE if len(roots[place]) == 1 else ONE_UNIT
    return COMPUTED
