"""Text detection as a task: polygons of text in, a map of probabilities out, boxes in the end."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ocrslim.tasks.base import Task
from ocrslim.tasks.detection import client_settings, label_faults, labels, metric, open_schema, transforms
from ocrslim.tasks.detection.schema import DEFAULTS, DETECTION
from ocrslim.tasks.schema import TaskSchema
from ocrslim.tasks.values import Counts, Distilled, Label, Losses, Operator, PostProcess, Ratio, Sample, Size

logger = logging.getLogger(__name__)

BOX_COLOUR = (0, 90, 255)  # BGR
CROP = 480  # pixels: refits on cut-outs of 320 left the receipts a point worse
_PART = 160  # pixels
_ALPHA = 5.0  # of the shrink map in DB's loss
_STRIDE = 32  # the network halves an image five times
# a stand-in for the boxes of an image without any, which PaddleOCR's encoder drops; it goes afterwards
_SOME_TEXT = "text"  # of boxes that a network found
_NO_TEXT = '[{"transcription": "###", "points": [[0, 0], [8, 0], [8, 8], [0, 8]]}]'


class Detection(Task):
    """Detectors of the DB family."""

    model_type = "det"
    title = "text detection"
    schema = DETECTION
    nominal_shape = (1, 3, 736, 1280)
    probe_shape = (1, 3, 64, 96)
    free_shape = (-1, 3, -1, -1)
    crops_tried = 8
    training_only: ClassVar[tuple[str, ...]] = ("head.thresh.",)
    defaults = DEFAULTS
    documented_names = True
    export_name = "PP-OCRv3_mobile_det"
    metrics: ClassVar[Mapping[str, Ratio]] = {
        "hmean": Ratio(2, 1, 1),
        "precision": Ratio(1, 1, 0),
        "recall": Ratio(1, 0, 1),
    }
    agreement = "hmean"
    label_format = labels.FORMAT
    nothing_to_learn = "text to learn (all boxes are '###' or too small); label the text or name another file"
    unlabelled = 'no text box in {images} images that is not "don\'t care" (###)'
    smaller_input = (
        "make it smaller with -o 'Eval.dataset.transforms.DetResizeForTest={limit_side_len: 960, limit_type: max}'"
    )

    def schema_of(self, tree: Mapping[str, Any]) -> TaskSchema:
        return open_schema.schema_of(tree)

    def complete(self, tree: dict[str, Any]) -> list[str]:
        metric_section = tree.get("Metric") or {}
        if metric_section.get("main_indicator") == "f_score":
            metric_section["main_indicator"] = "hmean"  # CTMetric's name of it
        return []

    def configured(self, tree: Mapping[str, Any]) -> Task:
        """Return the task with the outputs of the network's head; of what is built in, the task as it is."""
        architecture = tree.get("Architecture") or {}
        if "program" in architecture:
            return ExportedDetection()
        named = (tree.get("Global") or {}).get("paddleocr")
        if named or open_schema.foreign_part(architecture):
            from ocrslim.tasks.detection.paddle_detector import paddle_detector

            return paddle_detector(open_schema.head_of(architecture))
        return self

    def parse_label(self, text: str, delimiter: str) -> Label:
        return labels.parse_boxes(text.split(delimiter)[0])

    def encoded(self, sample: Sample) -> str:
        return sample.label if sample.items else _NO_TEXT

    def target(self, data: Mapping[str, Any], sample: Sample) -> metric.Boxes:
        polygons = [np.asarray(polygon, dtype=np.float32) for polygon in data["polys"]][: sample.items]
        tags = data["ignore_tags"] if "ignore_tags" in data else [text in labels.DONT_CARE for text in data["texts"]]
        return metric.Boxes(polygons, np.asarray(tags, dtype=bool)[: sample.items])

    def check_label(self, sample: Sample, size: Size, turned: bool) -> label_faults.LabelCheck:
        return label_faults.check_label(sample, size, turned)

    def remarks(
        self,
        mode: str,
        samples: Sequence[Sample],
        readable: Sequence[Sample],
        checks: Iterable[label_faults.LabelCheck],
    ) -> list[str]:
        return label_faults.remarks(mode, samples, readable, checks)

    def describe(self, samples: Sequence[Sample]) -> str:
        care = sum(sample.care for sample in samples)
        return f"{care} text boxes and {sum(sample.items for sample in samples) - care} don't care"

    def describe_tiny(self, count: int) -> str:
        boxes, verb = ("box", "counts") if count == 1 else ("boxes", "count")
        return f"{count} {boxes} with a side under {labels.MIN_SIDE} pixels {verb} as don't care"

    def build_operator(self, name: str, arguments: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Operator:
        if name == "IaaAugment":
            transforms.require_augmenters((arguments or {}).get("augmenter_args") or [])
        return super().build_operator(name, arguments, settings)

    def improved(self, operator: Operator) -> Operator:
        return transforms.improved(operator)

    def resized(self, operator: Operator, size: Size) -> Size | None:
        return transforms.resized(operator, size)

    def training_operators(self, named: Sequence[tuple[str, Operator]]) -> list[Operator]:
        operators: list[Operator] = []
        for name, operator in named:
            operators += [transforms.IgnoreCollapsed(), operator] if name == "MakeBorderMap" else [operator]
        return operators

    def without_chance(self, operators: Sequence[Operator]) -> list[Operator]:
        return transforms.without_chance(operators)

    def calibration_input(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a square somewhere in the image; what is smaller is padded with zeros, the mean colour."""
        lacking = [max(0, CROP - side) for side in image.shape[2:]]
        image = np.pad(image, ((0, 0), (0, 0), *((0, number) for number in lacking)))
        top, left = (int(rng.integers(side - CROP + 1)) for side in image.shape[2:])
        return np.ascontiguousarray(image[:, :, top : top + CROP, left : left + CROP])

    def part(self, image: np.ndarray, item: Any) -> np.ndarray:
        """Return a part of the image with text in its middle."""
        height, width = image.shape[2:]
        polygons = item.target.polygons
        centre = polygons[0].mean(axis=0) * item.shape[0, [3, 2]] if polygons else np.array([width, height]) / 2
        top, bottom = _span(centre[1], height)
        left, right = _span(centre[0], width)
        return np.ascontiguousarray(image[:, :, top:bottom, left:right])

    def of_exported(self, result: Any, training: bool) -> dict[str, Any]:
        """Return the shrink map as `maps`; there is no threshold branch."""
        return {"maps": result[0] if isinstance(result, tuple) else result}

    def output(self, result: Mapping[str, Any]) -> Any:
        """Return the shrink map, [N, 1, H, W]."""
        return result["maps"]

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], 1, *shape[2:])

    def post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> PostProcess:
        """PaddleOCR's: shrink map, float32 [1, 1, H, W], and shape, float32 [1, 4], to polygons [k, 2] in pixels.

        The shape is (source height, source width, scale y, scale x).
        """
        from ocrslim.ppocr import build_post_process

        decode: Any = build_post_process(dict(section), dict(settings))

        def run(shrink_map: np.ndarray, shape: np.ndarray) -> list[np.ndarray]:
            found = decode({"maps": shrink_map}, shape)
            return [np.asarray(points, dtype=np.float32) for points in found[0]["points"]]

        return run

    def client_transforms(self, transforms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return client_settings.written_out(transforms)

    def client_post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        return client_settings.post_processing(section)

    def count(self, prediction: Sequence[np.ndarray], target: metric.Boxes) -> metric.ImageCounts:
        return metric.match(prediction, target.polygons, target.ignored)

    def counts_of(self, numbers: Sequence[float]) -> Counts:
        if any(number != int(number) for number in numbers):
            raise ValueError("counts of boxes that are no whole numbers")
        return metric.ImageCounts(*(int(number) for number in super().counts_of(numbers)))

    def scores(self, counts: Iterable[Counts]) -> dict[str, float]:
        return metric.scores_of(counts)

    def in_common(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> tuple[int, int]:
        """Return how many boxes two predictions share, to the pixel, and how many the larger one has."""
        one, other = (Counter(json.dumps(np.round(box).tolist()) for box in boxes) for boxes in (found, expected))
        return sum((one & other).values()), max(len(found), len(expected))

    def label_of(self, prediction: Sequence[np.ndarray]) -> str | None:
        """Return the boxes as text that counts."""
        boxes = [{"transcription": _SOME_TEXT, "points": np.round(box, 1).tolist()} for box in prediction]
        return json.dumps(boxes) if boxes else None

    def to_json(self, prediction: Sequence[np.ndarray]) -> list[list[list[float]]]:
        """[[[x, y], ...] per text region, in pixels]."""
        return [np.round(box, 2).tolist() for box in prediction]

    def items(self, prediction: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        return [{"points": points} for points in self.to_json(prediction)]

    def draw(self, pixels: np.ndarray, prediction: Sequence[np.ndarray]) -> np.ndarray:
        """Outline the polygons ([k, 2] pixels)."""
        import cv2

        drawn = pixels.copy()
        thickness = max(1, round(max(pixels.shape[:2]) / 500))
        outlines = [np.round(box).astype(np.int32) for box in prediction]
        cv2.polylines(drawn, outlines, isClosed=True, color=BOX_COLOUR, thickness=thickness, lineType=cv2.LINE_AA)
        return drawn

    def describe_predictions(self, predictions: Sequence[Sequence[np.ndarray]]) -> str:
        return f"{sum(map(len, predictions))} boxes"

    def loss(self, section: Mapping[str, Any]) -> Losses:
        from ocrslim.tasks.detection.loss import build_loss

        return build_loss(section)

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        """Return the neck's features and the shrink map; of the threshold branch nothing (see `distillation`)."""
        from ocrslim.tasks.detection.distillation import distilled

        return distilled(float(section.get("alpha", _ALPHA)))


class ExportedDetection(Detection):
    """Detectors of the DB family as files have them: with the shrink map alone."""

    def configured(self, tree: Mapping[str, Any]) -> Task:
        return Detection().configured(tree)

    def loss(self, section: Mapping[str, Any]) -> Losses:
        from ocrslim.tasks.detection.loss import ShrinkLoss, build_loss

        logger.info(
            "Loss: the file has no threshold branch: its shrink map is trained alone, by Dice and cross-entropy (beta "
            "means nothing)"
        )
        return build_loss(section, ShrinkLoss)

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        """Return what the head reads, by the program, and the shrink map."""
        from ocrslim.tasks.detection.distillation import distilled_of_program

        alpha, program = float(section.get("alpha", _ALPHA)), model.program
        return distilled_of_program(program, self._counted(program), alpha)


def _span(centre: float, size: int) -> tuple[int, int]:
    """Start and end of a part of a side of `size` pixels around `centre`."""
    side = min(_PART, max(_STRIDE, size // _STRIDE * _STRIDE), size)
    start = int(min(max(0, centre - side / 2), size - side))
    return start, start + side
