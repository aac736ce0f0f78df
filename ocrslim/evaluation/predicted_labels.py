"""Labels for images that have none: what the unpruned network finds in them.

Scores against such labels tell how far a pruned network agrees with the unpruned one, which scores 1. A training does
not read them: the unpruned network's outputs say more than the labels that are made of them (`ocrslim.training`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocrslim.config import PROGRAM, Config
from ocrslim.data import names_labels, unlabelled_images
from ocrslim.errors import ArtifactError, DataError
from ocrslim.evaluation.engine_factory import open_engine
from ocrslim.evaluation.image_runs import run_images
from ocrslim.pruning import load_network
from ocrslim.utils import check_writable, hash_value, read_json, write_json, write_text

logger = logging.getLogger(__name__)

FOLDER = "predicted_labels"  # in Global.save_model_dir
_MADE_OF = ".json"
_BY_LABELS = ("taylor",)


def with_predicted_labels(config: Config) -> Config:
    """Return the configuration with a label file for the images to score on, if it names none.

    The unpruned network runs on every image (`unlabelled_images`); what it finds is written to
    `predicted_labels/eval.txt` in `Global.save_model_dir`. Labels of an earlier call for the same network and images
    are used again. Where the criterion takes gradients of the loss by labels, the images to train on get some as well.

    Raises:
        DataError: a folder is missing, or has no image in which anything is found.
        WeightsError, ConfigError: the network cannot be loaded.
        ArtifactError: the labels cannot be written.
    """
    modes = ("Train", "Eval") if config.prune.criterion in _BY_LABELS else ("Eval",)
    unlabelled = [mode for mode in modes if config.get(f"{mode}.dataset") and not names_labels(config, mode)]
    if not unlabelled:
        return config
    folder = check_writable(config.save_model_dir) / FOLDER
    check_writable(folder)
    changes = {}
    for mode in unlabelled:
        file = folder / f"{mode.lower()}.txt"
        _predict(unpruned(config), mode, unlabelled_images(config, mode), file)
        changes[f"{mode}.dataset.label_file_list"] = [str(file)]
    return config.changed(changes)


def unpruned(config: Config) -> Config:
    """Return the configuration of the unpruned network; of a checkpoint of an exported network that is the file."""
    program = config.get(PROGRAM)
    return config if program is None else config.changed({"Global.pretrained_model": program})


def _predict(config: Config, mode: str, paths: list[Path], file: Path) -> None:
    """Write the label file, unless it is there already."""
    made_of = {"labels": _identity(config, paths)}
    if file.is_file() and _recorded(file) == made_of:
        return
    load_network(config)  # what cannot be pruned is told before all images are run
    found = found_labels(config, paths, f"{mode}: labels")
    lines = [f"{path.name}\t{label}\n" for path, label in found if label is not None]
    if not lines:
        raise DataError(
            f"{mode}.dataset.data_dir {paths[0].parent}: the unpruned network finds nothing in {len(paths)} images: "
            f"expected images of its kind, or labels: name them in {mode}.dataset.label_file_list"
        )
    write_text(file, "".join(lines))
    write_json(file.with_suffix(_MADE_OF), made_of)
    logger.info(
        "%s: no labels are named; those of %d images are what the unpruned network finds (%s), and scores tell how far "
        "a pruned one agrees with it",
        *(mode, len(lines), file),
    )


def found_labels(config: Config, paths: Sequence[Path], desc: str) -> Iterator[tuple[Path, str | None]]:
    """Run the network of a configuration on images; yield each with what a label file would say of it.

    That is None where nothing is found. Images that cannot be read are left out, with a warning each.

    Args:
        desc: of the progress bar.
    """
    for path, _, prediction in run_images(open_engine(config), config, paths, desc):
        yield path, config.task.label_of(prediction)


def _identity(config: Config, paths: list[Path]) -> str:
    """Hash what the labels depend on; of images and weights their sizes and times."""
    weights = [str(config.weights), *(_stamp(path) for path in _files(str(config.weights)))]
    how = [config.section("Architecture"), config.get("Eval.dataset.transforms"), config.section("PostProcess")]
    return hash_value([weights, how, [[path.name, _stamp(path)] for path in paths]])


def _files(weights: str) -> list[Path]:
    path = Path(weights)
    return (
        sorted(path.iterdir())
        if path.is_dir()
        else [each for each in (path, Path(f"{path}.pdparams")) if each.is_file()]
    )


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _recorded(file: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = read_json(file.with_suffix(_MADE_OF), "ocrslim")
    except ArtifactError:
        return None
    return found
