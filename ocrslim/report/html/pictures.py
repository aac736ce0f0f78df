"""Sample images as they go into the page: small, inlined, with what both networks find."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ocrslim.errors import ArtifactError
from ocrslim.report.html.differences import Piece, Region, compared_regions, compared_texts, text_of
from ocrslim.report.html.records import Sample

MOST_SAMPLES = 6
_LONGEST = 800  # pixels of a side
_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """An image with the findings before and after.

    Attributes:
        name: of the image's file.
        source: the image as a data URI.
        size: height and width that the points refer to.
        regions: before and after; empty lists unless the task finds regions.
        texts: before and after, in pieces; empty lists unless the task reads.
        lost, new: number of regions that only the one before, or only the one after finds.
    """

    name: str
    source: str
    size: Sequence[int]
    regions: tuple[list[Region], list[Region]]
    texts: tuple[list[Piece], list[Piece]]
    scores: tuple[float | None, float | None] = field(default=(None, None))

    @property
    def lost(self) -> int:
        return sum(not region.found_by_both for region in self.regions[0])

    @property
    def new(self) -> int:
        return sum(not region.found_by_both for region in self.regions[1])

    @property
    def same(self) -> bool:
        """Whether both networks find the same."""
        return not self.lost and not self.new and all(piece.in_both for side in self.texts for piece in side)


def pictures_of(samples: Sequence[Sample], folder: Path) -> list[Picture]:
    """Read and shrink the images of the first samples.

    Args:
        folder: of the file that names the images.

    Raises:
        ArtifactError: an image is missing, damaged, or lies outside the folder.
    """
    return [_picture(sample, folder) for sample in samples[:MOST_SAMPLES]]


def shrunk(image: Image.Image) -> bytes:
    """Encode an image as JPEG, its longer side `_LONGEST` pixels at most."""
    small = image.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return stream.getvalue()


def _picture(sample: Sample, folder: Path) -> Picture:
    data = base64.b64encode(_content(folder, sample.image)).decode("ascii")
    finds_regions = any(item.points is not None for item in [*sample.before, *sample.after])
    sides = (sample.before, sample.after)
    return Picture(
        name=sample.name or Path(sample.image).name,
        source=f"data:image/jpeg;base64,{data}",
        size=sample.size,
        regions=compared_regions(*sides) if finds_regions else ([], []),
        texts=([], []) if finds_regions else compared_texts(*(text_of(side) for side in sides)),
        scores=(None, None) if finds_regions else (_score(sample.before), _score(sample.after)),
    )


def _score(items: Sequence[object]) -> float | None:
    return getattr(items[0], "score", None) if items else None


def _content(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{folder}: the sample image {name!r} lies outside this folder; expected a path inside it")
    try:
        with Image.open(path) as image:
            return shrunk(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ArtifactError(
            f"{path}: a sample image that cannot be read ({error}): write the samples again with "
            "`ocrslim report RUN --images DIR`, or run `ocrslim compress` again"
        ) from None
