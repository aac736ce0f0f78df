"""The proof of an export: in its own runtime each format gives what its source gives, and no other network does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import Prepared
from ocrslim.errors import ExportError, RuntimeStartError
from ocrslim.evaluation import post_processor
from ocrslim.export.divergence import where_it_starts
from ocrslim.export.reference import Reference
from ocrslim.export.rewriting import Rewriter
from ocrslim.export.runtimes import Runtime
from ocrslim.graph import deployed
from ocrslim.inference import PLAIN, DygraphEngine, Output, difference, output_from, parts_of

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
LIMIT = 1e-3  # for networks that enlarge rounding
_ENLARGED = 10.0  # rounding happens at every layer, a change of the input's last bits at the input alone
_DRAWS = 3  # of rounding errors, to see which items rest on a hair
_SIDE = 320  # pixels, on which a layer is looked for


@dataclass(frozen=True)
class Proof:
    """What the run of one format has shown.

    Attributes:
        differences: kernels that ran -> largest difference of the output to the source's, of outputs beyond -1..1
            relative to their largest value. Empty where nothing could be run.
        tolerance: the largest that was accepted.
        same: items, such as text boxes, that the outputs of export and source are decoded to alike.
        items: the number of items.
        control: difference to a network with other weights.
        unverified: why the format could not be proven; None where it was.
    """

    differences: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    same: int = 0
    items: int = 0
    control: float = 0.0
    unverified: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `export.json` has of it."""
        if self.unverified is not None and not self.differences:
            return {"verified": False, "unverified": self.unverified}
        return {
            "verified": self.unverified is None,
            **({} if self.unverified is None else {"unverified": self.unverified}),
            "max_difference": dict(self.differences),
            "tolerance": self.tolerance,
            "same_items": [self.same, self.items],
            "control_difference": self.control,
        }


@dataclass(frozen=True)
class _Place:
    """An export, for messages: its name, its folder, and the kernels that run it."""

    name: str
    folder: Path
    kernels: str

    def remedy(self) -> str:
        if self.kernels == PLAIN:
            return "check the version of paddlepaddle (requirements.txt) and that nothing else writes to the checkpoint"
        return f"its converter or {self.kernels} computes something else: leave this format out of Export.formats"


class Verifier:
    """Compares exports of one network with it, on a photograph."""

    def __init__(self, model: nn.Layer, config: Config, sample: Prepared):
        """
        Args:
            model: the source, weights loaded; unchanged.
            sample: a photograph.
        """
        self._model, self._config, self._sample, self._image = model, config, sample, sample.image
        self._source = Reference(model, sample.image)
        self._decode = post_processor(config)

    def proof(self, runtimes: Iterator[Runtime], name: str, folder: Path) -> Proof:
        """Run an export and compare what it gives.

        Only the first runtime can fail the proof. With oneDNN, rounding alone comes near the tolerance where features
        are large (PP-OCRv2's reach 1900: 9e-5 on a page), so that difference is only reported.

        Args:
            name: of the export, for messages.
            folder: its files.

        Raises:
            ExportError: the difference exceeds `TOLERANCE`, and ten times what the source moves by when the last bits
                of the image change, of which no more than `LIMIT` counts, and the export is further than the source
                from the source in double precision; or other items are found.
        """
        differences: dict[str, float] = {}
        proof = Proof()
        try:
            for runtime in runtimes:
                found = runtime(self._image)
                largest = difference(found, self._source.output)
                logger.info("%s: %s: largest difference to the source %.2e", name, runtime.kernels, largest)
                if not differences:
                    proof = self._judged(found, largest, _Place(name, folder, runtime.kernels))
                    self._compare_other_sizes(runtime, proof.tolerance, name)
                elif not largest <= TOLERANCE and _rounded(found, self._source.output, self._source.exact) is None:
                    logger.warning(
                        "with oneDNN the export differs by %.2e, more than %g: run it without oneDNN",
                        largest,
                        TOLERANCE,
                    )
                differences.setdefault(runtime.kernels, largest)
        except RuntimeStartError as error:
            return Proof(unverified=str(error))
        return replace(proof, differences=differences)

    @cached_property
    def _written(self) -> nn.Layer:
        """The network that is written in the place of the source."""
        return Rewriter(deployed(self._model), self._config).network("")

    # -- comparing ---------------------------------------------------------------------------------------------------

    def _judged(self, found: Output, largest: float, place: _Place) -> Proof:
        tolerance = TOLERANCE if largest <= TOLERANCE else self._enlarged(found, largest, place)
        same, items = self._require_items(found, largest, place.name)
        control = self._source.control(found, tolerance)
        blind = None
        if not control > tolerance:
            blind = (
                f"a network with other weights gives the same output to {control:.1e} on this image, so that it proves "
                "nothing: name another with -o Global.infer_img=FILE"
            )
        return Proof({}, tolerance, same, items, control, blind)

    def _enlarged(self, found: Output, off: float, place: _Place) -> float:
        """Accept a difference beyond `TOLERANCE` where the source itself is as far off by rounding; else refuse it."""
        enlarged = _ENLARGED * self._source.moves
        allowed = max(TOLERANCE, min(enlarged, LIMIT))
        moves = f"the source itself moves by {self._source.moves:.2e} when its input moves by a rounding error"
        if off <= allowed:
            logger.warning("%s: differs from the source by %.2e, which is rounding: %s", place.name, off, moves)
            return LIMIT
        rounded = _rounded(found, self._source.output, self._source.exact)
        if rounded is not None:
            logger.warning("%s: differs from the source by %.2e, which is rounding: %s", place.name, off, rounded)
            return max(LIMIT, off)
        if off <= enlarged:
            start = ""
            remedy = f"{moves}, as a network does that has been trained for a few steps only: train it for longer"
        elif not difference(DygraphEngine(self._written)(self._image), self._source.output) <= allowed:
            start = ""
            remedy = "its rewriting is at fault: export it with -o Export.rewrite=false"
        else:
            part = _part(self._image, self._config.task.free_shape)
            start = where_it_starts(self._written, place.folder, part)
            remedy = place.remedy()
        raise ExportError(
            f"{place.name}: the exported model differs from the source by {off:.2e}, expected at most {allowed:g}"
            f"{start}: it cannot be used and was removed; {remedy}"
        )

    def _require_items(self, found: Output, largest: float, name: str) -> tuple[int, int]:
        """Return how many items the two outputs have in common, of how many.

        Raises:
            ExportError: others are found, which the source's own output does not lose when it moves as little.
        """
        task, shape = self._config.task, self._sample.shape
        expected = self._decode(self._source.output, shape)
        same, items = task.in_common(self._decode(found, shape), expected)
        if same < items:
            rng, least = np.random.default_rng(0), items
            for _ in range(_DRAWS):
                moved = output_from([_moved(part, largest, rng) for part in parts_of(self._source.output)])
                kept, of = task.in_common(self._decode(moved, shape), expected)
                least = min(least, items - (of - kept))
            if same < least:
                raise ExportError(
                    f"{name}: of {items} found in the source's output on the sample image, the export's has {same} "
                    f"alike, though the outputs differ by no more than {largest:.2e}: it was removed; name another "
                    "image with -o Global.infer_img=FILE"
                )
            logger.warning(
                "%s: %d of %d found as in the source; the others lie on the edge of a threshold", name, same, items
            )
        return same, items

    def _compare_other_sizes(self, runtime: Runtime, tolerance: float, name: str) -> None:
        """Compare a batch of two smaller images too, where the network takes batches and sizes."""
        for image in _smaller(self._image, self._config.task.free_shape):
            found, expected = runtime(image), self._source(image)
            off = difference(found, expected)
            if not off <= max(tolerance, LIMIT) and _rounded(found, expected, self._source.exact_of(image)) is None:
                raise ExportError(
                    f"{name}: on a batch of shape {list(image.shape)} the exported model differs from the source by "
                    f"{off:.2e}, and on one image of {list(self._image.shape)} it does not: it cannot be used and was "
                    "removed; check the version of paddlepaddle (requirements.txt)"
                )


def _rounded(found: Output, expected: Output, exact: Output | None) -> str | None:
    """Say so where an export is at least as near as its source to what double precision gives; else None."""
    if exact is None:
        return None
    export, source = difference(found, exact), difference(expected, exact)
    if not export <= min(source, LIMIT):
        return None
    return f"from what double precision gives, the source itself is off by {source:.2e}, the export by {export:.2e}"


def _moved(part: np.ndarray, by: float, rng: np.random.Generator) -> np.ndarray:
    scale = by * max(1.0, float(np.abs(part).max()))
    return (part + scale * rng.choice([-1.0, 1.0], part.shape)).astype(part.dtype)


def _part(image: np.ndarray, free: Sequence[int]) -> np.ndarray:
    """Return a corner of the image, where it may have any size: all values of a network on a page are gigabytes."""
    height, width = (size if fixed > 0 else min(size, _SIDE) for size, fixed in zip(image.shape[2:], free[2:]))
    return np.ascontiguousarray(image[:, :, :height, :width])


def _smaller(image: np.ndarray, free: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield a batch of two parts of the image, of half its free sides."""
    sides = [size if fixed > 0 else size // 64 * 32 for size, fixed in zip(image.shape[2:], free[2:])]
    if free[0] > 0 or not all(sides) or tuple(sides) == image.shape[2:]:
        return
    part = image[:, :, : sides[0], : sides[1]]
    yield np.ascontiguousarray(np.concatenate([part, part[..., ::-1]]))
