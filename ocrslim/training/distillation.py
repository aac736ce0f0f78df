"""Distillation: a pruned network learns from what it was before, beside its labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531): the outputs of the
teacher are soft labels. Romero et al., "FitNets" (arXiv 1412.6550, equation 3): so are its features, here those of
a layer such as the neck, which a pruned network shares channel by channel. Which layer and which outputs, the task
says (`Task.distilled`).

The teacher fades out, as in Clark et al., "BAM! Born-Again Multi-Task Networks" (arXiv 1907.04829, section 3.2, teacher
annealing): it leads a pruned network back to what it was, and would then hold it there, while the labels lead on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import Tensor, nn

from ocrslim.errors import TrainingError
from ocrslim.pruning import Plan
from ocrslim.tasks import Distilled, named_outputs

MAPS, FEATURES = "maps", "features"
_EPS = 1e-6


class Distillation:
    """Losses of a student against its teacher; between `__enter__` and `__exit__` it watches the student's features.

    Args:
        teacher: the unpruned network. It is put in eval mode and only run: its batch norms use what they learnt, and
            neither gradients nor checkpoints know of it.
        student: the same network pruned by `plan`, which is trained.
        plan: None for an unpruned student.
        weights: factors of the losses `maps` and `features`; 0 leaves one out.
        distilled: what is compared.
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
        distilled: Distilled,
        fade: float = 0.0,
    ):
        self.weights = {name: float(weights.get(name, 0)) for name in (MAPS, FEATURES)}
        self._distilled, self._fade = distilled, fade
        self._teacher, self._student = teacher, student
        self._kept = kept_features(plan, distilled)
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
            self._hook = _watch(self._student, self._distilled, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._features = None

    def _remember(self, layer: nn.Layer, features: Tensor) -> None:
        if layer.training:  # an evaluation's features would only take room
            self._features = features

    def factor(self, share: float) -> float:
        """Return the remaining fraction of the weights when `share` (0..1) of the training is done."""
        return max(0.0, 1 - share / self._fade) if self._fade else 1.0

    def losses(self, images: Tensor, predictions: Mapping[str, Tensor], share: float = 0.0) -> dict[str, Tensor]:
        """Compute the weighted losses, scalars by name, of the student's last forward pass; {} once they have faded.

        Args:
            images: float32 [N, C, H, W], which the student has read in training mode.
            predictions: what it made of them, by name.
            share: of the training that is done.
        """
        own, self._features = self._features, None
        factor = self.factor(share)
        if not factor:
            return {}
        target, features = self._ask_teacher(images)
        found = {}
        if self.weights[MAPS]:
            loss = self._distilled.loss(predictions, target)
            found["loss_distill_maps"] = factor * self._distilled.factor * self.weights[MAPS] * loss
        if own is not None and features is not None:
            found["loss_distill_features"] = factor * self.weights[FEATURES] * self._feature_loss(own, features)
        return found

    def _ask_teacher(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Run the teacher; return its predictions and features."""
        seen: list[Tensor] = []
        hook = _watch(self._teacher, self._distilled, lambda _, features: seen.append(features))
        try:
            with paddle.no_grad():
                result = self._teacher(images)
        finally:
            hook.remove()
        return named_outputs(result), seen[-1] if seen else None

    def _feature_loss(self, own: Tensor, features: Tensor) -> Tensor:
        if self._kept is not None:
            axis = channel_axis(self._distilled, features)
            features = paddle.index_select(features, self._kept, axis=axis)
        if own.shape != features.shape:
            raise _mismatch(
                f"{_place(self._distilled)} gives {own.shape}, "
                f"the part of the teacher's that the plan leaves {features.shape}"
            )
        return feature_loss(own, features)


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the squared distance of features [N, ...] over the teacher's squares; the mean over images."""
    axes = list(range(1, teacher.ndim))
    distance = (student - teacher).square().sum(axis=axes)
    return (distance / (teacher.square().sum(axis=axes) + _EPS)).mean()


def channel_axis(distilled: Distilled, features: Tensor) -> int:
    """Return the axis of the channels: the second one, but the last one of what a linear layer reads."""
    is_linear = distilled.reader[1] == 0  # its weight is [in, out], a convolution's [out, in, kh, kw]
    return features.ndim - 1 if is_linear and not distilled.features else 1


def kept_features(plan: Plan | None, distilled: Distilled) -> Tensor | None:
    """Return the indices of the compared features' channels that `plan` leaves; None where it leaves them all."""
    cuts = {(cut.key, cut.axis): cut.keep for cut in (plan.cuts if plan is not None else ())}
    reader = distilled.reader
    return paddle.to_tensor(cuts[reader], dtype="int64") if reader in cuts else None


def _watch(model: nn.Layer, distilled: Distilled, seen: Callable[[nn.Layer, Tensor], None]) -> Any:
    """Call `seen` with the compared features whenever `model` runs, until the hook that is returned is removed."""
    layers = dict(model.named_sublayers())
    if distilled.features:
        return layers[distilled.features].register_forward_post_hook(lambda layer, _, found: seen(layer, found))
    reader = layers[distilled.reader[0].rpartition(".")[0]]
    return reader.register_forward_pre_hook(lambda layer, given: seen(layer, given[0]))


def _place(distilled: Distilled) -> str:
    return distilled.features or f"what {distilled.reader[0]} reads"


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
