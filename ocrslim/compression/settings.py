"""The configurations of a compression, made of the one that its model is run by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrslim.compression.images import Lists, Split
from ocrslim.compression.request import Request
from ocrslim.config import MIN_RECOVER_IMAGES, Config, load_model_config, setting
from ocrslim.pruning import RECONSTRUCTION

_DICTIONARY = "Global.character_dict_path"


def run_config(config: Config, request: Request, parts: Split, lists: Lists) -> Config:
    """Return the configuration that chooses, prunes and refits without labels, scored by agreement.

    Args:
        config: of the unpruned model.
        parts, lists: the images.
    """
    task, given = config.task, config.given
    changes: dict[str, Any] = {
        "Global.save_model_dir": str(request.run),
        "Global.epoch_num": 0,
        "Global.checkpoints": None,
        "Metric": {**config.section("Metric"), **task.agreement_metric},
        "Train.dataset.label_file_list": None,
        "Train.dataset.image_list": str(lists.calibration),
        "Eval.dataset.label_file_list": [str(lists.choice)],
        "Prune.target": None if request.target is None else dict(request.target),
        "Prune.rounds": 1,
    }
    defaults: dict[str, Any] = {
        "Prune.criterion": RECONSTRUCTION,
        "Prune.recover_images": _refit_images(len(parts.calibration), task.refit_images),
        "Export.rewrite": True,
    }
    changes |= {key: value for key, value in defaults.items() if key not in given}
    for mode in ("Train", "Eval"):
        if config.get(f"{mode}.dataset.ratio_list") is not None:
            changes[f"{mode}.dataset.ratio_list"] = 1.0
    return config.changed(changes)


def held_out(config: Config, lists: Lists) -> Config:
    """Return the configuration that scores on the images that are held out."""
    return config.changed({"Eval.dataset.label_file_list": [str(lists.held_out)]})


def with_target(config: Config, target: Mapping[str, float]) -> Config:
    """Return the configuration for a target."""
    return config.changed({"Prune.target": dict(target)})


def of_cut_model(request: Request, model: Path) -> Config:
    """Return the configuration of the model whose characters were cut; it brings its dictionary along."""
    options = [option for option in request.options if not option.startswith(_DICTIONARY)]
    dictionary = next(model.parent.glob("*dict.txt"))
    return load_model_config(model, None, [*options, setting(_DICTIONARY, str(dictionary))], request.task)


def _refit_images(there: int, most: int) -> int:
    """Return the images to refit on: as many as there are, but a detector's few are cut several times."""
    return max(MIN_RECOVER_IMAGES, min(most, max(there, 40)))
