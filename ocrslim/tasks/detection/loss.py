"""The training loss of DB detectors, with the meaning and the options of PaddleOCR's `DBLoss`.

Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (AAAI 2020), section 3.4:
loss = alpha * shrink + beta * threshold + binary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ocrslim.errors import ConfigError

LOSS_PARTS = ("loss_shrink_maps", "loss_threshold_maps", "loss_binary_maps")
SHRINK_PARTS = ("loss_shrink_dice", "loss_shrink_bce")
_MAIN_LOSSES = ("DiceLoss", "BCELoss")
# PaddleOCR hands `eps` to the Dice and L1 terms only; the balancing keeps this one.
_BALANCE_EPS = 1e-6


def dice_loss(pred: Tensor, target: Tensor, mask: Tensor, eps: float = 1e-6) -> Tensor:
    """1 - 2 |pred * target| / (|pred| + |target|) over the pixels of `mask`; a scalar in 0..1.

    All three have the same shape. Milletari et al., "V-Net" (2016), without squares.
    """
    overlap = (pred * target * mask).sum()
    total = (pred * mask).sum() + (target * mask).sum() + eps
    return 1 - 2 * overlap / total


def masked_l1_loss(pred: Tensor, target: Tensor, mask: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the mean absolute difference over the pixels of `mask`; 0 where the mask is empty."""
    return ((pred - target).abs() * mask).sum() / (mask.sum() + eps)


def balanced_bce_loss(pred: Tensor, target: Tensor, mask: Tensor, negative_ratio: float = 3.0) -> Tensor:
    """Return the binary cross-entropy over all positive pixels and the hardest negative ones; a scalar.

    Of the negatives inside `mask`, only the `negative_ratio` * (number of positives) with the highest
    loss count (online hard example mining), because background is most of every image. Without a
    positive pixel the loss is 0.
    """
    positive, negative, count, hardest = _balance(target, mask, negative_ratio)
    pixel_loss = F.binary_cross_entropy(pred, target, reduction="none")
    total = (positive * pixel_loss).sum()
    if hardest > 0:
        # topk, not sort: the same sum 8 times faster (4 images of 640x640)
        total += paddle.topk((negative * pixel_loss).flatten(), hardest, sorted=False)[0].sum()
    return total / (count + hardest + _BALANCE_EPS)


def balanced_dice_loss(
    pred: Tensor, target: Tensor, mask: Tensor, negative_ratio: float = 3.0, eps: float = _BALANCE_EPS
) -> Tensor:
    """Return the Dice loss as PaddleOCR's balancing leaves it: unchanged, but 0 without a positive pixel.

    The Dice loss is one number for all pixels, so the hardest negatives are as hard as any other and
    mining reduces to a factor n / (n + eps), n being the pixels taken.
    """
    _, _, count, hardest = _balance(target, mask, negative_ratio)
    taken = count + hardest
    return dice_loss(pred, target, mask, eps) * (taken / (taken + _BALANCE_EPS))


def _balance(target: Tensor, mask: Tensor, negative_ratio: float) -> tuple[Tensor, Tensor, int, int]:
    """Return the masks of positive and negative pixels, the number of positives and of negatives to take."""
    positive, negative = target * mask, (1 - target) * mask
    count = int(positive.sum())
    return positive, negative, count, int(min(float(negative.sum()), count * negative_ratio))


class DBLoss(nn.Layer):
    """Loss of a DB detector in training.

    Args:
        balance_loss: mine hard negatives in the shrink map's loss.
        main_loss_type: the shrink map's loss, "DiceLoss" or "BCELoss".
        alpha: weight of the shrink map's loss.
        beta: weight of the threshold map's loss.
        ohem_ratio: negatives taken per positive.
        eps: added to denominators.

    Raises:
        ConfigError: an unknown `main_loss_type`.
    """

    def __init__(
        self,
        balance_loss: bool = True,
        main_loss_type: str = "DiceLoss",
        alpha: float = 5.0,
        beta: float = 10.0,
        ohem_ratio: float = 3.0,
        eps: float = 1e-6,
    ):
        super().__init__()
        if main_loss_type not in _MAIN_LOSSES:
            raise ConfigError(f"Loss.main_loss_type: {main_loss_type!r}, expected {' or '.join(_MAIN_LOSSES)}")
        self.balance_loss = balance_loss
        self.main_loss_type = main_loss_type
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.ohem_ratio = float(ohem_ratio)
        self.eps = float(eps)

    def forward(self, predictions: Mapping[str, Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the loss and its three weighted parts as scalars.

        Args:
            predictions: `{"maps": [N, 3, H, W]}`: shrink, threshold and binary map, each in 0..1.
            labels: image, threshold map, threshold mask, shrink map, shrink mask (the order of
                PaddleOCR's `keep_keys`); all but the image float32 [N, H, W].

        Returns:
            `loss`, the sum, and `loss_shrink_maps`, `loss_threshold_maps`, `loss_binary_maps`.
        """
        maps = predictions["maps"]
        if maps.shape[1] != 3:
            raise ValueError(f"maps of shape {maps.shape}, expected 3 channels: the model is not in training mode")
        threshold_map, threshold_mask, shrink_map, shrink_mask = labels[1:5]
        shrink = self._shrink_loss(maps[:, 0], shrink_map, shrink_mask)
        threshold = masked_l1_loss(maps[:, 1], threshold_map, threshold_mask, self.eps)
        binary = dice_loss(maps[:, 2], shrink_map, shrink_mask, self.eps)
        parts = dict(zip(LOSS_PARTS, (self.alpha * shrink, self.beta * threshold, binary)))
        return {"loss": sum(parts.values()), **parts}

    def _shrink_loss(self, pred: Tensor, target: Tensor, mask: Tensor, kind: str = "") -> Tensor:
        if (kind or self.main_loss_type) == "DiceLoss":
            if self.balance_loss:
                return balanced_dice_loss(pred, target, mask, self.ohem_ratio)
            return dice_loss(pred, target, mask, _BALANCE_EPS)
        if self.balance_loss:
            return balanced_bce_loss(pred, target, mask, self.ohem_ratio)
        # PaddleOCR leaves the unbalanced BCE a map, which nothing can train on; its mean is meant.
        return (F.binary_cross_entropy(pred, target, reduction="none") * mask).sum() / (mask.sum() + _BALANCE_EPS)


class ShrinkLoss(DBLoss):
    """Loss of a detector without a threshold branch, as exported ones are: that of the shrink map alone.

    Without thresholds there is no binary map either. Where that had its Dice loss, beside a cross-entropy of the shrink
    map, the shrink map has both kinds here: Dice sees text however little of it there is, and the cross-entropy
    separates it from the background. The configured kind has the weight `alpha`, the other one 1.
    """

    def forward(self, predictions: Mapping[str, Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the loss and its two weighted parts, `loss_shrink_dice` and `loss_shrink_bce`, as scalars.

        Args:
            predictions: `{"maps": [N, 1 or more, H, W]}`: the shrink map first.
            labels: as for `DBLoss`.
        """
        shrink_map, shrink_mask = labels[3:5]
        parts = {}
        for name, kind in zip(SHRINK_PARTS, _MAIN_LOSSES):
            loss = self._shrink_loss(predictions["maps"][:, 0], shrink_map, shrink_mask, kind)
            parts[name] = self.alpha * loss if kind == self.main_loss_type else loss
        return {"loss": sum(parts.values()), **parts}


def build_loss(options: Mapping[str, Any], kind: type[DBLoss] = DBLoss) -> DBLoss:
    """Build the loss that a `Loss` section describes.

    Args:
        kind: its class.

    Raises:
        ConfigError: another loss than `DBLoss`.
    """
    options = dict(options)
    name = options.pop("name", "DBLoss")
    if name != "DBLoss":
        raise ConfigError(f"Loss.name: {name!r}, expected DBLoss: it is the one loss ocrslim trains detectors with")
    return kind(**options)
