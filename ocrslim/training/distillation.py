"""Distillation: a pruned network learns from what it was before, beside its labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531): the outputs of the
teacher are soft labels. Romero et al., "FitNets" (arXiv 1412.6550, equation 3): so are its features, here those of
the neck, which a pruned network shares channel by channel. PP-OCRv2 distils detectors by their maps (Du et al., arXiv
2109.03144, section 2.1); of these only the shrink map is taken here, the one that inference reads. The threshold
branch is not: weights imported from an inference model have none, and what a new one says would be noise.

The teacher fades out, as in Clark et al., "BAM! Born-Again Multi-Task Networks" (arXiv 1907.04829, section 3.2, teacher
annealing): it leads a pruned network back to what it was, and would then hold it there, while the labels lead on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ocrslim.errors import TrainingError
from ocrslim.pruning import Plan

MAPS, FEATURES = "maps", "features"
_READER = ("head.binarize.conv1.weight", 1)  # the parameter and axis that read the neck's channels
_EPS = 1e-6


class Distillation:
    """What a student loses against its teacher; between `__enter__` and `__exit__` it watches the student's neck.

    Args:
        teacher: the unpruned network. It is put in eval mode and only run: its batch norms use what they learnt, and
            neither gradients nor checkpoints know of it.
        student: the same network pruned by `plan`, which is trained.
        plan: None for an unpruned student.
        weights: factors of the losses `maps` and `features`; 0 leaves one out.
        alpha: factor of the shrink map in the loss by labels; with a weight of 1 the teacher's map counts as much.
        fade: fraction of the training over which the weights fall linearly to 0; 0: they stay.

    Raises:
        TrainingError: teacher and student are of another architecture each.
    """

    def __init__(
        self,
        teacher: nn.Layer,
        student: nn.Layer,
        plan: Plan | None,
        weights: Mapping[str, float],
        alpha: float = 5.0,
        fade: float = 0.0,
    ):
        self.weights = {name: float(weights.get(name, 0)) for name in (MAPS, FEATURES)}
        self._alpha, self._fade = alpha, fade
        self._teacher, self._student = teacher, student
        self._kept = kept_features(plan)
        self._features: Tensor | None = None
        self._hook: Any = None
        _check_same(teacher, student)
        teacher.eval()
        for parameter in teacher.parameters():
            parameter.stop_gradient = True

    @property
    def settings(self) -> str:
        """The weights in words, for what a run depends on."""
        return ", ".join(f"{name} {weight:g}" for name, weight in {**self.weights, "fade": self._fade}.items())

    def __enter__(self) -> Distillation:
        if self.weights[FEATURES]:
            self._hook = self._student.neck.register_forward_post_hook(self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._features = None

    def _remember(self, layer: nn.Layer, _: Any, features: Tensor) -> None:
        if layer.training:  # an evaluation's features would only take room
            self._features = features

    def factor(self, share: float) -> float:
        """What is left of the weights (1..0) when `share` (0..1) of the training is done."""
        return max(0.0, 1 - share / self._fade) if self._fade else 1.0

    def losses(self, images: Tensor, maps: Tensor, share: float = 0.0) -> dict[str, Tensor]:
        """The weighted losses, as scalars by name, of the student's last forward pass; {} once they have faded.

        Args:
            images: float32 [N, 3, H, W], which the student has read in training mode.
            maps: what it made of them, [N, 3, H, W], the shrink map first.
            share: of the training that is done.
        """
        own, self._features = self._features, None
        factor = self.factor(share)
        if not factor:
            return {}
        with paddle.no_grad():
            features = self._teacher.neck(self._teacher.backbone(images))
            target = self._teacher.head(features)["maps"][:, 0] if self.weights[MAPS] else None
        found = {}
        if target is not None:
            found["loss_distill_maps"] = factor * self._alpha * self.weights[MAPS] * map_loss(maps[:, 0], target)
        if own is not None:
            found["loss_distill_features"] = factor * self.weights[FEATURES] * self._feature_loss(own, features)
        return found

    def _feature_loss(self, own: Tensor, features: Tensor) -> Tensor:
        if self._kept is not None:
            features = paddle.index_select(features, self._kept, axis=1)
        if own.shape != features.shape:
            raise _mismatch(
                f"the neck gives {own.shape}, the part of the teacher's that the plan leaves {features.shape}"
            )
        return feature_loss(own, features)


def map_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Dice loss plus Kullback-Leibler divergence of two maps of probabilities, [N, H, W]; 0 where they are equal.

    The Dice loss has squares in its denominator (Milletari et al., "V-Net", 2016, equation 3), so that it is smallest
    where the student agrees with a soft label; it looks at text, however little of it there is. The divergence, a mean
    over all pixels, keeps the background quiet. No mask: the teacher has an opinion on ignored text as well.
    """
    overlap = (student * teacher).sum()
    dice = 1 - (2 * overlap + _EPS) / (student.square().sum() + teacher.square().sum() + _EPS)
    entropy = F.binary_cross_entropy(teacher, teacher)
    return dice + F.binary_cross_entropy(student, teacher) - entropy


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two feature maps, [N, C, H, W], relative to the teacher's squares; the mean over images."""
    distance = (student - teacher).square().sum(axis=[1, 2, 3])
    return (distance / (teacher.square().sum(axis=[1, 2, 3]) + _EPS)).mean()


def kept_features(plan: Plan | None) -> Tensor | None:
    """Indices of the neck's channels that `plan` leaves; None where it leaves them all."""
    cuts = {(cut.key, cut.axis): cut.keep for cut in (plan.cuts if plan is not None else ())}
    return paddle.to_tensor(cuts[_READER], dtype="int64") if _READER in cuts else None


def _check_same(teacher: nn.Layer, student: nn.Layer) -> None:
    there, here = set(teacher.state_dict()), set(student.state_dict())
    if there != here:
        key = min(there ^ here)
        raise _mismatch(f"only the {'teacher' if key in there else 'network to train'} has {key}")


def _mismatch(what: str) -> TrainingError:
    return TrainingError(
        f"distillation: {what}: expected the same architecture, unpruned, as teacher; name its weights in "
        "Global.pretrain_weights, or train without, by -o Prune.distill.maps=0 Prune.distill.features=0"
    )
