"""Networks with PaddleOCR's state-dict keys, built from the `Architecture` section of its configs.

Those that are built in here need no copy of PaddleOCR's code; all others come from its own classes.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from paddle import nn

from ocrslim.config import sized_task
from ocrslim.errors import ConfigError
from ocrslim.graph import read_network
from ocrslim.models.backbones.mobilenet_v3 import MobileNetV3
from ocrslim.models.base import OcrModel
from ocrslim.models.heads.db_head import DBHead
from ocrslim.models.imported.network import ImportedNetwork
from ocrslim.models.necks.db_fpn import DBFPN, RSEFPN
from ocrslim.ppocr import REMEDY, find_source, is_named, use_source, used_source
from ocrslim.tasks import DEFAULT, REGISTERED_PARTS, Task, is_registered, task_of

REGISTERED_PARTS["Backbone"].update(MobileNetV3=MobileNetV3)
REGISTERED_PARTS["Neck"].update(DBFPN=DBFPN, RSEFPN=RSEFPN)
REGISTERED_PARTS["Head"].update(DBHead=DBHead)


def build_model(architecture: Mapping[str, Any]) -> nn.Layer:
    """Build the network that an `Architecture` section describes, in training mode.

    Args:
        architecture: `model_type`, `Backbone`, `Neck` and `Head`, the latter three with a `name` and the
            arguments of the class of that name; or `model_type` and `program`, a file with network and weights.

    Returns:
        An `ImportedNetwork` with the file's weights; else, with fresh ones, an `OcrModel` or a network of PaddleOCR's
        classes. All have the attributes `task` and `training_only`. It is one of PaddleOCR's where a name is not built
        in, or where the configuration names its copy of PaddleOCR.

    Raises:
        WeightsError, GraphError: the file is missing or damaged, or holds what is not run here.
        ConfigError: an unknown name, argument or value; the message has the nearest valid one.
    """
    task = task_of(architecture.get("model_type", DEFAULT)).configured({"Architecture": architecture})
    if "program" in architecture:
        task = sized_task(task, architecture)
        return ImportedNetwork(read_network(architecture["program"], task.probe_shape), task)
    if is_named() or (not is_registered(architecture) and _has_source()):
        from ocrslim.models.paddle_network import build_paddle_network

        return build_paddle_network(architecture, task)
    return _built_in(architecture, task)


def _has_source() -> bool:
    """Look for a copy of PaddleOCR with its networks, and use it."""
    if used_source() is None:
        try:
            use_source(find_source(None))
        except ConfigError:
            return False
    return True


def _built_in(architecture: Mapping[str, Any], task: Task) -> OcrModel:
    if architecture.get("Transform") is not None:
        raise ConfigError(
            f"Architecture.Transform: {architecture['Transform']!r} is not built in: leave it empty, or {REMEDY}"
        )
    channels: tuple[Any, ...] = ()
    parts: dict[str, nn.Layer] = {}
    for part, registry in REGISTERED_PARTS.items():
        if part != "Neck" or architecture.get(part) is not None:
            parts[part.lower()] = layer = _build(architecture, part, registry, *channels)
            channels = (getattr(layer, "out_channels", None),)
    return OcrModel(task, **parts)


def _build(
    architecture: Mapping[str, Any], part: str, registry: Mapping[str, type[nn.Layer]], *channels: Any
) -> nn.Layer:
    """Build one part; `channels` is what the part in front of it gives, if there is one."""
    section = architecture.get(part)
    if not isinstance(section, Mapping) or "name" not in section:
        raise ConfigError(f"Architecture.{part}: {section!r} has no `name`: expected one of {', '.join(registry)}")
    arguments = {key: value for key, value in section.items() if key != "name"}
    name = section["name"]
    if name not in registry:
        raise ConfigError(
            f"Architecture.{part}.name: {name!r} is not built in: {_choices(name, registry)}; or {REMEDY}"
        )
    known = [key for key in inspect.signature(registry[name]).parameters if key != "in_channels"]
    if not channels:
        known.append("in_channels")
    problems = [
        f"Architecture.{part}.{key}: {name} has no such argument: {_choices(key, known)}"
        for key in arguments
        if key not in known
    ]
    if problems:
        raise ConfigError(problems)
    try:
        return registry[name](*channels, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Architecture.{part}: {name} cannot be built from {arguments}: {error}") from error


def _choices(name: Any, known: Iterable[str]) -> str:
    known = list(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{hint}expected one of {', '.join(known)}"
