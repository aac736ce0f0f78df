"""The configuration of a model that is named by itself: from a file, from beside the model, or from its task."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ocrslim.config.client_settings import SETTINGS, client_sections, in_settings, settings_beside
from ocrslim.config.config import Config, load_config
from ocrslim.config.imported import PROGRAM, kind_of
from ocrslim.errors import ConfigError
from ocrslim.formats import ONNX_SUFFIX, exported_files, is_exported, named_network, resolve_checkpoint
from ocrslim.tasks import Defaults, task_of, task_types
from ocrslim.utils import scratch_folder, write_text

_WEIGHTS = ("Global.pretrained_model", "Global.pretrain_weights")
_RUN = "config.yml"  # beside the weights of a training
# A model that nobody configured; runtimes gain little or nothing by numbers of channels that are no multiples of 8.
_PRUNING = {"skip_first": 0, "align": 8}


def load_model_config(
    model: str | Path,
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    task: str | None = None,
    trained: str | None = None,
) -> Config:
    """Read the configuration of a model: the one at `path`, else what lies beside the model, else its task's defaults.

    Args:
        model: a checkpoint, an inference folder, or an ONNX file; it becomes `Global.pretrained_model`.
        overrides: as for `load_config`.
        task: an `Architecture.model_type`, for a model that nothing says it of.
        trained: a checkpoint of an exported model, pruned or trained, which is `Global.pretrained_model` then.

    Raises:
        WeightsError: there is no such model.
        ConfigError: there is no such task; nothing says how the model is run, or what says it is wrong; an override
            names a model as well.
    """
    twice = next((text for text in overrides if text.partition("=")[0].strip() in _WEIGHTS), None)
    if twice is not None:
        raise ConfigError(f"-o {twice}: {model} is named as well, and both are the model to run: keep one")
    if task is not None:
        task_of(task)  # which refuses others
    source = named_network(model)
    overrides = [*overrides, setting(_WEIGHTS[0], trained or str(source))]
    if trained is not None and is_exported(source):
        overrides.append(setting(PROGRAM, str(source)))
    if path is None and not is_exported(source):
        path = _beside(resolve_checkpoint(source))
    if path is None:
        return _of_exported(source, task, overrides)
    return load_config(path, [*overrides, *([] if task is None else [f"Architecture.model_type={task}"])])


def setting(key: str, value: str) -> str:
    """Return an override that gives `key` the text `value`, whatever YAML would make of it."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def _beside(checkpoint: Path) -> Path:
    """Return the configuration beside a checkpoint."""
    found = checkpoint.parent / _RUN
    if not found.is_file():
        raise ConfigError(f"{found}: not found, expected the configuration of {checkpoint.name}, or its name after -c")
    return found


def _of_exported(model: Path, task: str | None, overrides: Sequence[str]) -> Config:
    exported_files(model)  # what is missing is told before how it would be run
    path = settings_beside(model)
    if path is not None:
        sections, named = client_sections(path), path
    elif task is not None:
        sections, named = _of_task(task_of(task).defaults), model
    else:
        raise ConfigError(
            f"{model}: no {SETTINGS} lies beside it to say how it is run: name its task with --task "
            f"({', '.join(task_types())}), or a configuration with -c"
        )
    kind = kind_of(sections) or task
    if task not in (None, kind):
        raise ConfigError(
            f"{named}: PostProcess.name: found {sections['PostProcess']['name']}, of a model of the kind {kind}, "
            f"expected one of the kind {task}: name such a model, or leave --task {task} out"
        )
    files = [each for each in (model, path) if each is not None and each.is_file()]
    settings = {
        **{"use_gpu": False, "epoch_num": 0, "save_model_dir": f"./output/{model.stem}"},
        **(task_of(kind).defaults.settings if kind else {}),
        **sections.get("Global", {}),
        **(task_of(kind).settings_of_model(files) if kind else {}),
    }
    if kind is not None:
        sections["Architecture"] = {"model_type": kind}
        sections["Optimizer"] = task_of(kind).defaults.optimizer  # here, so that -o changes parts of it
        sections["Train"]["loader"] = task_of(kind).defaults.loader
    where = {"runtime": "onnxruntime"} if model.suffix == ONNX_SUFFIX else {}
    return _checked({"Prune": _PRUNING, "Export": where, **sections, "Global": settings}, named, overrides)


def _of_task(defaults: Defaults) -> dict[str, Any]:
    transforms = {"Train": defaults.training, "Eval": defaults.transforms}
    data = {
        mode: {"dataset": {"name": "SimpleDataSet", "data_dir": "./train_data", "transforms": list(listed)}}
        for mode, listed in transforms.items()
    }
    return {"Global": dict(defaults.settings), "PostProcess": dict(defaults.post_process), **data}


def _checked(tree: dict[str, Any], named: Path, overrides: Sequence[str]) -> Config:
    """Check a configuration like any other; faults are those of the file `named`."""
    with scratch_folder() as scratch:
        copy = scratch / _RUN
        write_text(copy, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
        try:
            config = load_config(copy, overrides)
            config.require_transforms("Eval")
        except ConfigError as error:
            raise ConfigError([*dict.fromkeys(in_settings(line, copy, named) for line in error.problems)]) from None
    return dataclasses.replace(config, path=named)
