"""The interface of a task: everything that depends on the purpose of a model goes through it.

A task is one kind of model, such as text detectors. It says what a label file holds and what is learnt from it, which
output of the network counts and how outputs are compared, how outputs become predictions and predictions a score. The
rest of the library asks the task of a configuration (`Config.task`) and knows of none by name. What is about data alone
has a class of its own, `DataTask`.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ocrslim.tasks.data_task import DataTask
from ocrslim.tasks.schema import TaskSchema
from ocrslim.tasks.values import (
    Counts,
    Defaults,
    Distilled,
    Losses,
    PostProcess,
    Ratio,
    Shape,
    Shapes,
    Size,
    named_outputs,
)

if TYPE_CHECKING:
    from paddle import Tensor

    from ocrslim.graph import Program, Value


class Task(DataTask):
    """One kind of model.

    Attributes:
        model_type: value of `Architecture.model_type`.
        schema: sections of the configuration that differ from task to task.
        nominal_shape: [N, C, H, W] at which costs are counted and latency is measured.
        probe_shape: [N, C, H, W] of a small input that the network takes.
        free_shape: [N, C, H, W] with -1 for what may vary.
        usual_images: height and width of images as they are usually given, before the transforms.
        single_lines: whether an image is of one line, not of a page.
        training_only: prefixes of state-dict keys that an exported model does not have.
        documented_names: whether layers have the names of PaddleOCR's pruning documents.
        export_name: `Global.model_name` of an export where none is set; PaddleOCR 3 refuses names it does not know.
        crops_tried: crops of an image, of which the one with the most text is calibrated on.
        refit_images: images that layers are refitted on where there are as many; their pixels are what memory it takes.
        sample_box: part of scikit-image's `page.png` that an export is proven on: left, upper, right, lower in pixels.
        metrics: scores and how they follow from counts; the first one is the default of `Metric.main_indicator`.
        agreement: name of the score by which predictions are held against another network's.
        agreement_metric: section `Metric` of that comparison, where it is stricter than the one by labels.
        count_names: what is counted of each image: `gt`, things to find; `pred`, things found; then what agrees.
        defaults: how a model is run where nothing but its task is known.
        predictions_file: name of the file that predictions for people are written to.
    """

    model_type: ClassVar[str]
    schema: ClassVar[TaskSchema]
    nominal_shape: Shape
    probe_shape: Shape
    free_shape: Shape
    usual_images: ClassVar[tuple[Size, ...]] = ((1280, 960), (720, 1280))  # a page, a photograph
    single_lines: ClassVar[bool] = False
    training_only: ClassVar[tuple[str, ...]] = ()
    documented_names: ClassVar[bool] = False
    export_name: ClassVar[str]
    refit_images: ClassVar[int] = 40
    crops_tried: ClassVar[int] = 1
    sample_box: ClassVar[tuple[int, int, int, int]] = (0, 0, 384, 191)
    metrics: ClassVar[Mapping[str, Ratio]]
    agreement: ClassVar[str] = "score"
    agreement_metric: ClassVar[Mapping[str, Any]] = {}
    count_names: ClassVar[tuple[str, ...]] = ("gt", "pred", "matched")
    defaults: ClassVar[Defaults]
    predictions_file: ClassVar[str] = "boxes.json"

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

    def settings_of_model(self, files: Sequence[Path]) -> dict[str, Any]:
        """Return entries of the section `Global` that a model's own files give, such as a dictionary.

        Args:
            files: the model, where it is one file, and its `inference.yml`, where it has one.
        """
        return {}

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

    def sized(self, sizes: Sequence[int]) -> Task:
        """Return the task with inputs of the sizes that a network fixes.

        Args:
            sizes: batch, height and width; -1 for one that may vary.
        """
        if all(size == -1 for size in sizes):
            return self
        task, fixed = copy.copy(self), (sizes[0], -1, *sizes[1:])  # channels are the task's
        for name in ("nominal_shape", "probe_shape", "free_shape"):
            shape = (size if one == -1 else one for size, one in zip(getattr(self, name), fixed))
            setattr(task, name, tuple(shape))
        return task

    # network

    def output(self, result: Any) -> Any:
        """Return the output that an exported model returns, of what the network returns."""
        return result

    def of_exported(self, result: Any, training: bool) -> Any:
        """Return what a network of PaddleOCR's classes would have returned, of an exported one's output.

        Args:
            result: a tensor; a tuple of several.
            training: the mode in which it was run; in training it is what inference reads, but without a softmax.
        """
        return result

    def _counted(self, program: Program) -> Value:
        """Return the output of an exported network that `output` chooses."""
        outputs = tuple(program.outputs)
        found: Value = self.output(self.of_exported(outputs if outputs[1:] else outputs[0], training=False))
        return found

    def weights_fault(self, found: Shapes, expected: Shapes) -> str | None:
        """Say why weights do not fit a network, where the task's part of the configuration is the cause; else None.

        Args:
            found, expected: shapes by state-dict key.
        """
        return None

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

    def client_transforms(self, transforms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the transforms in the `inference.yml` of an export, of those of `Eval.dataset`."""
        return list(transforms)

    def client_post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the section `PostProcess` of the `inference.yml` of an export, by which PaddleOCR 3 decodes.

        Args:
            section, settings: as for `post_process`.
        """
        return dict(section)

    def own_settings(self, transforms: Sequence[Mapping[str, Any]], section: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sections that ocrslim reads back from an `inference.yml` in the place of those for clients.

        None where these serve it as well.

        Args:
            transforms: as for `client_transforms`.
            section: as for `post_process`.
        """
        return {}

    def client_files(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return further files of an export that clients are given: name -> text.

        Args:
            settings: as for `post_process`.
        """
        return {}

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

    def in_common(self, found: Any, expected: Any) -> tuple[int, int]:
        """Return how many items two predictions for one image have in common, and how many the larger one has."""
        return int(self.label_of(found) == self.label_of(expected)), 1

    # predictions for people

    @abstractmethod
    def label_of(self, prediction: Any) -> str | None:
        """Return what a label file would say of an image for which a prediction is right; None where it says nothing.

        The inverse of `parse_label`, and of the post-processing's meaning.
        """

    @abstractmethod
    def to_json(self, prediction: Any) -> Any:
        """Return a prediction as JSON."""

    def items(self, prediction: Any) -> list[dict[str, Any]]:
        """Return what a prediction consists of as JSON: `points` in pixels, `text` or `label`, and `score` if known."""
        return [{"label": str(self.label_of(prediction))}]

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

        `loss` is the sum; a batch has the tensors that `KeepKeys` names. The loss of a task that `configured` has made
        for an exported network works on what that returns.

        Raises:
            ConfigError: there is no such loss, or an exported network lacks what it works on.
        """

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        """Return the parts of the distillation; None without one.

        Args:
            section: the section `Loss`.
            model: the network; its layers decide which features there are, or its program, of an exported one.
        """
        return None
