"""Settings of a training whose configuration leaves them out, as one that is made of a model's name does."""

from __future__ import annotations

from typing import Any

from ocrslim.config import Config, is_imported
from ocrslim.data import names_labels
from ocrslim.training.span import epochs_of


def with_training_settings(config: Config) -> Config:
    """Return the configuration with what a training needs and anyone may leave out.

    That is the section `Optimizer`, the size of a batch and, where there are labels, the section `Loss`: of a training
    without labels, or of a network that comes from a file. Other configurations are returned as they are, as those of
    PaddleOCR always say.
    """
    if not epochs_of(config) or not config.get("Train.dataset"):
        return config
    labelled = names_labels(config, "Train")
    if labelled and not is_imported(config.tree):
        return config
    defaults = config.task.defaults
    settings: dict[str, Any] = {"Optimizer": dict(defaults.optimizer), "Train.loader": defaults.loader}
    if labelled:
        settings["Loss"] = dict(defaults.loss)
    return config.changed({key: value for key, value in settings.items() if not config.get(key)})


def training_sections(config: Config) -> tuple[str, ...]:
    """Return what a training needs of its configuration, or a refit where there are no epochs, for `Config.require`."""
    if not epochs_of(config):
        return ("Train.dataset",)
    if names_labels(config, "Train"):
        return ("Train", "Loss", "Optimizer")
    return ("Train.dataset", "Train.loader", "Optimizer")
