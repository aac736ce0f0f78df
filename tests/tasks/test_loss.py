"""The DB loss against its formulas in NumPy, written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ocrslim.errors import ConfigError
from ocrslim.tasks.detection.loss import DBLoss, balanced_bce_loss, build_loss, dice_loss, masked_l1_loss


def tensors(*arrays: np.ndarray) -> list[paddle.Tensor]:
    return [paddle.to_tensor(np.asarray(array, dtype=np.float32)) for array in arrays]


def sample(seed: int = 0, n: int = 2, size: int = 24, text: float = 0.15):
    """Predicted maps and labels as the loader gives them."""
    rng = np.random.default_rng(seed)
    maps = rng.uniform(0.02, 0.98, (n, 3, size, size))
    image = rng.normal(size=(n, 3, size, size))
    threshold_map = rng.uniform(0.3, 0.7, (n, size, size))
    threshold_mask = rng.random((n, size, size)) < 0.3
    shrink_map = rng.random((n, size, size)) < text
    shrink_mask = rng.random((n, size, size)) < 0.9
    return tensors(maps)[0], tensors(image, threshold_map, threshold_mask, shrink_map, shrink_mask)


def reference(maps, labels, main: str, balanced: bool, ratio: float = 3, alpha: float = 5, beta: float = 10):
    """PaddleOCR's DB loss in plain NumPy, float64."""
    eps = 1e-6
    maps = maps.numpy().astype(np.float64)
    _, threshold_map, threshold_mask, target, mask = (label.numpy().astype(np.float64) for label in labels)

    def dice(pred):
        return 1 - 2 * (pred * target * mask).sum() / ((pred * mask).sum() + (target * mask).sum() + eps)

    pred = maps[:, 0]
    if main == "DiceLoss":
        pixels = np.full_like(pred, dice(pred))
    else:
        pixels = -(target * np.log(pred) + (1 - target) * np.log(1 - pred))
    if balanced:
        positives = int((target * mask).sum())
        negatives = int(min(((1 - target) * mask).sum(), positives * ratio))
        hardest = np.sort(((1 - target) * mask * pixels).ravel())[::-1][:negatives]
        shrink = ((target * mask * pixels).sum() + hardest.sum()) / (positives + negatives + eps)
    elif main == "DiceLoss":
        shrink = dice(pred)
    else:
        shrink = (pixels * mask).sum() / (mask.sum() + eps)
    l1 = (np.abs(maps[:, 1] - threshold_map) * threshold_mask).sum() / (threshold_mask.sum() + eps)
    return alpha * shrink, beta * l1, dice(maps[:, 2])


@pytest.mark.parametrize("main", ["DiceLoss", "BCELoss"])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("text", [0.02, 0.15, 0.6])  # mining cuts at 3 x positives; at 0.6 all negatives count
def test_equals_the_formulas(main: str, balanced: bool, text: float) -> None:
    maps, labels = sample(seed=int(text * 100), text=text)
    found = DBLoss(balance_loss=balanced, main_loss_type=main)({"maps": maps}, labels)
    expected = reference(maps, labels, main, balanced)
    names = ("loss_shrink_maps", "loss_threshold_maps", "loss_binary_maps")
    for name, value in zip(names, expected):
        assert float(found[name]) == pytest.approx(value, rel=2e-5), name
    assert float(found["loss"]) == pytest.approx(sum(expected), rel=2e-5)


def test_options_reach_the_parts() -> None:
    maps, labels = sample(seed=3)
    options = {"name": "DBLoss", "main_loss_type": "BCELoss", "alpha": 2, "beta": 7, "ohem_ratio": 1}
    found = build_loss(options)({"maps": maps}, labels)
    expected = reference(maps, labels, "BCELoss", True, ratio=1, alpha=2, beta=7)
    assert float(found["loss"]) == pytest.approx(sum(expected), rel=2e-5)
    default = build_loss({"name": "DBLoss", "main_loss_type": "BCELoss"})({"maps": maps}, labels)
    assert float(default["loss"]) != pytest.approx(float(found["loss"]), rel=1e-2)


def test_mining_takes_the_hardest_negatives_by_hand() -> None:
    # one positive at 0.5; four negatives, of which the two worst (0.9, 0.8) count; one more is masked out
    pred, target, mask = tensors([[0.5, 0.9, 0.1, 0.8, 0.2, 0.99]], [[1, 0, 0, 0, 0, 0]], [[1, 1, 1, 1, 1, 0]])
    expected = -(np.log(0.5) + np.log(0.1) + np.log(0.2)) / 3
    assert float(balanced_bce_loss(pred, target, mask, negative_ratio=2)) == pytest.approx(expected, rel=1e-5)
    # 1.5 negatives per positive is one negative: the number is cut off, not rounded
    expected = -(np.log(0.5) + np.log(0.1)) / 2
    assert float(balanced_bce_loss(pred, target, mask, negative_ratio=1.5)) == pytest.approx(expected, rel=1e-5)


def test_mined_negatives_alone_get_a_gradient() -> None:
    pred, target, mask = tensors([[0.5, 0.9, 0.1, 0.8, 0.2]], [[1, 0, 0, 0, 0]], [[1, 1, 1, 1, 1]])
    pred.stop_gradient = False
    balanced_bce_loss(pred, target, mask, negative_ratio=2).backward()
    assert (pred.grad.numpy()[0] != 0).tolist() == [True, True, False, True, False]


def test_dice_by_hand() -> None:
    pred, target, mask = tensors([1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0])
    assert float(dice_loss(pred, target, mask)) == pytest.approx(1 - 2 * 1 / 4, rel=1e-5)
    assert float(dice_loss(target, target, mask)) == pytest.approx(0, abs=1e-6)


def test_l1_counts_masked_pixels_only() -> None:
    pred, target, mask = tensors([0.5, 0.2, 0.9], [0.3, 0.2, 0.0], [1, 1, 0])
    assert float(masked_l1_loss(pred, target, mask)) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("main", ["DiceLoss", "BCELoss"])
@pytest.mark.parametrize("case", ["text", "no text at all", "everything masked", "all text", "saturated"])
def test_gradients_are_finite(main: str, case: str) -> None:
    maps, labels = sample(seed=5)
    if case == "no text at all":
        labels[3] = paddle.zeros_like(labels[3])
    elif case == "everything masked":
        labels[2], labels[4] = paddle.zeros_like(labels[2]), paddle.zeros_like(labels[4])
    elif case == "all text":
        labels[3] = paddle.ones_like(labels[3])
    elif case == "saturated":
        maps = (maps > 0.5).astype("float32")
    maps.stop_gradient = False
    found = DBLoss(main_loss_type=main)({"maps": maps}, labels)
    found["loss"].backward()
    assert all(np.isfinite(float(value)) for value in found.values())
    assert np.isfinite(maps.grad.numpy()).all()
    if case in ("no text at all", "everything masked"):
        assert float(found["loss_shrink_maps"]) == 0


def test_training_on_it_learns_the_maps() -> None:
    _, labels = sample(seed=7, n=1, size=16)
    logits = paddle.to_tensor(np.zeros((1, 3, 16, 16), np.float32), stop_gradient=False)
    loss = DBLoss(main_loss_type="BCELoss")
    for _ in range(150):
        loss({"maps": paddle.nn.functional.sigmoid(logits)}, labels)["loss"].backward()
        logits = paddle.to_tensor((logits - 20 * logits.grad).numpy(), stop_gradient=False)
    found = paddle.nn.functional.sigmoid(logits).numpy()[0]
    inside = labels[4].numpy()[0] > 0
    assert ((found[0] > 0.5) == (labels[3].numpy()[0] > 0.5))[inside].mean() > 0.97


def test_wrong_use_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Loss.name: 'FooLoss', expected DBLoss"):
        build_loss({"name": "FooLoss"})
    with pytest.raises(ConfigError, match=r"Loss.main_loss_type: 'Focal', expected DiceLoss or BCELoss"):
        build_loss({"name": "DBLoss", "main_loss_type": "Focal"})
    maps, labels = sample()
    with pytest.raises(ValueError, match="not in training mode"):
        DBLoss()({"maps": maps[:, :1]}, labels)
