"""Text recognition as a task: an image of a line in, probabilities of characters by steps out, a text in the end."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ocrslim.errors import ConfigError, TrainingError, WeightsError
from ocrslim.tasks.drawing import with_caption
from ocrslim.tasks.input_shape import InputShape
from ocrslim.tasks.line_task import LineTask, other_classes
from ocrslim.tasks.recognition import classes, label_faults, labels
from ocrslim.tasks.recognition.dictionary import (
    characters_of,
    class_count,
    dictionary_name,
    dictionary_text,
    has_dictionary,
    resolved,
)
from ocrslim.tasks.recognition.metric import TextCounts, TextMetric
from ocrslim.tasks.recognition.pixels import calibrated
from ocrslim.tasks.recognition.probe import labels_of, probe_text
from ocrslim.tasks.recognition.schema import DEFAULTS, RECOGNITION
from ocrslim.tasks.recognition.setting import Setting, setting_of
from ocrslim.tasks.recognition.text_code import TextDecoder
from ocrslim.tasks.values import (
    Counts,
    Distilled,
    Label,
    Losses,
    Operator,
    PostProcess,
    Ratio,
    Sample,
    Shapes,
    Size,
    named_outputs,
)

if TYPE_CHECKING:
    from paddle import Tensor

_PART = 160  # pixels of width
_FEATURES = "ctc_neck"  # what the CTC head of a MultiHead reads, which returns it for PaddleOCR's distillations
_CTC_ENCODER = "CTCLabelEncode"
_CLIENT_TRANSFORMS: Mapping[str, Mapping[str, Any]] = {  # as PaddleOCR exports its recognisers, which have two heads
    _CTC_ENCODER: {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
    "KeepKeys": {"KeepKeys": {"keep_keys": ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]}},
}
# Algorithms whose networks take the labels in training: PaddleOCR's tools/program.py has this list.
_TAKES_LABELS = frozenset(
    "SRN NRTR SAR SEED SVTR SVTR_LCNet SPIN VisionLAN RobustScanner RFL SATRN SVTR_HGNet ParseQ CPPD".split()
)
_READS_MORE = {
    "RobustScanner": "the valid part of its width and positions",
    "SRN": "positions and masks of characters",
}


class Reading(NamedTuple):
    """A text that was read, and how sure the network is of it (0..1)."""

    text: str
    score: float


class Recognition(LineTask):
    """Recognisers of all kinds that give one text for an image."""

    model_type = "rec"
    title = "text recognition"
    schema = RECOGNITION
    defaults = DEFAULTS
    usual = InputShape(3, 48, 320, free=True)
    training_only = ("head.sar_head.", "head.gtc_head.", "head.before_gtc.")  # of MultiHead
    export_name = "PP-OCRv4_mobile_rec"
    metrics: ClassVar[Mapping[str, Ratio]] = {"acc": Ratio(1, 0, 1, 2), "norm_edit_dis": Ratio(1, 0, 1, 3)}
    agreement = "exact"
    agreement_metric: ClassVar[Mapping[str, Any]] = {"ignore_space": False, "is_filter": False}
    count_names = ("gt", "pred", "matched", "similarity")
    label_format = labels.FORMAT
    nothing_to_learn = (
        "a text to learn (all are empty, '###', in boxes that are too small, or longer than Global.max_text_length)"
    )
    unlabelled = "no text in {images} images"
    smaller_input = "cut the image to single lines of text"
    scores_empty = False
    predictions_file = "texts.json"

    def __init__(self) -> None:
        super().__init__()
        self._metric, self._setting = TextMetric(), Setting()
        self._takes_labels = self._exported = False

    # configuration

    def complete(self, tree: dict[str, Any]) -> list[str]:
        algorithm, problems = (tree.get("Architecture") or {}).get("algorithm"), []
        if algorithm in _READS_MORE:
            problems.append(
                f"Architecture.algorithm: {algorithm} reads {_READS_MORE[algorithm]} beside the image when it infers, "
                "and networks here get the image alone: choose another recogniser"
            )
        if tree.get("Architecture") and tree.get("PostProcess"):
            try:
                classes.fill_in(tree, class_count(tree.get("Global") or {}, str(tree["PostProcess"]["name"])))
            except ConfigError as error:
                problems += error.problems
        return problems

    def settings_of_model(self, files: Sequence[Path]) -> dict[str, Any]:
        """Return the dictionary that a model brings along."""
        found = next((file for file in files if has_dictionary(file)), None)
        return {} if found is None else {"character_dict_path": str(found)}

    def configured(self, tree: Mapping[str, Any]) -> Recognition:
        task = self.shaped(tree)
        metric = tree.get("Metric") or {}
        task._metric = TextMetric(metric.get("ignore_space", True), metric.get("is_filter", False))
        architecture = tree.get("Architecture") or {}
        task._exported = "program" in architecture
        task._takes_labels = not task._exported and architecture.get("algorithm") in _TAKES_LABELS
        task._setting = setting_of(tree)
        return task

    # labels and images

    def parse_label(self, text: str, delimiter: str) -> Label:
        return labels.parse_text(text.split(delimiter)[0])

    def parse_line(self, text: str, delimiter: str) -> list[Label]:
        return labels.parse_line(text.split(delimiter)[0])

    def target(self, data: Mapping[str, Any], sample: Sample) -> str:
        """Return the text that a network without a fault would read."""
        return self._setting.code(sample.label)

    def check_label(self, sample: Sample, size: Size, turned: bool) -> label_faults.LabelCheck:
        return label_faults.check_label(sample, size, turned, self._setting.known, self.learnable)

    def learnable(self, sample: Sample) -> bool:
        encoder = self._setting.encoder("Train")
        return bool(sample.care) and (encoder is None or encoder.takes(sample.label))

    def remarks(
        self,
        mode: str,
        samples: Sequence[Sample],
        readable: Sequence[Sample],
        checks: Iterable[label_faults.LabelCheck],
    ) -> list[str]:
        settings = self._setting.settings
        dictionary = str(settings.get("character_dict_path") or "PaddleOCR's digits and letters")
        return label_faults.remarks(mode, dictionary, int(settings.get("max_text_length") or 25), checks)

    def describe(self, samples: Sequence[Sample]) -> str:
        return f"{sum(sample.care for sample in samples)} texts"

    def describe_tiny(self, count: int) -> str:
        boxes = "box" if count == 1 else "boxes"
        return f"left out: {count} {boxes} with a side under 3 pixels"

    # transforms

    def build_operator(self, name: str, arguments: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Operator:
        return super().build_operator(name, arguments, resolved(settings))

    def evaluation_operators(self, named: Sequence[tuple[str, Operator]]) -> list[Operator]:
        """Return the operators without the encoder, which gives up long texts; `target` encodes them."""
        return [one for name, one in named if name != "KeepKeys" and not name.endswith("LabelEncode")]

    def resize_to(self, size: Size) -> Operator:
        from ocrslim.ppocr import imaug

        return imaug.RecResizeImg(image_shape=[3, *size])

    def calibration_input(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the line at the usual width: padded on the right, or cut between two characters."""
        return calibrated(image, self.shape.width)

    def part(self, image: np.ndarray, item: Any) -> np.ndarray:
        """Return the beginning of a line; the whole of it where the network takes one size only."""
        return np.ascontiguousarray(image[..., :_PART]) if self.shape.free else image

    # network

    def output(self, result: Any) -> Any:
        """Return the probabilities, [N, T, classes]."""
        if isinstance(result, Mapping):
            result = next((result[name] for name in ("ctc", "head_out") if name in result), next(iter(result.values())))
        return result[-1] if isinstance(result, (list, tuple)) else result

    def weights_fault(self, found: Shapes, expected: Shapes) -> str | None:
        numbers = other_classes(found, expected)
        if numbers is None:
            return None
        return (
            f"they tell {numbers[0]} classes apart, and the dictionary makes {numbers[1]}: name the dictionary that "
            "they were trained with in Global.character_dict_path, and set Global.use_space_char as it was"
        )

    def forward(self, model: Any, batch: Sequence[Tensor]) -> Any:
        """Run a network as it trains, without the outputs that no loss by labels reads: they would fix its channels.

        Raises:
            TrainingError: it takes labels, and the batch has none.
        """
        if self._takes_labels and len(batch) == 1:
            raise TrainingError(
                "Train.dataset.label_file_list: names no labels, which this network takes when it trains: name some, "
                "or train it as an exported file"
            )
        result = model(batch[0], data=list(batch[1:])) if self._takes_labels else model(batch[0])
        return {name: result[name] for name in result if name != _FEATURES} if isinstance(result, Mapping) else result

    def probe_labels(self, tree: Mapping[str, Any]) -> Sequence[np.ndarray]:
        dataset = (tree.get("Train") or {}).get("dataset") or {}
        if not self._takes_labels or not dataset.get("transforms"):
            return ()
        settings = tree.get("Global") or {}
        text = probe_text(characters_of(settings, self._setting.decoder))
        size = self.resize_to(self.shape.probe[2:]) if dataset.get("name") == "MultiScaleDataSet" else None
        build = functools.partial(self.build_operator, settings=settings)
        return labels_of(text, dataset["transforms"], build, size)

    def predictions(self, result: Any) -> dict[str, Any]:
        return named_outputs(result)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], -1, -1)

    # scores

    def post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> PostProcess:
        """PaddleOCR's: probabilities, float32 [1, T, classes], to a `Reading`."""
        decoder = TextDecoder(section, settings)

        def run(output: np.ndarray, shape: np.ndarray) -> Reading:
            if decoder.name == "CTCLabelDecode" and output.shape[-1] != decoder.classes:
                raise WeightsError(_misfit(output.shape[-1], decoder.classes, settings))
            return Reading(*decoder(output))

        return run

    def client_transforms(self, transforms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the transforms with the encoder that PaddleOCR 3 knows; it refuses the others, though it uses none."""
        known = _CLIENT_TRANSFORMS if any(_CTC_ENCODER in entry for entry in transforms) else {}
        return [known.get(name, entry) for entry in transforms for name in entry]

    def client_post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the section with the dictionary in it, to which clients add the space."""
        return {**section, "character_dict": list(self._without_space(settings))}

    def client_files(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return the dictionary, for clients that do not find it in the `inference.yml`."""
        name = dictionary_name(settings.get("character_dict_path"))
        return {name: dictionary_text(self._without_space(settings))}

    def _without_space(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        return characters_of({**settings, "use_space_char": False}, self._setting.decoder)

    def count(self, prediction: Reading, target: str) -> TextCounts:
        return self._metric.count(prediction.text, target)

    def counts_of(self, numbers: Sequence[float]) -> Counts:
        gt, pred, matched, similarity = super().counts_of(numbers)
        if not (gt == pred == 1 and matched in (0, 1)):
            raise ValueError("counts that are not those of one text")
        return TextCounts(1, 1, int(matched), float(similarity))

    # predictions for people

    def label_of(self, prediction: Reading) -> str | None:
        """Return the text."""
        return prediction.text or None

    def to_json(self, prediction: Reading) -> dict[str, Any]:
        """{"text": ..., "score": 0..1}."""
        return {"text": prediction.text, "score": round(prediction.score, 4)}

    def items(self, prediction: Reading) -> list[dict[str, Any]]:
        return [self.to_json(prediction)]

    def draw(self, pixels: np.ndarray, prediction: Reading) -> np.ndarray:
        """Write the text under the image."""
        return with_caption(pixels, f"{prediction.text}  {prediction.score:.2f}")

    def describe_predictions(self, predictions: Sequence[Reading]) -> str:
        return f"{sum(bool(one.text) for one in predictions)} texts"

    # training

    def loss(self, section: Mapping[str, Any]) -> Losses:
        from ocrslim.tasks.recognition.loss import build_exported_loss, build_loss

        return build_exported_loss(section) if self._exported else build_loss(section)

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled | None:
        """Return the steps' probabilities and the features that the last layer reads, for CTC; else None."""
        from ocrslim.tasks.recognition.distillation import distilled, distilled_of_program

        if self._exported:
            return distilled_of_program(model.program, self._counted(model.program))
        return None if model is None else distilled(model)


def _misfit(found: int, expected: int, settings: Mapping[str, Any]) -> str:
    space = " and the space" if settings.get("use_space_char") else ""
    return (
        f"the network tells {found} classes apart, and {settings.get('character_dict_path') or 'no dictionary'}{space} "
        f"make {expected} with the blank: name the dictionary that the weights were trained with in "
        "Global.character_dict_path, and set Global.use_space_char as it was"
    )
