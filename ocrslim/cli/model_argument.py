"""The configuration of a command that is given a model: from `-c`, from beside the model, or from its task."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ocrslim.cli.exported import SETTINGS, exported_sections, of_file, settings_beside
from ocrslim.config import Config, kind_of, load_config
from ocrslim.errors import ConfigError, OcrSlimError
from ocrslim.formats import is_exported
from ocrslim.tasks import Defaults, task_of, task_types
from ocrslim.utils import scratch_folder, write_text

_WEIGHTS = "Global.pretrained_model"
_RUN = "config.yml"  # beside the weights of a training
# A model that nobody configured: `reconstruction` needs no sensitivity table, and its errors tell which layers near the
# input are dear; runtimes gain little or nothing by numbers of channels that are no multiples of 8.
_PRUNING = {"criterion": "reconstruction", "skip_first": 0, "align": 8}


def model_configuration(arguments: Namespace) -> Config:
    """Read the configuration that `-c`, MODEL, `--task` and `-o` give.

    Raises:
        OcrSlimError: neither a configuration nor a model is named, the model is named twice, or what is named is wrong.
    """
    model, path, overrides = arguments.model, arguments.config, list(arguments.opt)
    if path is None and model is None:
        raise OcrSlimError(
            "the following arguments are required: -c/--config FILE, or MODEL, an inference folder or an ONNX file"
        )
    if arguments.images is not None:
        overrides += [f"{mode}.dataset.data_dir={arguments.images}" for mode in ("Train", "Eval")]
    if model is not None and any(word.startswith((f"{_WEIGHTS}=", "Global.pretrain_weights=")) for word in overrides):
        raise ConfigError(f"{model}: -o {_WEIGHTS} names a model as well: keep one of the two")
    if path is None and _is_checkpoint(model):
        path = _beside(model)
    overrides += [] if model is None else [f"{_WEIGHTS}={model}"]
    if path is not None:
        return load_config(path, overrides)
    return _of_exported(Path(model), arguments.task, overrides)


def _is_checkpoint(model: Path) -> bool:
    return (not is_exported(model) and model.exists()) or Path(f"{model}.pdparams").is_file()


def _beside(checkpoint: Path) -> Path:
    """Return the configuration beside a checkpoint."""
    found = checkpoint.parent / _RUN
    if not found.is_file():
        raise ConfigError(f"{found}: not found, expected the configuration of {checkpoint.name}, or its name after -c")
    return found


def _of_exported(model: Path, task: str | None, overrides: Sequence[str]) -> Config:
    """Read pre- and post-processing from the `inference.yml` beside a model, else take those of its task."""
    path = settings_beside(model)
    if path is not None:
        sections, named = exported_sections(path), path
    elif task is not None:
        sections, named = _of_task(task_of(task).defaults), model
    else:
        raise ConfigError(
            f"{model}: no {SETTINGS} lies beside it to say how it is run: name its task with --task "
            f"({', '.join(task_types())}), or a configuration with -c"
        )
    kind = task or kind_of(sections)
    if kind is not None:
        sections["Architecture"] = {"model_type": kind}
    files = [each for each in (model, path) if each is not None and each.is_file()]
    settings = {
        **{"use_gpu": False, "epoch_num": 0, "save_model_dir": f"./output/{model.stem}"},
        **(task_of(kind).defaults.settings if kind else {}),
        **sections.get("Global", {}),
        **(task_of(kind).settings_of_model(files) if kind else {}),
    }
    tree = {"Prune": _PRUNING, **sections, "Global": settings}
    with scratch_folder() as scratch:
        copy = scratch / "config.yml"
        write_text(copy, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
        try:
            config = load_config(copy, overrides)
        except ConfigError as error:
            raise ConfigError([of_file(line, copy, named) for line in error.problems]) from None
    return dataclasses.replace(config, path=named)


def _of_task(defaults: Defaults) -> dict[str, Any]:
    dataset = {"name": "SimpleDataSet", "data_dir": "./train_data", "transforms": list(defaults.transforms)}
    return {
        "PostProcess": dict(defaults.post_process),
        "Train": {"dataset": dataset},
        "Eval": {"dataset": dataset},
    }
