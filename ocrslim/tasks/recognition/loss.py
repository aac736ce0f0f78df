"""The training losses of recognisers: CTC here, the others by PaddleOCR's own code."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import Tensor, nn

from ocrslim.errors import ConfigError
from ocrslim.tasks.values import Losses

logger = logging.getLogger(__name__)

_ALONE = {"output"}  # predictions of a network with one output


class CTCLoss(nn.Layer):
    """Connectionist temporal classification, with the meaning of PaddleOCR's `CTCLoss`.

    Graves et al., "Connectionist Temporal Classification" (ICML 2006); class 0 is the blank.

    Args:
        use_focal_loss: weigh each text by (1 - exp(-loss)) ** 2, so that those that are read already count less
            (Lin et al., "Focal Loss for Dense Object Detection", arXiv 1708.02002).
    """

    def __init__(self, use_focal_loss: bool = False):
        super().__init__()
        self._loss = nn.CTCLoss(blank=0, reduction="none")
        self._focal = use_focal_loss

    def forward(self, logits: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return the mean over the texts, a scalar.

        Args:
            logits: float32 [N, T, classes].
            labels: classes of the characters, integers [N, longest].
            lengths: of the texts, integers [N].
        """
        found = self.of_each(logits, labels, lengths)
        return (found * (1 - paddle.exp(-found)).square() if self._focal else found).mean()

    def of_each(self, logits: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return the loss of each text, without the weight; arguments as for `forward`."""
        steps = paddle.full([logits.shape[0]], logits.shape[1], dtype="int64")
        return self._loss(logits.transpose([1, 0, 2]), labels.astype("int32"), steps, lengths.astype("int64"))


def build_loss(section: Mapping[str, Any]) -> Losses:
    """Build the loss of a section `Loss`.

    A batch has, in the order of PaddleOCR's `keep_keys`, images, labels and for CTC the texts' lengths. What other
    losses take besides, PaddleOCR's own code knows.

    Raises:
        ConfigError: PaddleOCR's code has no such loss, or there is none of that code.
    """
    if section.get("name") == "CTCLoss":
        ctc = CTCLoss(bool(section.get("use_focal_loss", False)))
        return lambda predictions, batch: {"loss": ctc(logits_of(predictions), batch[1], batch[2])}
    from ocrslim.ppocr import build_loss as build

    loss = build(section)

    def run(predictions: Mapping[str, Any], batch: Sequence[Tensor]) -> dict[str, Tensor]:
        given = predictions["output"] if set(predictions) == _ALONE else predictions
        return dict(loss(given, list(batch)))

    return run


def build_exported_loss(section: Mapping[str, Any]) -> Losses:
    """Build the loss of a section `Loss` for an exported network, whose one output is that for CTC.

    Of `MultiLoss` it is the part for CTC, with its weight; a batch has the lengths behind the second head's labels.

    Raises:
        ConfigError: another loss.
    """
    name = section.get("name")
    if name == "CTCLoss":
        return build_loss(section)
    listed = [part for part in section.get("loss_config_list") or [] if "CTCLoss" in part]
    if name != "MultiLoss" or not listed:
        raise ConfigError(
            f"Loss.name: found {name}, expected CTCLoss, or MultiLoss with it: an exported network has one output; "
            "set -o 'Loss={name: CTCLoss}', or name no labels and let it learn from the unpruned network"
        )
    options = {**section, **(listed[0]["CTCLoss"] or {})}
    ctc, weight = CTCLoss(bool(options.get("use_focal_loss", False))), float(section.get("weight_1", 1.0))
    logger.info("Loss: the exported network has no second head: of %s the part for CTC is trained", name)
    return lambda predictions, batch: {"loss": weight * ctc(logits_of(predictions), batch[1], batch[3])}


def logits_of(predictions: Mapping[str, Any]) -> Tensor:
    """Return what a network in training gives CTC, [N, T, classes]: its only output, or the one for CTC of several."""
    found = predictions["ctc"] if "ctc" in predictions else next(iter(predictions.values()))
    return found[-1] if isinstance(found, (list, tuple)) else found
