"""Classification as a task: an image in, one of a few classes out; PaddleOCR's text line orientation is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.tasks.classification.schema import CLASSIFICATION, DEFAULTS
from ocrslim.tasks.drawing import with_caption
from ocrslim.tasks.input_shape import InputShape
from ocrslim.tasks.line_task import LineTask, other_classes
from ocrslim.tasks.values import Counts, Distilled, Label, Losses, Operator, PostProcess, Ratio, Sample, Shapes
from ocrslim.utils import shortened

if TYPE_CHECKING:
    from paddle import Tensor

_CLASSES = ("0", "180")  # of PaddleOCR's classifier of text lines, where no `label_list` is set
_READER = "head.fc"  # PaddleOCR's `ClsHead`: pooled features to classes


class Verdict(NamedTuple):
    """The class of an image, and how sure the network is of it (0..1)."""

    name: str
    score: float


class Classification(LineTask):
    """Classifiers of images, such as of text lines that stand on their head."""

    model_type = "cls"
    title = "image classification"
    schema = CLASSIFICATION
    defaults = DEFAULTS
    usual = InputShape(3, 48, 192)
    export_name = "PP-LCNet_x0_25_textline_ori"
    metrics: ClassVar[Mapping[str, Ratio]] = {"acc": Ratio(1, 0, 1)}
    agreement = "label"
    label_format = "NAME<TAB>CLASS"
    nothing_to_learn = "a class"
    unlabelled = "no class for {images} images"
    predictions_file = "classes.json"

    def __init__(self) -> None:
        super().__init__()
        self._classes: tuple[str, ...] = _CLASSES
        self._exported = False

    def configured(self, tree: Mapping[str, Any]) -> Classification:
        task = self.shaped(tree)
        task._classes = _classes_of(tree)
        task._exported = "program" in (tree.get("Architecture") or {})
        return task

    def complete(self, tree: dict[str, Any]) -> list[str]:
        head = (tree.get("Architecture") or {}).get("Head")
        outputs = head.get("class_dim") if isinstance(head, Mapping) else None
        names = _classes_of(tree)
        if outputs is None or outputs == len(names):
            return []
        return [
            f"Architecture.Head.class_dim: found {outputs}, but there are {len(names)} classes ({', '.join(names)}): "
            "set Global.label_list to the classes of the network"
        ]

    # labels and images

    def parse_label(self, text: str, delimiter: str) -> Label:
        name = text.split(delimiter)[0].strip()
        if name not in self._classes:
            raise ValueError(f"{shortened(name)!r} is no class, expected one of {', '.join(self._classes)}")
        return Label(name)

    def target(self, data: Mapping[str, Any], sample: Sample) -> str:
        return sample.label

    def describe(self, samples: Sequence[Sample]) -> str:
        names = [sample.label for sample in samples]
        return ", ".join(f"{names.count(name)} of class {name}" for name in self._classes)

    def build_operator(self, name: str, arguments: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Operator:
        return super().build_operator(name, arguments, {**settings, "label_list": list(self._classes)})

    # network

    def output(self, result: Any) -> Any:
        """Return the probabilities, [N, classes]."""
        return next(iter(result.values())) if isinstance(result, Mapping) else result

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], -1)

    def weights_fault(self, found: Shapes, expected: Shapes) -> str | None:
        numbers = other_classes(found, expected)
        if numbers is None:
            return None
        return (
            f"they tell {numbers[0]} classes apart, and the network {numbers[1]}: set Global.label_list and "
            "Architecture.Head.class_dim as they were in their training"
        )

    # scores

    def post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> PostProcess:
        """PaddleOCR's: probabilities, float32 [1, classes], to a `Verdict`."""
        from ocrslim.ppocr import build_post_process

        given = {**settings, "label_list": list(self._classes)}
        decode: Any = build_post_process(dict(section), given)

        def run(output: np.ndarray, shape: np.ndarray) -> Verdict:
            if output.shape[-1] != len(self._classes):
                raise WeightsError(
                    f"the network tells {output.shape[-1]} classes apart, and there are {len(self._classes)} names "
                    f"({', '.join(self._classes)}): set Global.label_list to the classes of the network"
                )
            ((name, score),) = decode(output)
            return Verdict(str(name), float(score))

        return run

    def client_transforms(self, transforms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return what PaddleOCR 3 knows for classifiers: it stretches a line, where `ClsResizeImg` fills it up."""
        _, height, width = self.nominal_shape[1:]
        half = {"mean": [0.5] * 3, "std": [0.5] * 3}  # as `ClsResizeImg` has it
        return [
            {"ResizeImage": {"size": [width, height]}},
            {"NormalizeImage": {**half, "scale": 1 / 255, "order": "", "channel_num": 3}},
            {"ToCHWImage": None},
        ]

    def client_post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return how PaddleOCR 3 names the class that the network is surest of."""
        return {"Topk": {"topk": 1, "label_list": list(self._classes)}}

    def own_settings(self, transforms: Sequence[Mapping[str, Any]], section: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sections as they were scored, with the names of the classes."""
        named = {**section, "label_list": list(self._classes)}
        return {"PreProcess": {"transform_ops": list(transforms)}, "PostProcess": named}

    def count(self, prediction: Verdict, target: str) -> Counts:
        return (1, 1, int(prediction.name == target))

    # predictions for people

    def label_of(self, prediction: Verdict) -> str | None:
        """Return the name of the class."""
        return prediction.name

    def to_json(self, prediction: Verdict) -> dict[str, Any]:
        """{"class": ..., "score": 0..1}."""
        return {"class": prediction.name, "score": round(prediction.score, 4)}

    def items(self, prediction: Verdict) -> list[dict[str, Any]]:
        return [{"label": prediction.name, "score": round(prediction.score, 4)}]

    def draw(self, pixels: np.ndarray, prediction: Verdict) -> np.ndarray:
        """Write the class under the image."""
        return with_caption(pixels, f"{prediction.name}  {prediction.score:.2f}")

    def describe_predictions(self, predictions: Sequence[Verdict]) -> str:
        names = [one.name for one in predictions]
        return ", ".join(f"{names.count(name)} of class {name}" for name in self._classes)

    # training

    def loss(self, section: Mapping[str, Any]) -> Losses:
        """Return the cross entropy, which is PaddleOCR's `ClsLoss`; other losses are PaddleOCR's own code."""
        if section.get("name") != "ClsLoss":
            from ocrslim.ppocr import build_loss

            loss = build_loss(section)
            return lambda predictions, batch: dict(loss(self.output(predictions), list(batch)))
        import paddle.nn.functional as F

        return lambda predictions, batch: {
            "loss": F.cross_entropy(self.output(predictions), batch[1].astype("int64"), reduction="mean")
        }

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        """Return the probabilities and the features that the last layer reads; None for a network without that one.

        Of an exported network without such a layer, the probabilities alone.
        """
        from paddle import nn

        from ocrslim.graph import tail_readers

        if self._exported:
            readers = tail_readers(model.program, self._counted(model.program))
            return Distilled("", readers[0] if readers else None, self._divergence)
        layer = dict(model.named_sublayers()).get(_READER) if model is not None else None
        return Distilled("", (f"{_READER}.weight", 0), self._divergence) if isinstance(layer, nn.Linear) else None

    def _divergence(self, student: Mapping[str, Any], teacher: Mapping[str, Any]) -> Tensor:
        import paddle.nn.functional as F

        logits = F.log_softmax(self.output(student), axis=-1)
        return F.kl_div(logits, self.output(teacher), reduction="batchmean")


def _classes_of(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes: `Global.label_list`, or of the encoder, or of the post-processing."""
    holders = [tree.get("Global"), tree.get("PostProcess")]
    for mode in ("Train", "Eval"):
        dataset = (tree.get(mode) or {}).get("dataset") or {}
        holders += [entry.get("ClsLabelEncode") for entry in dataset.get("transforms") or []]
    found = [holder["label_list"] for holder in holders if isinstance(holder, Mapping) and holder.get("label_list")]
    return tuple(str(name) for name in found[0]) if found else _CLASSES
