"""One part of the benchmark of real models that no command of ocrslim does, in a process of its own.

    python benchmarks/real_models_part.py images --task det|rec [...]
    python benchmarks/real_models_part.py score|client|time [...] MODEL --task det|rec|cls -o Section.key=value ...

Started by `benchmarks/real_models.py`; the last line on standard output is the answer, as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accuracy_ledger as ledger
import numpy as np
from accuracy_data import SHARED
from accuracy_part import Answer, in_turns
from labelled_images import labelled, place
from machine import die_with_parent
from paths import REPO
from real_models_plan import CALIBRATION, CHOICE, CLASSIFICATION, DETECTION, RECOGNITION, TIME, TRAINING

COLUMNS = {
    DETECTION: ("receipt", "boxes", "found", "matched"),
    RECOGNITION: ("receipt", "lines", "read", "read_no_case", "read_no_case_spaces", "similarity_no_case"),
}
_SHAPES = {DETECTION: (1, 3, 736, 1280), RECOGNITION: (1, 3, 48, 320)}
_CHECKED = 4  # images that the runtime's output is compared on
_WARM_UP = 3
_LARGE_EDGE = 960  # the longer side of an image, in the client as here


def main() -> int:
    """Do what the command line says."""
    die_with_parent()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocrslim").setLevel(logging.INFO)
    options = parse()

    from ocrslim.errors import EXIT_CODE, OcrSlimError
    from ocrslim.utils.paddle_setup import import_paddle

    import_paddle(training=False)
    try:
        answer = options.work(options)
    except (OcrSlimError, ledger.AlreadyScored) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    print(json.dumps(answer), flush=True)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    works: dict[str, Callable[[argparse.Namespace], Answer]] = {
        "images": images,
        "score": score,
        "client": client,
        TIME: time,
    }
    for name, work in works.items():
        part = parts.add_parser(name)
        part.set_defaults(work=work)
        part.add_argument("--task", required=True)
        if name == "images":
            for label in ("train", "select", "to"):
                part.add_argument(f"--{label}", type=Path, required=True)
            for count in (CALIBRATION, CHOICE):
                part.add_argument(f"--{count}", type=int, required=True, help="images")
            part.add_argument(f"--{TRAINING}", type=int, help="images; all by default")
            continue
        part.add_argument("model", type=Path)
        part.add_argument("-o", "--opt", nargs="+", default=[])
        if name == "score":
            part.add_argument("--name", required=True, help="of the network, in the ledger")
            part.add_argument("--ledger", type=Path, required=True)
            part.add_argument("--test", type=Path, required=True, help="label file")
            part.add_argument("--again", action="store_true", help="though another network had this name")
        elif name == "client":
            part.add_argument("--receipts", type=int, required=True)
            part.add_argument("--first", type=Path, required=True, help="label file to write them to")
            part.add_argument("--client-model", type=Path, required=True, help="the same network as an ONNX file")
        else:
            part.add_argument("--pruned", type=Path, required=True)
            part.add_argument("--passes", type=int, required=True)
    return parser.parse_args()


def configuration(options: argparse.Namespace) -> Any:
    """The configuration of a model that has none."""
    from ocrslim.config import load_model_config

    return load_model_config(options.model, None, options.opt, options.task)


def images(options: argparse.Namespace) -> Answer:
    """Images without labels: receipts, or lines cut out of them, to calibrate, to train and to choose on.

    Of what there is, each has so many, evenly from all of it; training all where no number is given.
    """
    made = {}
    for name, labels, count in (
        (CALIBRATION, options.train, options.calibration),
        (CHOICE, options.select, options.choice),
        (TRAINING, options.train, options.training),
    ):
        folder = options.to / name
        folder.mkdir(parents=True, exist_ok=True)
        found = list(labelled(labels, options.task))
        chosen = found if count is None else [found[at] for at in _evenly(len(found), count)]
        for number, (image, outline, _) in enumerate(chosen):
            suffix = Path(image).suffix if outline is None else ".png"
            place(REPO / SHARED / "sroie/images" / image, outline, folder / f"{number:05d}{suffix}")
        made[name] = len(chosen)
    return {"images": made}


def _evenly(total: int, count: int) -> list[int]:
    return sorted({int(at) for at in np.linspace(0, total - 1, min(total, count))})


def score(options: argparse.Namespace) -> Answer:
    """A network in its own runtime on the validation and the test images; the ledger knows before test is read."""
    from ocrslim.formats import exported_files

    config = configuration(options)
    files = exported_files(options.model)
    weights = _digest(files)
    engine = runtime(options.model)
    select = scored(engine, config)
    ledger.begin(options.ledger, options.name, weights, options.again)
    test = scored(engine, config.changed({"Eval.dataset.label_file_list": [str(options.test)]}))
    ledger.finish(options.ledger, options.name, weights)
    return {"select": select, "test": test, "weights": weights, "bytes": sum(file.stat().st_size for file in files)}


def runtime(model: Path) -> Any:
    """The engine of the format: Paddle Inference with oneDNN, or ONNX Runtime; one thread."""
    from ocrslim.inference import InferenceEngine, OnnxEngine

    return InferenceEngine(model, onednn=True) if model.is_dir() else OnnxEngine(model)


def _digest(files: Any) -> str:
    import hashlib

    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def scored(engine: Any, config: Any, most: int | None = None) -> Answer:
    """Counts of each receipt in the order of `COLUMNS`, and the score: hmean, or lines read without case and spaces."""
    from ocrslim.data.eval_set import EvalSet, scan_evaluation
    from ocrslim.evaluation import post_processor

    found, decode = EvalSet(scan_evaluation(config), config), post_processor(config)

    def read() -> Iterator[tuple[str, tuple[float, ...]]]:
        for index in range(len(found)):
            item = found[index]
            result = decode(engine(found.image(index)), item.shape)
            if hasattr(result, "text"):
                yield item.path.name, compared(result.text, item.target)
            else:
                yield item.path.name, tuple(config.task.count(result, item.target))

    return summed(read())


def summed(counts: Iterator[tuple[str, tuple[float, ...]]]) -> Answer:
    """Counts of items as rows of receipts, and the score."""
    rows: dict[str, list[float]] = {}
    for name, one in counts:
        row = rows.setdefault(name, [0] * len(one))
        row[:] = [sum(pair) for pair in zip(row, one)]
    receipts = [[name, *(round(value, 6) for value in row)] for name, row in rows.items()]
    return {"receipts": receipts, "score": share(receipts)}


def share(receipts: list[list[Any]]) -> float:
    """hmean of boxes; of lines, the share that is read, without case and spaces."""
    totals = np.sum([row[1:] for row in receipts], axis=0)
    if len(totals) == len(COLUMNS[DETECTION]) - 1:
        return float(2 * totals[2] / max(1, totals[0] + totals[1]))
    return float(totals[2] / totals[0])


def compared(found: str, expected: str) -> tuple[float, ...]:
    """Counts of one line: 1; read, without spaces; so and without case; without case; similarity, without both."""
    from ocrslim.tasks.recognition.metric import TextMetric

    spaceless, strict = TextMetric(ignore_space=True), TextMetric(ignore_space=False)
    no_case = spaceless.count(found.lower(), expected.lower())
    exact, spaces = spaceless.count(found, expected), strict.count(found.lower(), expected.lower())
    return (1, exact.matched, no_case.matched, spaces.matched, no_case.similarity)


def client(options: argparse.Namespace) -> Answer:
    """The unpruned network as rapidocr runs it, beside ours, on the first receipts of the validation images.

    The client gets the settings that a model without a configuration gets here. Ours is the network that is pruned:
    what was read from the file, as layers; `difference` is that of its output to the file's own runtime.
    """
    from ocrslim.data.eval_set import EvalSet, scan_evaluation
    from ocrslim.inference import DygraphEngine
    from ocrslim.pruning import load_network

    config = configuration(options)
    labels = Path(config.section("Eval")["dataset"]["label_file_list"][0])
    few = options.first.resolve()
    few.parent.mkdir(parents=True, exist_ok=True)
    few.write_text("".join(labels.read_text(encoding="utf-8").splitlines(keepends=True)[: options.receipts]))
    config = config.changed({"Eval.dataset.label_file_list": [str(few)]})
    if options.task == CLASSIFICATION:
        config = config.changed(_turned_lines(few))
    labelled = scan_evaluation(config)
    found, ours = EvalSet(labelled, config), DygraphEngine(load_network(config).model)
    own = runtime(options.model)
    pictures = [found.image(index) for index in _evenly(len(found), _CHECKED)]
    apart = [float(np.abs(np.asarray(ours(one)) - np.asarray(own(one))).max()) for one in pictures]
    theirs = {DETECTION: _boxes, RECOGNITION: _texts, CLASSIFICATION: _classes}[options.task](
        options.client_model, labelled.samples, found, config
    )
    return {"ours": scored(ours, config)["score"], "client": summed(theirs)["score"], "difference": apart}


def _turned_lines(labels: Path) -> dict[str, Any]:
    """Write the lines of a detector's labels, upright and turned around; the settings that read them."""
    import cv2

    folder, known = labels.parent / "lines", []
    folder.mkdir(exist_ok=True)
    for number, (image, outline, _) in enumerate(labelled(labels, RECOGNITION)):
        upright, turned = folder / f"{number:05d}_0.png", folder / f"{number:05d}_180.png"
        place(REPO / SHARED / "sroie/images" / image, outline, upright)
        cv2.imwrite(str(turned), cv2.rotate(cv2.imread(str(upright)), cv2.ROTATE_180))
        known += [f"{upright.name}\t0\n", f"{turned.name}\t180\n"]
    file = folder / "labels.txt"
    file.write_text("".join(known), encoding="utf-8")
    return {"Eval.dataset.data_dir": str(folder), "Eval.dataset.label_file_list": [str(file)]}


def _boxes(model: Path, samples: Any, found: Any, config: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    import cv2
    from rapidocr_onnxruntime.ch_ppocr_v3_det import TextDetector

    section = config.section("PostProcess")
    settings = {name: section[name] for name in ("thresh", "box_thresh", "max_candidates", "unclip_ratio")}
    resized = {"limit_side_len": _LARGE_EDGE, "limit_type": "max", "use_dilation": False, "score_mode": "fast"}
    detect = TextDetector({"model_path": str(model), "use_cuda": False, **settings, **resized})
    for index, sample in enumerate(samples):
        boxes, _ = detect(cv2.imread(str(sample.path)))
        item = found[index]
        yield sample.path.name, tuple(config.task.count([np.asarray(box, np.float32) for box in boxes], item.target))


def _texts(model: Path, samples: Any, found: Any, config: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    import cv2
    from rapidocr_onnxruntime.ch_ppocr_v3_rec import TextRecognizer

    from ocrslim.data.samples import cut_out

    read = TextRecognizer(
        {"model_path": str(model), "use_cuda": False, "rec_batch_num": 1, "rec_img_shape": [3, 48, 320]}
    )
    for index, sample in enumerate(samples):
        [(text, _)], _ = read([cut_out(cv2.imread(str(sample.path)), sample.outline)])
        yield sample.path.name, compared(text, found[index].target)


def _classes(model: Path, samples: Any, found: Any, config: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    import cv2
    from rapidocr_onnxruntime.ch_ppocr_v2_cls import TextClassifier

    settings = {"cls_image_shape": [3, 48, 192], "cls_batch_num": 1, "cls_thresh": 0.9, "label_list": ["0", "180"]}
    classify = TextClassifier({"model_path": str(model), "use_cuda": False, **settings})
    for index, sample in enumerate(samples):
        _, [(name, _)], _ = classify([cv2.imread(str(sample.path))])
        yield sample.path.name, (1, 1, int(name == found[index].target))


def time(options: argparse.Namespace) -> Answer:
    """Milliseconds of the CPU for a pass of the pruned and the unpruned network in their own runtime, in turns."""
    from time import process_time

    from ocrslim.inference.latency import times_in_turns

    shape = _SHAPES[options.task]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    engines = [runtime(options.model), runtime(options.pruned)]
    times = times_in_turns(engines, image, options.passes, _WARM_UP, process_time)
    return {"shape": list(shape), **in_turns(*times), "least": [min(one) for one in times]}


if __name__ == "__main__":
    sys.exit(main())
