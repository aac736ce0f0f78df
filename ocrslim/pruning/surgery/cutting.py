"""Surgery: cut the parameters and buffers of a model by a plan, and restore them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from paddle import Tensor, nn
from paddle.nn.layer.conv import _ConvNd
from paddle.optimizer import Optimizer

from ocrslim.errors import PlanError
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.pruning.surgery.head_sizes import head_sizes
from ocrslim.pruning.surgery.layer_sizes import layer_sizes, match_layers
from ocrslim.pruning.surgery.optimizer_state import Inventory, all_state, assign, state_of
from ocrslim.pruning.surgery.repeated_sizes import repeated_sizes

_MARK = "_ocrslim_pruned"


def apply_plan(model: nn.Layer, plan: Plan, optimizer: Optimizer | None = None) -> None:
    """Cut `model` in place by `plan`; its parameters keep their identity, so optimizers stay valid.

    Args:
        optimizer: its state for the parameters (momenta, master weights) is cut with them.

    Raises:
        PlanError: the model is pruned already, or the plan is of another model; the first mismatch is
            named and nothing is changed.
    """
    cut(model, plan.cuts, optimizer)


@contextlib.contextmanager
def pruned(model: nn.Layer, plan: Plan, optimizer: Optimizer | None = None) -> Iterator[nn.Layer]:
    """Cut `model` by `plan` inside the block, then restore model and optimizer bit for bit.

    All parameters and buffers are restored, also those that no cut touches. Gradients of cut parameters are dropped.

    Raises:
        PlanError: as `apply_plan`.
    """
    tensors = list({id(tensor): tensor for _, tensor in named_tensors(model)}.values())
    backup = Backup(model, tensors + ([] if optimizer is None else all_state(optimizer)), optimizer)
    cut(model, plan.cuts, optimizer)
    try:
        yield model
    finally:
        backup.restore()


def cut(model: nn.Layer, cuts: Iterable[Cut], optimizer: Optimizer | None = None) -> Backup:
    """Cut `model` as `apply_plan` does, and return a backup that undoes it.

    Raises:
        PlanError: as `apply_plan`.
    """
    if is_pruned(model):
        raise PlanError("this network is pruned already: restore it or load the unpruned one to apply another plan")
    kept = _resolve(model, cuts)
    groups = _groups_after(model, kept)
    values: list[tuple[Tensor, np.ndarray]] = []
    for entry in kept.values():
        remembered = [] if optimizer is None else state_of(optimizer, entry.tensor)
        values += [(tensor, entry.take(tensor)) for tensor in (entry.tensor, *remembered)]
    backup = Backup(model, [tensor for tensor, _ in values], optimizer)
    follow = [size.follow for size in repeated_sizes(model)]
    follow += [size.follow for size in head_sizes(model)]  # last: `dim` may look like what is read
    for tensor, value in values:
        _assign(tensor, value)
    for layer, attribute, count in groups:
        setattr(layer, attribute, count)
    match_layers(model)
    for repeat in follow:
        repeat()
    setattr(model, _MARK, bool(values))
    return backup


def cut_arrays(model: nn.Layer, cuts: Iterable[Cut]) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return what `cut` would make of a model, which stays as it is.

    Returns:
        the arrays that are cut, by state-dict key; groups of the grouped convolutions among them, by their weight's.

    Raises:
        PlanError: as `apply_plan`.
    """
    kept = _resolve(model, cuts)
    arrays = {key: kept[id(tensor)].take(tensor) for key, tensor in named_tensors(model) if id(tensor) in kept}
    groups = [entry for entry in _groups_after(model, kept) if isinstance(entry[0], _ConvNd)]
    return arrays, {kept[id(layer.weight)].key: count for layer, _, count in groups}


def is_pruned(model: nn.Layer) -> bool:
    """Tell whether a plan is applied to `model`."""
    return bool(getattr(model, _MARK, False))


def forget_pruning(model: nn.Layer) -> None:
    """Treat a pruned `model` as an unpruned network, so that it can be traced and pruned again."""
    setattr(model, _MARK, False)


class Backup:
    """Copy of tensors, of the layers' shape attributes and of an optimizer's list of tensors."""

    def __init__(self, model: nn.Layer, tensors: Iterable[Tensor], optimizer: Optimizer | None = None):
        self._model = model
        self._marked = is_pruned(model)
        self._values = [(tensor, tensor.numpy()) for tensor in tensors]
        self._attributes = layer_sizes(model)
        self._attributes += [(size.layer, size.name, size.value) for size in repeated_sizes(model)]
        self._attributes += [(size.layer, *named) for size in head_sizes(model) for named in size.names.items()]
        self._inventory = None if optimizer is None else Inventory(optimizer)

    def restore(self) -> None:
        """Restore all of them."""
        for tensor, value in self._values:
            _assign(tensor, value)
        for layer, name, value in self._attributes:
            setattr(layer, name, value)
        if self._inventory is not None:
            self._inventory.restore()
        setattr(self._model, _MARK, self._marked)


def named_tensors(layer: nn.Layer, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer with its key; a shared tensor under each of its keys."""
    # Paddle's own iterators name a shared tensor or layer once
    for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
        if tensor is not None:
            yield prefix + name, tensor
    for name, child in layer._sub_layers.items():
        if child is not None:
            yield from named_tensors(child, f"{prefix}{name}.")


@dataclass
class _Kept:
    """Kept indices of one tensor by axis, merged over all keys of a shared tensor."""

    key: str
    tensor: Tensor
    axes: dict[int, set[int]] = field(default_factory=dict)

    def add(self, cut: Cut) -> None:
        self.axes[cut.axis] = self.axes.get(cut.axis, set(cut.keep)) & set(cut.keep)
        if not self.axes[cut.axis]:
            raise PlanError(f"{self.key}, axis {cut.axis}: the plan would remove all {cut.size} channels")

    def take(self, tensor: Tensor) -> np.ndarray:
        value = tensor.numpy()
        for axis, keep in self.axes.items():
            value = np.take(value, sorted(keep), axis=axis)
        return value


def _resolve(model: nn.Layer, cuts: Iterable[Cut]) -> dict[int, _Kept]:
    """Collect the kept indices of each tensor, by its identity."""
    tensors = dict(named_tensors(model))
    kept: dict[int, _Kept] = {}
    for cut in cuts:
        _check(cut, tensors)
        tensor = tensors[cut.key]
        kept.setdefault(id(tensor), _Kept(cut.key, tensor)).add(cut)
    return kept


def _check(cut: Cut, tensors: Mapping[str, Tensor]) -> None:
    if cut.key not in tensors:
        raise PlanError(f"the plan cuts {cut.key}, which this network does not have: it is of another model")
    shape = list(tensors[cut.key].shape)
    if not 0 <= cut.axis < len(shape) or shape[cut.axis] != cut.size:
        raise PlanError(
            f"the plan expects {cut.size} entries on axis {cut.axis} of {cut.key}, "
            f"this network has shape {shape}: the plan is of another model"
        )
    before = -1
    for index in cut.keep:
        if not isinstance(index, (int, np.integer)) or not before < index < cut.size:
            raise PlanError(
                f"the plan keeps index {index!r} of {cut.key}, axis {cut.axis}, which is out of range or order: "
                f"expected ascending indices of its {cut.size} entries, each once"
            )
        before = int(index)


def _assign(tensor: Tensor, value: np.ndarray) -> None:
    same_shape = list(tensor.shape) == list(value.shape)
    assign(tensor, value)
    if not same_shape and not tensor.stop_gradient:
        tensor.clear_gradient(False)  # drop it: a zeroed gradient keeps the old shape


def _groups_after(model: nn.Layer, kept: Mapping[int, _Kept]) -> list[tuple[nn.Layer, str, int]]:
    """Remaining number of groups of each grouped layer whose weight is cut: layer, attribute, number.

    Axis 0 of the weight consists of one block for each group: outputs of a convolution, inputs of a
    transposed one, channels of a group norm. A group is removed when its whole block is.
    """
    found = []
    for layer in model.sublayers(include_self=True):
        attribute = "_groups" if isinstance(layer, _ConvNd) else "_num_groups"
        groups = vars(layer).get(attribute, 1)
        if groups == 1 or not isinstance(layer, (_ConvNd, nn.GroupNorm)) or id(layer.weight) not in kept:
            continue
        entry = kept[id(layer.weight)]
        block = layer.weight.shape[0] // groups
        keep = entry.axes.get(0, range(groups * block))
        sizes = np.bincount([index // block for index in keep])
        left = sizes[sizes > 0]
        if left.min() != left.max():
            raise PlanError(
                f"the plan keeps {left.max()} entries of one group of {entry.key} and {left.min()} of another, "
                f"expected as many of each of its {groups} groups: make it with this version of ocrslim"
            )
        found.append((layer, attribute, len(left)))
    return found
