"""Calibration on a few training images: gradients by channel, and inputs to refit layers on."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor, nn

from ocrslim.config import MIN_RECOVER_IMAGES, Config
from ocrslim.data import LabelledSet, Preprocessor, train_loader
from ocrslim.errors import DataError, TrainingError
from ocrslim.graph import as_it_was
from ocrslim.inference import AutoEngine, Engine, parts_of
from ocrslim.pruning.surgery.cutting import named_tensors
from ocrslim.utils import progress_bar


def weight_gradients(model: nn.Layer, config: Config, labelled: LabelledSet) -> dict[tuple[str, int], np.ndarray]:
    """Sum gradient * weight over each channel and batch, for the criterion `taylor`.

    The batches are the first `Prune.calibration_batches` of a training; they depend only on `Global.seed` and
    the images. Weights, batch-norm statistics, gradients and the mode of `model` are unchanged.

    Args:
        model: unpruned network, weights loaded.
        config: with the sections `Train` and `Loss`.
        labelled: the images to train on.

    Returns:
        float64 [batches, entries of the axis] by (state-dict key, axis), for axes 0 and 1 of every
        parameter that has them; zeros where the loss does not depend on the parameter.

    Raises:
        TrainingError: a weight or a gradient is not finite.
        DataError: there is no whole batch, or an image cannot be used.
    """
    weights = {key: tensor for key, tensor in named_tensors(model) if len(tensor.shape) > 1}
    task = config.task
    loss = task.loss(config.section("Loss"))
    count = config.prune.calibration_batches
    sums: dict[tuple[str, int], list[np.ndarray]] = {}
    with _calibrating(model):
        batches = progress_bar(_batches(config, labelled, count), total=count, desc="calibration", unit="batch")
        for batch in batches:
            for key, product in _products(
                loss(task.predictions(task.forward(model, batch)), batch)["loss"], weights
            ).items():
                for axis in (0, 1):
                    others = tuple(other for other in range(product.ndim) if other != axis)
                    sums.setdefault((key, axis), []).append(product.sum(axis=others))
    return {place: np.stack(found) for place, found in sums.items()}


def calibration_inputs(config: Config, labelled: LabelledSet, model: nn.Layer | None = None) -> list[np.ndarray]:
    """Crop `Prune.recover_images` training images, resized and normalised as for evaluation.

    Images and crops depend on `Global.seed`; an image is used twice only where there are too few.

    Args:
        model: finds text, without labels: of several crops of an image (`Task.crops_tried`) the one with the most text
            is taken, as a photograph is mostly background. None: of each image one crop.

    Returns:
        float32 [1, C, H, W] each, all of one size (`Task.calibration_input`).

    Raises:
        DataError: fewer than `MIN_RECOVER_IMAGES` images, or one cannot be read.
    """
    if len(labelled) < MIN_RECOVER_IMAGES:
        key = "label_file_list" if labelled.labelled else "data_dir"
        raise DataError(
            f"Train.dataset.{key}: {len(labelled)} usable image{'s' * (len(labelled) != 1)} to refit layers "
            f"on, expected at least {MIN_RECOVER_IMAGES}, better 40: layers refitted on fewer overfit; name more "
            "images, or set Prune.recover to false and Prune.criterion to fpgm"
        )
    load = Preprocessor(config, samples=labelled.samples)
    rng = np.random.default_rng(config.seed)
    count, order = config.prune.recover_images, rng.permutation(len(labelled))
    chosen = np.resize(order, count).tolist()
    tried = config.task.crops_tried if model is not None else 1
    images = progress_bar(
        (load.of_sample(labelled.samples[index]).image for index in chosen), total=count, desc="calibration", unit="img"
    )
    crops = ([config.task.calibration_input(image, rng) for _ in range(tried)] for image in images)
    if model is None or tried == 1:
        return [found[0] for found in crops]
    first = next(crops)
    with AutoEngine(model, config.task).engine(_Like(first[0], count * tried)) as engine:
        return [max(found, key=lambda crop: _text_in(engine, crop)) for found in itertools.chain([first], crops)]


@dataclass(frozen=True)
class _Like:
    """So many inputs, all as large as the first, for the choice of an engine."""

    first: np.ndarray
    count: int

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        return self.first


def _text_in(engine: Engine, crop: np.ndarray) -> float:
    """Return how much text a network finds in a crop, float32 [1, C, H, W]: the sum over its first output."""
    return float(parts_of(engine(crop))[0].sum())


def _batches(config: Config, labelled: LabelledSet, count: int) -> Iterator[list[Tensor]]:
    """Yield `count` batches, from as many epochs as needed."""
    epochs = (train_loader(config, labelled, epoch) for epoch in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), count)


def _products(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Compute gradient * weight elementwise; the gradients stored in the parameters are unchanged."""
    trainable = {key: weight for key, weight in weights.items() if not weight.stop_gradient}
    distinct = list({id(weight): weight for weight in trainable.values()}.values())
    found = paddle.grad(loss, distinct, allow_unused=True)
    gradients = {id(weight): gradient for weight, gradient in zip(distinct, found)}
    products = {}
    for key, weight in weights.items():
        value, gradient = weight.astype("float64").numpy(), gradients.get(id(weight))
        products[key] = value * (0 if gradient is None else gradient.astype("float64").numpy())
        if not np.isfinite(products[key]).all():
            raise TrainingError(
                f"calibration: {key} or its gradient is not finite (the loss is {float(loss):g}): check that weights "
                "and configuration belong together (ocrslim eval)"
            )
    return products


@contextlib.contextmanager
def _calibrating(model: nn.Layer) -> Iterator[None]:
    """Put containers in training mode, so that the head gives all its maps, and single layers in eval mode.

    A batch norm with the statistics of the batch would cancel any scaling of the weights before it: their sum
    of gradient * weight would always be zero.
    """
    with as_it_was(model, training=True):
        for layer in model.sublayers(include_self=True):
            layer.training = bool(layer.sublayers())
        yield
