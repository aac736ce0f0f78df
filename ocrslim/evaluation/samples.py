"""What the networks before and after pruning find in sample images, for the report of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ocrslim.config import Config
from ocrslim.data import Preprocessor, image_paths
from ocrslim.errors import DataError
from ocrslim.evaluation.engine_factory import open_engine
from ocrslim.evaluation.image_runs import run_images
from ocrslim.evaluation.predicted_labels import unpruned
from ocrslim.pruning import WEIGHTS
from ocrslim.report import MOST_SAMPLES, SAMPLES, Item, Sample, Samples, count_differences, shrunk
from ocrslim.utils import atomic_file, check_writable, write_json

_MOST_COMPARED = 40  # images that both networks run on; those of a larger folder are taken evenly
_BEST = "best_accuracy"
_FOLDER = "samples"


@dataclass(frozen=True)
class _Seen:
    """What a network finds in an image: height and width of the image in pixels, and the findings."""

    size: tuple[int, int]
    items: list[Item]


def record_samples(config: Config, run: Path, images: Path) -> Samples:
    """Run both networks on images; write `samples.json` and the images that differ most to the folder of the run.

    Args:
        config: of the run; its weights are those before pruning.
        run: folder with the pruned checkpoint.
        images: a folder of images, or one image.

    Raises:
        DataError: there is no readable image.
        WeightsError: the network before pruning, or the checkpoint, is missing.
        ArtifactError: the folder cannot be written.
    """
    paths = image_paths(images, "--images")
    paths = paths[:: math.ceil(len(paths) / _MOST_COMPARED)]
    check_writable(run / _FOLDER)
    pruned = config.changed({WEIGHTS: str(run / _BEST)})
    before, after = _findings(unpruned(config), paths, "before"), _findings(pruned, paths, "after")
    if not before:
        raise DataError(f"{images}: none of {len(paths)} images can be read: the lines above have the reasons")
    samples = [_sample(path, before[path], after[path]) for path in paths if path in before and path in after]
    samples.sort(key=count_differences, reverse=True)
    shown = samples[:MOST_SAMPLES]
    for sample in shown:
        _copy(config, images if images.is_dir() else images.parent, run, sample)
    equal = sum(count_differences(sample) == 0 for sample in samples)
    record = Samples(task=config.task.model_type, images=str(images), compared=len(samples), equal=equal, samples=shown)
    write_json(run / SAMPLES, record.model_dump(by_alias=True))
    return record


def _findings(config: Config, paths: Sequence[Path], when: str) -> Mapping[Path, _Seen]:
    found = {}
    for path, prepared, prediction in run_images(open_engine(config), config, paths, f"samples, {when}"):
        items = [Item.model_validate(item) for item in config.task.items(prediction)]
        height, width = prepared.pixels.shape[:2]
        found[path] = _Seen((height, width), items)
    return found


def _sample(path: Path, before: _Seen, after: _Seen) -> Sample:
    image = f"{_FOLDER}/{path.name}.jpg"
    return Sample(image=image, name=path.name, size=list(before.size), before=before.items, after=after.items)


def _copy(config: Config, folder: Path, run: Path, sample: Sample) -> None:
    """Write the image of a sample, upright as it was run, small, as a JPEG."""
    target = run / sample.image
    pixels = Preprocessor(config)(folder / sample.name).pixels
    with atomic_file(target) as stream:
        stream.write(shrunk(Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))))
