"""Values that tasks and the rest of the library exchange: labels, samples, outputs, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

if TYPE_CHECKING:
    from paddle import Tensor

Size = tuple[int, int]  # height, width
Shape = tuple[int, int, int, int]  # images, channels, height, width
Outline = tuple[tuple[float, float], ...]
Counts = tuple[float, ...]
Shapes = Mapping[str, tuple[int, ...]]  # by state-dict key
Operator = Callable[[dict[str, Any]], Any]
Losses = Callable[[Mapping[str, Any], Sequence[Any]], dict[str, Any]]
Output = Union[np.ndarray, tuple[np.ndarray, ...]]  # several where `Task.output` gives several
PostProcess = Callable[[Any, np.ndarray], Any]  # of an `Output`


class RefusedArguments(ValueError):
    """Arguments of a transform that mean nothing; the message says which."""


@dataclass(frozen=True)
class Label:
    """The label of one image as a label file has it.

    Attributes:
        text: as the data set's encoder takes it.
        items: things to find in the image, such as text boxes; 1 where the image as a whole has a label.
        care: items that count; the others are "don't care".
        tiny: items too small to count.
        outline: corners (x, y) in pixels of the part of the image that the label is of; empty for the whole image.
    """

    text: str
    items: int = 1
    care: int = 1
    tiny: int = 0
    outline: Outline = ()


@dataclass(frozen=True)
class Sample:
    """One image, or a part of one, and its label.

    Attributes:
        name: as the label file has it.
        path: of the image.
        label: as the data set's encoder takes it.
        items, care, tiny: as in `Label`.
        place: label file and line, for messages.
        source: index of the label file.
        size: height and width as decoded, in pixels, of the part where it is one; (0, 0) until the image was scanned.
        digest: SHA-256 of the image file; empty until it has been scanned, or where it cannot be read.
        fault: why the image cannot be read; empty where it can.
        outline: as in `Label`.
        others: further images with the same label; a training takes one of them, or `path`, by chance.
    """

    name: str
    path: Path
    label: str
    items: int
    care: int
    tiny: int
    place: str = ""
    source: int = 0
    size: Size = (0, 0)
    digest: str = ""
    fault: str = ""
    outline: Outline = ()
    others: tuple[Path, ...] = ()


class Ratio(NamedTuple):
    """A score as `matched * M / (pred * P + gt * G)` of counts summed over images; the fields are M, P, G.

    Attributes:
        column: which of the counts is `matched`.
    """

    matched: float
    pred: float
    gt: float
    column: int = 2


def adam(learning_rate: float = 0.00003, warmup_steps: int = 50, beta2: float = 0.999) -> dict[str, Any]:
    """Return a section `Optimizer`: Adam, with a rate that rises and then falls as a cosine, and clipped gradients."""
    rate = {"name": "LinearWarmupCosine", "learning_rate": learning_rate, "start_lr": 1e-6}
    return {
        **{"name": "Adam", "beta1": 0.9, "beta2": beta2, "clip_norm_global": 5.0},
        "lr": {**rate, "warmup_steps": warmup_steps},
    }


@dataclass(frozen=True)
class Defaults:
    """How to run and train a model of which only the task is known.

    Attributes:
        transforms: of images with their labels.
        post_process: section `PostProcess`.
        training: transforms of a training.
        loss: section `Loss`.
        batch_size: images to a step.
        settings: of the section `Global`.
        optimizer: section `Optimizer`. Few batch norms are left in an exported network to forgive a step that is too
            long, and the first steps of Adam are: rates are small, begin smaller, and gradients are clipped.
    """

    transforms: Sequence[Mapping[str, Any]]
    post_process: Mapping[str, Any]
    training: Sequence[Mapping[str, Any]]
    loss: Mapping[str, Any]
    batch_size: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=lambda: adam())

    @property
    def loader(self) -> dict[str, Any]:
        """The section `Train.loader`."""
        return {"shuffle": True, "drop_last": False, "batch_size_per_card": self.batch_size, "num_workers": 0}


@dataclass(frozen=True)
class Distilled:
    """The parts of a distillation.

    Attributes:
        features: name of the layer whose output is compared, such as "neck"; empty for what the reader's layer takes.
        reader: parameter and axis that read the channels of that output: a plan that cuts the output names them.
            Channels are the second axis of the features, but the last one of what a linear layer takes. None where
            outputs alone are compared.
        loss: of the student's and the teacher's predictions, a scalar.
        factor: of that loss, so that with a weight of 1 it counts as much as its like in the loss by labels.
    """

    features: str
    reader: tuple[str, int] | None
    loss: Callable[[Mapping[str, Any], Mapping[str, Any]], Tensor]
    factor: float = 1.0


def named_outputs(result: Any) -> dict[str, Any]:
    """Return the outputs of a network by name; a single output is called `output`."""
    return dict(result) if isinstance(result, Mapping) else {"output": result}
