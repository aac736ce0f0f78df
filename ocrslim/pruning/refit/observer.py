"""What the layers of an unpruned network give on a few inputs: the reference that a pruned one is refitted to."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn.layer.norm import _BatchNormBase

from ocrslim.graph import as_it_was
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.refit.affine import INPUT_AXIS, OUTPUT_AXIS, axis_of, obstacle, count_positions, targets
from ocrslim.utils import progress_bar

AFFINE = tuple(INPUT_AXIS)
NORMS = (_BatchNormBase, nn.BatchNorm)
Hook = Callable[..., None]
Run = Callable[[np.ndarray], None]


@dataclass
class LayerTargets:
    """One layer's output at some count_positions, without the channels that a plan removes.

    Attributes:
        name: of the layer.
        picks: the count_positions, one array of indices for each input.
        targets: its output there, one array [count_positions, channels, entries of the kernel] for each input; the last
            axis is 1 but for transposed convolutions.
        norm: name of the batch norm that reads its output; "" where another layer does.
    """

    name: str
    picks: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    norm: str = ""


@dataclass
class Reference:
    """What was seen of each layer, by name in the order in which they ran; `left`: why others have nothing there."""

    seen: dict[str, LayerTargets] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def observe(teacher: nn.Layer, plan: Plan, batch: np.ndarray, positions: int, seed: int) -> Reference:
    """Run the unpruned network on `batch`, float32 [N, C, H, W], and keep what its layers give.

    Args:
        plan: the channels that it removes are left out.
        positions: places to keep of each layer, all inputs together.
        seed: of the places.
    """
    watch = _Recorder(plan, max(1, positions // len(batch)), seed)
    before: dict[str, Hook] = {}
    after: dict[str, Hook] = {}
    for name, layer in teacher.named_sublayers():
        if isinstance(layer, AFFINE):
            reason = obstacle(layer)
            watch.found.left[name] = reason or "does not run in eval mode"
            if not reason:
                after[name] = watch.layer(name)
        elif isinstance(layer, NORMS):
            before[name] = watch.norm(name)
    with observing(teacher, "recovery: unpruned network", before, after) as run:
        run(batch)
    return watch.found


@contextlib.contextmanager
def observing(
    model: nn.Layer, desc: str, before: Mapping[str, Hook], after: Mapping[str, Hook] | None = None
) -> Iterator[Run]:
    """Yield what runs `model` in eval mode with hooks on its layers, by their names; afterwards they are gone.

    Args:
        desc: for the progress bar, which counts layers.
        before: called with the layer and its input before it runs.
        after: called with the layer, its input and its output after it ran.
    """
    layers, handles = dict(model.named_sublayers()), []
    after = after or {}
    with as_it_was(model, training=False), progress_bar(total=len(before) + len(after), desc=desc, unit="layer") as bar:

        def counted(hook: Hook) -> Hook:
            def call(layer: nn.Layer, given: Any, *made: Any) -> None:
                hook(layer, given[0], *made)
                bar.update()

            return call

        def run(batch: np.ndarray) -> None:
            with paddle.no_grad():
                model(paddle.to_tensor(batch))

        try:
            handles += [layers[name].register_forward_pre_hook(counted(hook)) for name, hook in before.items()]
            handles += [layers[name].register_forward_post_hook(counted(hook)) for name, hook in after.items()]
            yield run
        finally:
            bar.total = bar.n  # layers that only training runs were not called
            bar.refresh()
            for handle in handles:
                handle.remove()


def view(x: Tensor) -> np.ndarray:
    """The values to read from; on the CPU without a copy, which would take longer than the layer does."""
    if x.place.is_cpu_place() and hasattr(x, "__dlpack__"):
        return np.from_dlpack(x.detach())
    return x.numpy()


def moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel of [N, C, ...], float64."""
    parts = [(part.mean(axis=1), part.var(axis=1)) for part in (one.reshape(len(one), -1) for one in view(x))]
    means, variances = (np.stack(values).astype(np.float64) for values in zip(*parts))
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)


class _Recorder:
    """The hooks that fill a `Reference`."""

    def __init__(self, plan: Plan, each: int, seed: int):
        self.found = Reference()
        self._cuts = {(cut.key, cut.axis): list(cut.keep) for cut in plan.cuts}
        self._each = each
        self._seed = seed
        self._last: tuple[str, Tensor] | None = None
        self._norms: set[str] = set()

    def layer(self, name: str) -> Hook:
        """What to call after the layer `name` ran."""

        def hook(layer: nn.Layer, x: Tensor, y: Tensor) -> None:
            reason = self.found.left.pop(name, None)
            if reason is None:  # one set of weights for several inputs has no single target
                self.found.seen.pop(name, None)
                self.found.left[name] = "runs more than once"
                return
            self._last = name, y
            self.found.seen[name] = self._sampled(name, layer, x, y)

        return hook

    def norm(self, name: str) -> Hook:
        """What to call before the batch norm `name` runs."""

        def hook(norm: nn.Layer, x: Tensor) -> None:
            if name in self._norms:  # its mean is not one layer's to move
                for seen in (seen for seen in self.found.seen.values() if seen.norm == name):
                    seen.norm = ""
                return
            self._norms.add(name)
            if self._last is not None and self._last[1] is x and self._last[0] in self.found.seen:
                self.found.seen[self._last[0]].norm = name

        return hook

    def _sampled(self, name: str, layer: nn.Layer, x: Tensor, y: Tensor) -> LayerTargets:
        seen = LayerTargets(name)
        keep = self._cuts.get((f"{name}.weight", axis_of(OUTPUT_AXIS, layer)))
        for index, made in enumerate(view(y)):
            count = count_positions(layer, x.shape[1:], made.shape)
            picks = sample_positions(name, index, count, self._each, self._seed)
            target = targets(layer, made, picks)
            seen.picks.append(picks)
            seen.targets.append(target if keep is None else target[:, keep])
        return seen


def sample_positions(name: str, index: int, count: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of `count` count_positions, ascending; drawn by layer and input, whatever else is drawn."""
    if count <= most:
        return np.arange(count)
    generator: np.random.Generator = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    return np.sort(generator.choice(count, most, replace=False))
