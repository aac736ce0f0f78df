"""Outputs of the unpruned network's layers on a few inputs: the reference for a refit."""

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
from ocrslim.pruning.refit.affine import INPUT_AXIS, OUTPUT_AXIS, axis_of, count_positions, obstacle, targets
from ocrslim.utils import progress_bar

AFFINE = tuple(INPUT_AXIS)
NORMS = (_BatchNormBase, nn.BatchNorm)
Hook = Callable[..., None]
Run = Callable[[np.ndarray], None]


@dataclass
class LayerTargets:
    """One layer's outputs at sampled positions, without the channels that a plan removes.

    Attributes:
        name: of the layer.
        picks: the positions, one array of indices for each input.
        targets: its outputs there, one array [positions, channels, entries of the kernel] for each input; the last
            axis is 1 except for transposed convolutions.
        norm: name of the batch norm that alone reads its output; "" without one.
    """

    name: str
    picks: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    norm: str = ""


@dataclass
class Reference:
    """Target outputs of the layers, by name in the order in which they ran, and the reasons why others have none."""

    targets: dict[str, LayerTargets] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def observe(teacher: nn.Layer, plan: Plan, batch: np.ndarray, positions: int, seed: int) -> Reference:
    """Run the unpruned network on `batch`, float32 [N, C, H, W], and record the outputs of its layers.

    Args:
        plan: the channels that it removes are not recorded.
        positions: number of positions to sample of each layer, all inputs together.
        seed: for the sampling.
    """
    recorder = _Recorder(plan, max(1, positions // len(batch)), seed)
    before: dict[str, Hook] = {}
    after: dict[str, Hook] = {}
    for name, layer in teacher.named_sublayers():
        if isinstance(layer, AFFINE):
            reason = obstacle(layer)
            recorder.found.skipped[name] = reason or "does not run in eval mode"
            if not reason:
                after[name] = recorder.layer(name)
        elif isinstance(layer, NORMS):
            before[name] = recorder.norm(name)
    with observing(teacher, "refit: unpruned network", before, after) as run:
        run(batch)
    return recorder.found


@contextlib.contextmanager
def observing(
    model: nn.Layer, desc: str, before: Mapping[str, Hook], after: Mapping[str, Hook] | None = None
) -> Iterator[Run]:
    """Yield a function that runs `model` in eval mode with hooks on its layers; remove the hooks afterwards.

    Args:
        desc: title of the progress bar, which counts layers.
        before: hook by layer name, called with the layer and its input before it runs.
        after: hook by layer name, called with the layer, its input and its output after it ran.
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
            bar.total = bar.n  # layers that only training runs were not counted
            bar.refresh()
            for handle in handles:
                handle.remove()


def view(x: Tensor) -> np.ndarray:
    """The values as an array; on the CPU without a copy, which would take longer than the layer."""
    if x.place.is_cpu_place() and hasattr(x, "__dlpack__"):
        return np.from_dlpack(x.detach())
    return x.numpy()


def moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel of [N, C, ...], float64."""
    parts = [(part.mean(axis=1), part.var(axis=1)) for part in (one.reshape(len(one), -1) for one in view(x))]
    means, variances = (np.stack(values).astype(np.float64) for values in zip(*parts))
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)


class _Recorder:
    """Hooks that fill a `Reference`."""

    def __init__(self, plan: Plan, each: int, seed: int):
        self.found = Reference()
        self._cuts = {(cut.key, cut.axis): list(cut.keep) for cut in plan.cuts}
        self._each = each
        self._seed = seed
        self._last: tuple[str, Tensor] | None = None
        self._norms: set[str] = set()

    def layer(self, name: str) -> Hook:
        """Make the hook that runs after the layer `name`."""

        def hook(layer: nn.Layer, x: Tensor, y: Tensor) -> None:
            reason = self.found.skipped.pop(name, None)
            if reason is None:  # weights used several times have no single target
                self.found.targets.pop(name, None)
                self.found.skipped[name] = "runs more than once"
                return
            self._last = name, y
            self.found.targets[name] = self._sampled(name, layer, x, y)

        return hook

    def norm(self, name: str) -> Hook:
        """Make the hook that runs before the batch norm `name`."""

        def hook(norm: nn.Layer, x: Tensor) -> None:
            if name in self._norms:  # used several times: its mean belongs to no single layer
                for seen in (seen for seen in self.found.targets.values() if seen.norm == name):
                    seen.norm = ""
                return
            self._norms.add(name)
            if self._last is not None and self._last[1] is x and self._last[0] in self.found.targets:
                self.found.targets[self._last[0]].norm = name

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
    """Sample at most `most` of `count` positions, ascending; depends only on `seed`, the layer and the input."""
    if count <= most:
        return np.arange(count)
    generator: np.random.Generator = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    return np.sort(generator.choice(count, most, replace=False))
