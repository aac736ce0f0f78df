"""The sizes of a recogniser's last layers, which its dictionary decides: filled in as PaddleOCR's training does."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

_CTC, _SAR, _NRTR = "CTCLabelDecode", "SARLabelDecode", "NRTRLabelDecode"
_BESIDE = {_SAR: 2, _NRTR: 3}  # classes of these heads beyond those of CTC, of which one is the blank


def fill_in(tree: MutableMapping[str, Any], classes: int) -> None:
    """Write the number of classes to `Architecture.Head` and to the losses that need it.

    Args:
        tree: a checked configuration with `Architecture` and `PostProcess`.
        classes: that the dictionary makes for the decoder of `PostProcess`.
    """
    architecture, decoder = tree["Architecture"], str(tree["PostProcess"]["name"])
    losses = _losses(tree)
    models = architecture.get("Models")
    parts = list(models.values()) if isinstance(models, Mapping) else [architecture]
    for part in parts:
        head = part.get("Head") if isinstance(part, Mapping) else None
        if isinstance(head, MutableMapping):
            _fill_head(head, losses, classes, decoder)
    if decoder == _SAR and isinstance(tree.get("Loss"), MutableMapping):
        multi = any(isinstance(part, Mapping) and _is_multi(part.get("Head")) for part in parts)
        tree["Loss"]["ignore_index"] = classes - (3 if multi else 1)


def _fill_head(
    head: MutableMapping[str, Any], losses: Sequence[MutableMapping[str, Any]], classes: int, decoder: str
) -> None:
    if not _is_multi(head):
        head["out_channels"] = classes
        return
    ctc = classes - _BESIDE.get(decoder.replace("Distillation", ""), 0)
    sizes = {_CTC: ctc}
    kinds = [str(name) for entry in head.get("head_list") or [] for name in entry]
    for loss in losses:
        for name in ("SARLoss", "DistillationSARLoss"):
            if name in loss:
                loss[name] = {**(loss[name] or {}), "ignore_index": ctc + 1}
    for kind, name in (("SARHead", _SAR), ("NRTRHead", _NRTR)):
        if kind in kinds:
            sizes[name] = ctc + _BESIDE[name]
    head["out_channels_list"] = sizes


def _is_multi(head: Any) -> bool:
    return isinstance(head, Mapping) and head.get("name") == "MultiHead"


def _losses(tree: Mapping[str, Any]) -> list[MutableMapping[str, Any]]:
    listed = (tree.get("Loss") or {}).get("loss_config_list")
    return [loss for loss in listed if isinstance(loss, MutableMapping)] if isinstance(listed, list) else []
