"""Distillation: a pruned network learns from what it was before, beside its labels or in their place.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531): the outputs of the
teacher are soft labels. Romero et al., "FitNets" (arXiv 1412.6550, equation 3): so are its features, here those of
a layer such as the neck, which a pruned network shares channel by channel. Which layer and which outputs, the task
says (`Task.distilled`).

The teacher fades out, as in Clark et al., "BAM! Born-Again Multi-Task Networks" (arXiv 1907.04829, section 3.2, teacher
annealing): it leads a pruned network back to what it was, and would then hold it there, while the labels lead on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import Tensor, nn

from ocrslim.config import Config
from ocrslim.data import names_labels
from ocrslim.errors import ConfigError, TrainingError
from ocrslim.pruning import Plan
from ocrslim.tasks import Distilled, named_outputs

logger = logging.getLogger(__name__)

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
        if self.weights[FEATURES] and self._distilled.reader is not None:
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
        with contextlib.ExitStack() as stack, paddle.no_grad():
            if self._distilled.reader is not None:
                hook = _watch(self._teacher, self._distilled, lambda _, features: seen.append(features))
                stack.callback(hook.remove)
            result = self._teacher(images)
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


def build_distillation(config: Config, teacher: nn.Layer, student: nn.Layer, plan: Plan | None) -> Distillation | None:
    """Build the distillation of a training by `Prune.distill`; None if no weight there is above 0.

    Without labels the teacher does not fade: there is nothing else to learn from.

    Args:
        teacher: the unpruned network.
        student: the same network, pruned by `plan`.

    Raises:
        ConfigError: the training has no labels, and nothing to compare.
        TrainingError: as `Distillation`.
    """
    weights = dict(config.prune.distill)
    fade, distilled = weights.pop("fade"), config.task.distilled(config.section("Loss"), teacher)
    labelled = names_labels(config, "Train")
    outputs_alone = distilled is not None and distilled.reader is None
    if distilled is None or not any(weights.values()) or (outputs_alone and not weights[MAPS]):
        if labelled:
            return None
        raise ConfigError(
            "Train.dataset.label_file_list: names no labels, and nothing is compared with the unpruned network: "
            + ("name labels" if distilled is None else "raise Prune.distill.maps above 0, or name labels")
        )
    if outputs_alone and weights[FEATURES]:
        logger.info(
            "Prune.distill.features: no layer of this network is known to read its features: outputs alone count"
        )
    return Distillation(teacher, student, plan, weights, distilled, fade if labelled else 0.0)


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the squared distance of features [N, ...] over the teacher's squares; the mean over images."""
    axes = list(range(1, teacher.ndim))
    distance = (student - teacher).square().sum(axis=axes)
    return (distance / (teacher.square().sum(axis=axes) + _EPS)).mean()


def channel_axis(distilled: Distilled, features: Tensor) -> int:
    """Return the axis of the channels: the second one, but the last one of what a linear layer reads."""
    is_linear = (
        distilled.reader is not None and distilled.reader[1] == 0
    )  # its weight is [in, out], a convolution's [out, in, kh, kw]
    return features.ndim - 1 if is_linear and not distilled.features else 1


def kept_features(plan: Plan | None, distilled: Distilled) -> Tensor | None:
    """Return the indices of the compared features' channels that `plan` leaves; None where it leaves them all."""
    cuts = {(cut.key, cut.axis): cut.keep for cut in (plan.cuts if plan is not None else ())}
    reader = distilled.reader
    return None if reader is None or reader not in cuts else paddle.to_tensor(cuts[reader], dtype="int64")


def _watch(model: nn.Layer, distilled: Distilled, seen: Callable[[nn.Layer, Tensor], None]) -> Any:
    """Call `seen` with the compared features whenever `model` runs, until the hook that is returned is removed."""
    layers = dict(model.named_sublayers())
    if distilled.features:
        return layers[distilled.features].register_forward_post_hook(lambda layer, _, found: seen(layer, found))
    reader = layers[_reader(distilled).rpartition(".")[0]]
    return reader.register_forward_pre_hook(lambda layer, given: seen(layer, given[0]))


def _place(distilled: Distilled) -> str:
    return distilled.features or f"what {_reader(distilled)} reads"


def _reader(distilled: Distilled) -> str:
    assert distilled.reader is not None  # who asks has looked
    return distilled.reader[0]


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
