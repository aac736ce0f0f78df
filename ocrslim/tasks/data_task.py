"""The half of the interface of a task that is about its data: labels, images, and the transforms of both."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ocrslim.errors import ConfigError
from ocrslim.tasks.values import Label, Operator, RefusedArguments, Sample, Size


class DataTask(ABC):
    """What a task says of its data sets: all that is asked of it where one is read.

    Attributes:
        title: in messages, such as "text detection".
        label_format: one line of a label file, for messages.
        nothing_to_learn: what an image without anything to learn lacks, for messages.
        unlabelled: what is missing where there is nothing to score, for messages.
        smaller_input: how to make inputs smaller, for messages.
        scores_empty: whether images without anything that counts take part in an evaluation.
    """

    title: ClassVar[str]
    label_format: ClassVar[str] = "NAME<TAB>LABEL"
    nothing_to_learn: ClassVar[str] = "a label"
    unlabelled: ClassVar[str] = "no label"
    smaller_input: ClassVar[str] = "use smaller images"
    scores_empty: ClassVar[bool] = True

    @abstractmethod
    def parse_label(self, text: str, delimiter: str) -> Label:
        """Read what follows the image's name on a line of a label file.

        Raises:
            ValueError: it is no label; the message says what is wrong.
        """

    def parse_line(self, text: str, delimiter: str) -> list[Label]:
        """Read what follows the image's name, where it may hold labels of several parts of the image.

        Raises:
            ValueError: as `parse_label`.
        """
        return [self.parse_label(text, delimiter)]

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

    def learnable(self, sample: Sample) -> bool:
        """Tell whether a training can learn something from a sample."""
        return bool(sample.care)

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

    def augments_images(self, name: str) -> bool:
        """Tell whether a transform changes images by chance, and needs nothing of their labels for it."""
        return False

    def training_operators(self, named: Sequence[tuple[str, Operator]]) -> list[Operator]:
        """Return the operators of a training in the order in which they run."""
        return [operator for _, operator in named]

    def evaluation_operators(self, named: Sequence[tuple[str, Operator]]) -> list[Operator]:
        """Return the operators of an evaluation in the order in which they run; they keep all results."""
        return [operator for name, operator in named if name != "KeepKeys"]

    def shape_of(self, data: Mapping[str, Any]) -> Any:
        """Return what the transforms did to an image, as the post-processing takes it.

        Raises:
            KeyError: the transforms do not say.
        """
        return data["shape"]

    def resize_to(self, size: Size) -> Operator:
        """Return the operator that gives images the height and width that a sampler of several sizes asks for.

        Raises:
            ConfigError: the task's images are not resized like that.
        """
        raise ConfigError(f"Train.sampler: {self.title} has none that changes the size of images: leave it out")

    def without_chance(self, operators: Sequence[Operator]) -> list[Operator]:
        """Return the same operators without augmentation and cropping, for a sample that no crop succeeds on."""
        return list(operators)

    def calibration_input(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the input that one image gives for refitting, float32 [1, C, H, W]; the same size for all images."""
        return image

    def part(self, image: np.ndarray, item: Any) -> np.ndarray:
        """Return a part of an input, float32 [1, C, H, W], on which two networks are compared: small, and not empty."""
        return image
