"""PaddleOCR's configurations in this project's terms: the student of a distillation, and the average of weights.

Both happen before anything is checked, so that overrides and messages name the keys of the result.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

STUDENT = "Student"
_FROM_TEACHER = {"pretrained", "freeze_params", "return_all_feats"}  # keys of a network of a distillation
_OF_DISTILLATION = {"act", "dis_head", "key", "maps_name", "model_name_list", "multi_head", "name", "use_log", "weight"}
_PREFIX = "Distillation"
_DILATED = "DistillationDilaDBLoss"  # a teacher's maps, widened: nothing that a label says
_EMA_KEYS = ("use_ema", "ema_decay", "ema_decay_type")
_EMA_DECAY = 0.9998  # where PaddleOCR's files leave it out
_FORMULAS = ("LaTeXOCRMetric", "CANMetric")  # metrics of what PaddleOCR calls recognisers as well


def other_purpose(tree: dict[str, Any]) -> str | None:
    """Describe what a file is for that has the form of a recogniser's and is none; None for others."""
    metric = tree.get("Metric")
    name = metric.get("name") if isinstance(metric, dict) else None
    if name not in _FORMULAS:
        return None
    return f"Metric.name: {name} is for formulas: what is read here is detectors, recognisers of lines, and classifiers"


def translate(tree: dict[str, Any]) -> list[str]:
    """Change a file's tree, which may have any form, in place.

    Returns:
        what was changed, a line each.
    """
    return [*_take_student(tree), *_take_average(tree)]


def _take_student(tree: dict[str, Any]) -> Iterator[str]:
    """Turn a distillation into the configuration of its student; without one it is left to the checks."""
    architecture = tree.get("Architecture")
    networks = architecture.get("Models") if isinstance(architecture, dict) else None
    student = networks.get(STUDENT) if isinstance(networks, dict) else None
    if not (isinstance(architecture, dict) and isinstance(networks, dict) and isinstance(student, dict)):
        return
    kept = {key: copy.deepcopy(value) for key, value in student.items() if key not in _FROM_TEACHER}
    if "model_type" in architecture:
        kept = {"model_type": architecture["model_type"], **kept}
    tree["Architecture"] = kept
    for section, change in (("Loss", _student_loss), ("PostProcess", _student_decoder), ("Metric", _student_metric)):
        if isinstance(tree.get(section), dict):
            tree[section] = change(tree[section])
    yield (
        f"a distillation of {', '.join(map(str, networks))}: its {STUDENT} is taken, with Architecture, Loss, "
        "PostProcess and Metric of its own"
    )


def _student_loss(loss: dict[str, Any]) -> dict[str, Any]:
    """Return what labels say against the student: one loss, or several for the heads of a MultiHead."""
    found = [(name.removeprefix(_PREFIX), arguments) for name, arguments in _label_losses(loss)]
    parts = [
        {name: {key: value for key, value in arguments.items() if key not in _OF_DISTILLATION} or None}
        for name, arguments in found
    ]
    if len(parts) > 1 or (found and found[0][1].get("multi_head")):
        weights = {f"weight_{place}": arguments.get("weight", 1.0) for place, (_, arguments) in enumerate(found, 1)}
        return {"name": "MultiLoss", "loss_config_list": parts, **weights}
    for name, arguments in parts[0].items() if parts else ():
        return {"name": name, **(arguments or {})}
    return loss


def _label_losses(loss: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the losses of the student by labels; those by a teacher's widened maps where there are no others."""
    entries = loss.get("loss_config_list")
    listed = [
        (str(name), dict(arguments or {}))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        for name, arguments in entry.items()
        if str(name).startswith(_PREFIX) and (arguments is None or isinstance(arguments, dict))
    ]
    of_labels = [(name, arguments) for name, arguments in listed if STUDENT in (arguments.get("model_name_list") or ())]
    dilated = [("DBLoss", _without_pairs(arguments)) for name, arguments in listed if name == _DILATED]
    return of_labels or dilated[:1]


def _without_pairs(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key != "model_name_pairs"}


def _student_decoder(section: dict[str, Any]) -> dict[str, Any]:
    name = str(section.get("name"))
    kept = {key: value for key, value in section.items() if key not in ("name", "model_name", "key", "multi_head")}
    return {"name": name.removeprefix(_PREFIX), **kept} if name.startswith(_PREFIX) else section


def _student_metric(section: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in section.items() if key not in ("name", "base_metric_name", "key")}
    return {"name": section["base_metric_name"], **kept} if "base_metric_name" in section else section


def _take_average(tree: dict[str, Any]) -> Iterator[str]:
    """Turn PP-OCRv6's average of weights into `Optimizer.ema`, which is the same for its type "threshold"."""
    settings, optimizer = tree.get("Global"), tree.get("Optimizer")
    if not isinstance(settings, dict) or not isinstance(optimizer, dict) or "ema" in optimizer:
        return
    used, decay, kind = (settings.get(key) for key in _EMA_KEYS)
    if used is False or (used is True and kind in (None, "threshold")):
        for key in _EMA_KEYS:
            settings.pop(key, None)
        if used:
            optimizer["ema"] = {"decay": _EMA_DECAY if decay is None else decay}
            yield "Global.use_ema is Optimizer.ema here"
