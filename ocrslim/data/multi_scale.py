"""Batches of several image sizes: PaddleOCR's `MultiScaleSampler`, with its arguments.

PaddleOCR shuffles with Python's global generator and draws the same epoch again and again where it has a seed. Here an
epoch depends on seed and epoch alone, so that it can be resumed in its middle and shared out among processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from ocrslim.errors import ConfigError
from ocrslim.tasks import MultiScaleSampler, Size

MAX_WIDTH = 480.0  # PaddleOCR's default of `max_w`


@dataclass(frozen=True)
class Batch:
    """Samples that are trained on together.

    Attributes:
        indices: of the samples.
        size: height and width that their images are given; None for what their transforms give them.
    """

    indices: tuple[int, ...]
    size: Size | None = None


@dataclass(frozen=True)
class Scale:
    """One of the sampler's sizes, and how many images of it make a batch."""

    width: int
    height: int
    images: int


def scales_of(sampler: Mapping[str, Any]) -> list[Scale]:
    """Return the sizes of a section `Train.sampler`; the first one has `first_bs` images to a batch.

    With `fix_bs: false` the others have as many as make up the same number of pixels.

    Raises:
        ConfigError: an argument that the sampler does not have, or that means nothing.
    """
    _check(sampler)
    sides = sampler["scales"]
    first = int(sampler.get("first_bs", 128))
    if not sampler.get("is_training", True):
        return [Scale(int(sides[0][0]), int(sides[0][1]), first)]
    pixels = sides[0][0] * sides[0][1] * first
    across, down = sampler.get("divided_factor", (8, 16))
    scales = []
    for width, height in sides:
        if width < across or height < down:
            raise ConfigError(
                f"Train.sampler.scales: found {[width, height]}, expected at least divided_factor, {[across, down]}"
            )
        width, height = int(width // across * across), int(height // down * down)
        images = first if sampler.get("fix_bs", True) else max(1, int(pixels / (height * width)))
        scales.append(Scale(width, height, images))
    return scales


def multi_scale_batches(
    chosen: Sequence[int],
    ratios: Sequence[float] | None,
    sampler: Mapping[str, Any],
    seed: tuple[int, int],
    part: tuple[int, int] = (0, 1),
) -> list[Batch]:
    """Return the batches of an epoch.

    The sizes take turns until all samples have had one. A last batch that would be too small is filled from the front
    of the order. With `ratios` the samples are ordered by them and a batch has images of a similar form: its width is
    its height times their mean ratio, rounded, of at most `max_w` pixels.

    Args:
        chosen: indices of the samples that take part.
        ratios: width / height of each of `chosen` (`ds_width`); None where sizes do not depend on the images.
        sampler: the section `Train.sampler`.
        seed: `Global.seed` and the epoch.
        part: index and count of the processes that share the epoch.
    """
    rng, (rank, ranks) = np.random.default_rng(seed), part
    order = np.argsort(ratios, kind="stable") if ratios is not None else rng.permutation(len(chosen))
    order = np.resize(order, -(-len(order) // ranks) * ranks)  # begins anew at its end
    scales = scales_of(sampler)
    taken = _turns(len(order) // ranks, scales)
    taken = [taken[place] for place in rng.permutation(len(taken))]
    limit, start, batches = float(sampler.get("max_w", MAX_WIDTH)), 0, []
    for scale in taken:
        together = np.take(order, np.arange(start, start + scale.images * ranks), mode="wrap")
        start += scale.images * ranks
        width = scale.width
        if ratios is not None:
            mean = min(float(np.mean([ratios[place] for place in together])), limit / scale.height)
            width = scale.height * max(1, round(mean))
        own = together[rank::ranks]
        batches.append(Batch(tuple(chosen[place] for place in own), (scale.height, width)))
    return [batches[place] for place in rng.permutation(len(batches))]


def _turns(count: int, scales: Sequence[Scale]) -> list[Scale]:
    """Return the sizes of the batches of an epoch of `count` images a process."""
    taken: list[Scale] = []
    done = 0
    while done < count:
        for scale in scales:
            if done < count:  # PaddleOCR completes the round with images that have had their turn
                taken.append(scale)
                done += scale.images
    return taken


def _check(sampler: Mapping[str, Any]) -> None:
    try:
        MultiScaleSampler.model_validate(dict(sampler))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        keys = [".".join(["Train.sampler", *map(str, fault["loc"])]) for fault in faults]
        raise ConfigError([f"{key}: {fault['msg']}" for key, fault in zip(keys, faults)]) from None
