"""The interface of a task: everything that depends on the purpose of a model goes through it.

A task is one kind of model, such as text detectors. It says what a label file holds and what is learnt from it, which
output of the network counts and how outputs are compared, how outputs become predictions and predictions a score. The
rest of the library asks the task of a configuration (`Config.task`) and knows of none by name.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ocrslim.errors import ConfigError
from ocrslim.tasks.schema import TaskSchema

if TYPE_CHECKING:
    from paddle import Tensor

DEFAULT = "det"  # the value of `Architecture.model_type` where it is left out
Size = tuple[int, int]  # height, width
Shape = tuple[int, int, int, int]  # images, channels, height, width
Counts = tuple[float, ...]
Operator = Callable[[dict[str, Any]], Any]
Losses = Callable[[Mapping[str, Any], Sequence[Any]], dict[str, Any]]
PostProcess = Callable[[Any, np.ndarray], Any]  # of an array, or a tuple of them for several outputs

_TASKS: dict[str, Task] = {}


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
    """

    text: str
    items: int = 1
    care: int = 1
    tiny: int = 0


@dataclass(frozen=True)
class Sample:
    """One image and its label.

    Attributes:
        name: as the label file has it.
        path: of the image.
        label: as the data set's encoder takes it.
        items, care, tiny: as in `Label`.
        place: label file and line, for messages.
        source: index of the label file.
        size: height and width as decoded, in pixels; (0, 0) until the image has been scanned.
        digest: SHA-256 of the image file; empty until it has been scanned, or where it cannot be read.
        fault: why the image cannot be read; empty where it can.
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


class Ratio(NamedTuple):
    """A score as `matched * M / (pred * P + gt * G)` of counts summed over images; the fields are M, P, G.

    Attributes:
        column: which of the counts is `matched`.
    """

    matched: float
    pred: float
    gt: float
    column: int = 2


@dataclass(frozen=True)
class Distilled:
    """The parts of a distillation.

    Attributes:
        features: name of the layer whose output is compared, such as "neck".
        reader: parameter and axis that read the channels of that output: a plan that cuts the output names them.
        loss: of the student's and the teacher's predictions, a scalar.
        factor: of that loss, so that with a weight of 1 it counts as much as its like in the loss by labels.
    """

    features: str
    reader: tuple[str, int]
    loss: Callable[[Mapping[str, Any], Mapping[str, Any]], Tensor]
    factor: float = 1.0


class Task(ABC):
    """One kind of model.

    Attributes:
        model_type: value of `Architecture.model_type`.
        title: in messages, such as "text detection".
        schema: sections of the configuration that differ from task to task.
        nominal_shape: [N, C, H, W] at which costs are counted and latency is measured.
        probe_shape: [N, C, H, W] of a small input that the network takes.
        free_shape: [N, C, H, W] with -1 for what may vary.
        training_only: prefixes of state-dict keys that an exported model does not have.
        documented_names: whether layers have the names of PaddleOCR's pruning documents.
        export_name: `Global.model_name` of an export where none is set; PaddleOCR 3 refuses names it does not know.
        metrics: scores and how they follow from counts; the first one is the default of `Metric.main_indicator`.
        count_names: what is counted of each image: `gt`, things to find; `pred`, things found; then what agrees.
        label_format: one line of a label file, for messages.
        nothing_to_learn: what an image without anything to learn lacks, for messages.
        unlabelled: what is missing where there is nothing to score, for messages.
        smaller_input: how to make inputs smaller, for messages.
    """

    model_type: ClassVar[str]
    title: ClassVar[str]
    schema: ClassVar[TaskSchema]
    nominal_shape: Shape
    probe_shape: Shape
    free_shape: Shape
    training_only: ClassVar[tuple[str, ...]] = ()
    documented_names: ClassVar[bool] = False
    export_name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Ratio]]
    count_names: ClassVar[tuple[str, ...]] = ("gt", "pred", "matched")
    label_format: ClassVar[str] = "NAME<TAB>LABEL"
    nothing_to_learn: ClassVar[str] = "a label"
    unlabelled: ClassVar[str] = "no label"
    smaller_input: ClassVar[str] = "use smaller images"

    @property
    def main_indicator(self) -> str:
        """The score that decides where the configuration does not say."""
        return next(iter(self.metrics))

    # configuration

    def schema_of(self, tree: Mapping[str, Any]) -> TaskSchema:
        """Return the sections of a configuration by which a file is checked.

        Args:
            tree: the file, not checked yet: any part of it may be missing or wrong.
        """
        return self.schema

    def complete(self, tree: dict[str, Any]) -> list[str]:
        """Fill in what a checked configuration leaves to other parts of it, such as the number of classes.

        Returns:
            faults, a line each: "Section.key: what is wrong".
        """
        return []

    def configured(self, tree: Mapping[str, Any]) -> Task:
        """Return the task as a complete configuration has it, such as with the input's shape from its transforms.

        The result goes to other processes by pickle. By default the task itself.
        """
        return self

    # labels and images

    @abstractmethod
    def parse_label(self, text: str, delimiter: str) -> Label:
        """Read what follows the image's name on a line of a label file.

        Raises:
            ValueError: it is no label; the message says what is wrong.
        """

    def encoded(self, sample: Sample) -> Any:
        """Return the label of a sample as the data set's first operators take it."""
        return sample.label

    @abstractmethod
    def target(self, data: Mapping[str, Any], sample: Sample) -> Any:
        """Return what predictions for a sample are compared with, from the results of the evaluation's transforms."""

    def check_label(self, sample: Sample, size: Size, turned: bool) -> Any:
        """Compare the label of one image with the image; what is found goes to `remarks`.

        Args:
            size: height and width of the image as it is decoded.
            turned: whether decoding exchanged height and width.
        """
        return None

    def remarks(
        self, mode: str, samples: Sequence[Sample], readable: Sequence[Sample], checks: Iterable[Any]
    ) -> list[str]:
        """List probable faults in the labels of a data set, a line each.

        Args:
            mode: "Train" or "Eval".
            samples: of all lines.
            readable: those whose image can be read.
            checks: results of `check_label` for all of them.

        Raises:
            DataError: most of the labels cannot be right.
        """
        return []

    def describe(self, samples: Sequence[Sample]) -> str:
        """Return the labels of a data set in a few words."""
        return f"{sum(sample.care for sample in samples)} labels"

    def describe_tiny(self, count: int) -> str:
        """Return a clause about `count` items that are too small to count."""
        return f"{count} too small to count"

    # transforms

    def build_operator(self, name: str, arguments: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Operator:
        """Build one transform.

        Args:
            settings: the section `Global`.

        Raises:
            RefusedArguments: there is none of that name, or an argument means nothing.
            Exception: of any type, where it refuses its arguments.
        """
        from ocrslim.ppocr import create_operators, imaug

        if not isinstance(getattr(imaug, name, None), type):
            raise RefusedArguments(f"this PaddleOCR has no operator {name!r}")
        return create_operators([{name: copy.deepcopy(arguments)}], dict(settings))[0]

    def improved(self, operator: Operator) -> Operator:
        """Return a stand-in for an operator that fails on ordinary data sets; the operator itself where it is fine."""
        return operator

    def resized(self, operator: Operator, size: Size) -> Size | None:
        """Height and width that an operator makes of an image, without making it; None where it leaves them alone."""
        return None

    def training_operators(self, named: Sequence[tuple[str, Operator]]) -> list[Operator]:
        """Return the operators of a training in the order in which they run."""
        return [operator for _, operator in named]

    def without_chance(self, operators: Sequence[Operator]) -> list[Operator]:
        """Return the same operators without augmentation and cropping, for a sample that no crop succeeds on."""
        return list(operators)

    def calibration_input(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the input that one image gives for refitting, float32 [1, C, H, W]; the same size for all images."""
        return image

    def part(self, image: np.ndarray, item: Any) -> np.ndarray:
        """Return a part of an input, float32 [1, C, H, W], on which two networks are compared: small, and not empty."""
        return image

    # network

    def output(self, result: Any) -> Any:
        """Return the output that an exported model returns, of what the network returns."""
        return result

    def forward(self, model: Any, batch: Sequence[Tensor]) -> Any:
        """Run a network in training mode on a batch: the tensors that `KeepKeys` names, images first.

        Networks whose heads take the labels as well get them here.
        """
        return model(batch[0])

    def probe_labels(self, tree: Mapping[str, Any]) -> Sequence[np.ndarray]:
        """Return what `forward` takes beside images of `probe_shape`, to trace the network as it trains.

        Args:
            tree: the configuration.
        """
        return ()

    def predictions(self, result: Any) -> dict[str, Any]:
        """Return all outputs of the network by name, as `loss` takes them."""
        return named_outputs(result)

    @abstractmethod
    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
        """Return the shape of the output for an input of `shape`, a tuple of shapes for several; -1: may vary."""

    # scores

    @abstractmethod
    def post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> PostProcess:
        """Build the post-processing of `PostProcess`: a function of the output and of what the transforms did.

        Args:
            settings: the section `Global`.

        Raises:
            AssertionError, TypeError, ValueError: it refuses its arguments.
        """

    @abstractmethod
    def count(self, prediction: Any, target: Any) -> Counts:
        """Compare the prediction for one image with its target; the counts that `count_names` names."""

    def counts_of(self, numbers: Sequence[float]) -> Counts:
        """Counts read from a file.

        Raises:
            ValueError: no image can have these.
        """
        gt, pred, *matched = numbers
        if any(one > min(gt, pred) for one in matched):
            raise ValueError("more matches than there can be")
        return tuple(numbers)

    def scores(self, counts: Iterable[Counts]) -> dict[str, float]:
        """Return the scores (0..1) over images."""
        total = np.sum([*counts, (0,) * len(self.count_names)], axis=0)
        found = {}
        for name, ratio in self.metrics.items():
            below = ratio.pred * total[1] + ratio.gt * total[0]
            found[name] = float(ratio.matched * total[ratio.column] / below) if below else 0.0
        return found

    # predictions for people

    @abstractmethod
    def to_json(self, prediction: Any) -> Any:
        """Return a prediction as JSON."""

    @abstractmethod
    def draw(self, pixels: np.ndarray, prediction: Any) -> np.ndarray:
        """Draw a prediction into a copy of uint8 `pixels` [H, W, 3]."""

    @abstractmethod
    def describe_predictions(self, predictions: Sequence[Any]) -> str:
        """Predictions counted, in a few words, such as "12 boxes"."""

    # training

    @abstractmethod
    def loss(self, section: Mapping[str, Any]) -> Losses:
        """Build the loss of the section `Loss`: a function of `predictions` and a batch, giving scalars by name.

        `loss` is the sum; a batch has the tensors that `KeepKeys` names.
        """

    def distilled(self, section: Mapping[str, Any]) -> Distilled | None:
        """Return the parts of the distillation; None without one.

        Args:
            section: the section `Loss`.
        """
        return None


def named_outputs(result: Any) -> dict[str, Any]:
    """Return the outputs of a network by name; a single output is called `output`."""
    return dict(result) if isinstance(result, Mapping) else {"output": result}


def register(task: Task) -> Task:
    """Make a task known by its `model_type`."""
    _TASKS[task.model_type] = task
    return task


def task_types() -> tuple[str, ...]:
    """Return the values of `Architecture.model_type` that are known."""
    return tuple(_TASKS)


def task_of(model_type: str) -> Task:
    """Return the task of `Architecture.model_type`.

    Raises:
        ConfigError: no task of that name is known.
    """
    if model_type not in _TASKS:
        known = " or ".join(map(repr, _TASKS))
        raise ConfigError(f"Architecture.model_type: {model_type!r} is not supported: expected {known}")
    return _TASKS[model_type]
