"""Learning from the unpruned network: what is compared, and that the teacher stays what and where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from detection import DETECTION, DISTILLED
from paddle import nn
from training import Stop, assert_same, images, make_config, no_images, run, stop_after, weights

from ocrslim.errors import TrainingError
from ocrslim.models.factory import build_model
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.pruning.surgery.cutting import apply_plan
from ocrslim.tasks import Distilled
from ocrslim.tasks.detection.distillation import map_loss
from ocrslim.tasks.detection.loss import dice_loss
from ocrslim.training.distillation import Distillation, feature_loss, kept_features

__all__ = ["images", "no_images"]  # fixtures

BOTH = {"maps": 1.0, "features": 1.0}


class Head(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.Conv2D(channels, 3, 3, padding=1)

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        maps = nn.functional.sigmoid(self.maps(x))
        return {"maps": maps if self.training else maps[:, :1]}


class Detector(nn.Layer):
    """A detector of three layers."""

    training_only = ()

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2D(3, 6, 3, padding=1), nn.BatchNorm2D(6), nn.ReLU())
        self.neck = nn.Conv2D(6, channels, 1)
        self.head = Head(channels)

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        return self.head(self.neck(self.backbone(x)))


def detector(seed: int) -> Detector:
    paddle.seed(seed)
    return Detector()


def arrays(model: nn.Layer) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


def predictions(result: dict[str, paddle.Tensor]) -> dict[str, paddle.Tensor]:
    return dict(DETECTION.predictions(result))


def soft_map(seed: int = 0) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(seed).random((2, 8, 8), dtype=np.float32) * 0.98 + 0.01)


def test_equal_maps_lose_nothing_and_pull_nowhere() -> None:
    teacher = soft_map()
    student = soft_map()
    student.stop_gradient = False
    loss = map_loss(student, teacher)
    loss.backward()
    assert float(loss) == pytest.approx(0, abs=1e-6)
    assert float(student.grad.abs().max()) < 1e-5
    other = soft_map()
    other.stop_gradient = False
    dice_loss(other, teacher, paddle.ones_like(teacher)).backward()  # control: DB's own pulls soft labels apart
    assert float(other.grad.abs().max()) > 1e-4


def test_a_missed_word_counts_however_small() -> None:
    page = np.full((1, 100, 100), 0.001, np.float32)
    word = page.copy()
    word[:, :2, :5] = 0.95
    assert float(map_loss(paddle.to_tensor(page), paddle.to_tensor(word))) > 0.9
    assert float(map_loss(paddle.to_tensor(word), paddle.to_tensor(word))) == pytest.approx(0, abs=1e-6)


def test_feature_loss_by_hand_and_independent_of_scale() -> None:
    teacher = paddle.to_tensor(np.array([[[[3.0]], [[4.0]]], [[[1.0]], [[0.0]]]], np.float32))
    student = paddle.to_tensor(np.array([[[[3.0]], [[3.0]]], [[[1.0]], [[1.0]]]], np.float32))
    assert float(feature_loss(student, teacher)) == pytest.approx((1 / 25 + 1 / 1) / 2, rel=1e-5)
    assert float(feature_loss(1000 * student, 1000 * teacher)) == pytest.approx((1 / 25 + 1 / 1) / 2, rel=1e-5)


@pytest.fixture
def real(images: Path, tmp_path: Path) -> tuple[nn.Layer, nn.Layer, Plan]:
    """A detector, the same without two channels of the neck's finest map, and the plan."""
    architecture = make_config(images, tmp_path / "out").section("Architecture")
    keep = (*range(13), 14)  # of 16, the finest map's four come last
    plan = Plan(
        architecture,
        (
            Cut("neck.p2_conv.weight", 0, 4, (0, 2)),
            Cut("head.binarize.conv1.weight", 1, 16, keep),
            Cut("head.thresh.conv1.weight", 1, 16, keep),
        ),
    )
    networks = []
    for _ in range(2):
        paddle.seed(1)
        networks.append(build_model(architecture))
    teacher, student = networks
    apply_plan(student, plan)
    return teacher, student, plan


def forward(student: nn.Layer, image: paddle.Tensor) -> dict[str, paddle.Tensor]:
    """Batch norms as the teacher has them; the neck, which has none, in training mode so that it is watched."""
    student.eval()
    student.neck.train()
    return predictions(student(image))


def test_a_pruned_neck_is_compared_channel_by_channel(real: tuple[nn.Layer, nn.Layer, Plan]) -> None:
    teacher, student, plan = real
    image = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32))
    found = kept_features(plan, DISTILLED)
    assert found is not None and found.tolist() == [*range(13), 14]
    with Distillation(teacher, student, plan, {"features": 1.0}, DISTILLED) as distillation:
        losses = distillation.losses(image, forward(student, image))
    assert list(losses) == ["loss_distill_features"]
    assert float(losses["loss_distill_features"]) < 1e-9
    shifted = Plan(plan.architecture, (Cut("head.binarize.conv1.weight", 1, 16, (*range(12), 13, 15)),))
    with Distillation(
        teacher, student, shifted, {"features": 1.0}, DISTILLED
    ) as distillation:  # control: other channels
        assert float(distillation.losses(image, forward(student, image))["loss_distill_features"]) > 1e-3
    with (
        Distillation(teacher, student, None, {"features": 1.0}, DISTILLED) as distillation,
        pytest.raises(TrainingError, match="neck gives .*14.* the teacher's that the plan leaves .*16"),
    ):
        distillation.losses(image, forward(student, image))


@pytest.mark.parametrize(
    ("fade", "share", "left"), [(0.5, 0.0, 1.0), (0.5, 0.25, 0.5), (0.5, 0.5, 0.0), (0.5, 0.9, 0.0), (1.0, 0.75, 0.25)]
)
def test_the_teacher_fades_out(fade: float, share: float, left: float) -> None:
    teacher, student = detector(1), detector(2)
    image = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))
    with Distillation(teacher, student, None, BOTH, DISTILLED, fade=fade) as distillation:
        once = distillation.losses(image, predictions(student(image)))
        now = distillation.losses(image, predictions(student(image)), share)
    assert {name: float(loss) for name, loss in now.items()} == (
        {name: pytest.approx(left * float(loss)) for name, loss in once.items()} if left else {}
    )


def test_a_teacher_that_does_not_fade_stays_and_one_that_has_faded_is_not_run() -> None:
    teacher, student = detector(1), detector(2)
    image = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))
    calls: list[int] = []
    teacher.neck.register_forward_post_hook(lambda *_: calls.append(1))
    for fade, share in ((0.0, 0.99), (0.5, 0.99)):
        with Distillation(teacher, student, None, BOTH, DISTILLED, fade=fade) as distillation:
            distillation.losses(image, predictions(student(image)), share)
    assert len(calls) == 1


@pytest.mark.usefixtures("no_images")
def test_in_a_training_the_teacher_leads_the_first_half_alone(images: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []

    class Watched(Distillation):
        def losses(self, *given: Any) -> dict[str, paddle.Tensor]:
            found = super().losses(*given)
            seen.append((len(seen), bool(found)))
            return found

    student = detector(2)
    distillation = Watched(detector(1), student, None, BOTH, DISTILLED, fade=0.5)
    run(make_config(images, tmp_path / "out"), student, distillation=distillation)
    assert len(seen) > 2 and [led for _, led in seen] == [2 * step < len(seen) for step, _ in seen]


def test_weights_scale_and_zero_leaves_out() -> None:
    teacher, student = detector(1), detector(2)
    image = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))

    def losses(given: dict[str, float], distilled: Distilled = DISTILLED) -> dict[str, float]:
        with Distillation(teacher, student, None, given, distilled) as distillation:
            return {
                name: float(value) for name, value in distillation.losses(image, predictions(student(image))).items()
            }

    once = losses(BOTH)
    assert losses({"maps": 0, "features": 3.0}) == {
        "loss_distill_features": pytest.approx(3 * once["loss_distill_features"])
    }
    assert losses({"maps": 1.0, "features": 0}, DETECTION.distilled({"alpha": 10.0})) == {
        "loss_distill_maps": pytest.approx(2 * once["loss_distill_maps"])
    }


def test_a_teacher_of_another_architecture_is_refused() -> None:
    class Other(Detector):
        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Linear(1, 1)

    with pytest.raises(TrainingError, match=r"only the teacher has more\.bias: expected the same architecture"):
        Distillation(Other(), Detector(), None, BOTH, DISTILLED)
    with Distillation(Detector(4), student := Detector(5), None, BOTH, DISTILLED) as distillation:
        image = paddle.ones([1, 3, 8, 8])
        with pytest.raises(TrainingError, match=r"distillation: neck gives"):
            distillation.losses(image, predictions(student(image)))


@pytest.mark.usefixtures("no_images")
def test_the_teacher_stays_as_it_is_and_out_of_all_files(images: Path, tmp_path: Path) -> None:
    teacher, student, plain = detector(1), detector(2), detector(2)
    before = arrays(teacher)
    with_teacher, without = tmp_path / "with" / "out", tmp_path / "without" / "out"
    run(make_config(images, with_teacher), student, distillation=Distillation(teacher, student, None, BOTH, DISTILLED))
    run(make_config(images, without), plain)
    assert_same(arrays(teacher), before, 0)
    assert not teacher.training and all(parameter.grad is None for parameter in teacher.parameters())
    for name in ("latest", "best_accuracy"):
        assert weights(with_teacher, name).keys() == weights(without, name).keys() == before.keys()
    assert not student.neck._forward_post_hooks  # nobody watches any more
    with pytest.raises(AssertionError):  # and it has made a difference
        assert_same(weights(with_teacher), weights(without))


@pytest.mark.usefixtures("no_images")
def test_the_student_comes_to_resemble_its_teacher(images: Path, tmp_path: Path) -> None:
    teacher = detector(1)
    image = paddle.to_tensor(np.random.default_rng(5).normal(size=(4, 3, 8, 8)).astype(np.float32))
    distances = {}
    for strength in (0.0, 20.0):
        config = make_config(images, tmp_path / str(strength) / "out", "Global.epoch_num=10")
        student = detector(2)
        run(
            config,
            student,
            distillation=Distillation(teacher, student, None, {"maps": strength, "features": strength}, DISTILLED),
        )
        last = Detector()
        last.set_state_dict(weights(config.save_model_dir))
        last.eval()
        teacher.eval()
        distances[strength] = float(map_loss(last(image)["maps"][:, 0], teacher(image)["maps"][:, 0]))
    assert distances[20.0] < 0.7 * distances[0.0]


@pytest.mark.usefixtures("no_images")
def test_stopped_and_resumed_ends_with_the_same_weights(images: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"

    def train(out: Path, **more) -> None:
        student = detector(2)
        run(
            make_config(images, out),
            student,
            distillation=Distillation(detector(1), student, None, BOTH, DISTILLED),
            **more,
        )

    train(whole)
    with pytest.raises(Stop):
        train(parts, evaluate=stop_after(2))
    train(parts)
    assert_same(weights(parts), weights(whole), 0)


def test_the_key_and_its_defaults(images: Path, tmp_path: Path) -> None:
    def read(*options: str) -> dict[str, float]:
        return dict(make_config(images, tmp_path / "out", *options).prune.distill)

    assert read() == {"maps": 1.0, "features": 1.0, "fade": 0.5}
    assert read("Prune.distill.features=0", "Prune.distill.fade=1") == {"maps": 1.0, "features": 0, "fade": 1}
    assert read("Prune.distill={maps: 0.5}") == {"maps": 0.5, "features": 1.0, "fade": 0.5}
