"""The calls with which other programs run an export, every setting that differs from their defaults in them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.export.formats.lite import LITE
from ocrslim.export.formats.onnx import ONNX, ONNX_MODEL
from ocrslim.export.formats.paddle import LEGACY, PIR
from ocrslim.export.settings import client_settings

Settings = Mapping[str, Any]
# model type -> prefix in PaddleOCR 2 and RapidOCR, class of PaddleOCR 3, prefix in its pipeline
_NAMES = {
    "det": ("det", "TextDetection", "text_detection"),
    "rec": ("rec", "TextRecognition", "text_recognition"),
    "cls": ("cls", "TextLineOrientationClassification", "textline_orientation"),
}
_OPENCV = ("det", "cls")  # it does not read the reshapes of recognisers
_CLASSES = ["0", "180"]
_MODULES = {"cls": "textline_orientation_classification"}  # of PaddleOCR 3's command line, where it is another name


def client_calls(config: Config, files: Mapping[str, Path]) -> dict[str, str]:
    """Return the calls by program, for those that read one of the formats.

    Args:
        files: format -> the file that holds its network.
    """
    settings, kind = client_settings(config), config.task.model_type
    paddle = next((files[each] for each in (PIR, LEGACY) if each in files), None)
    calls: dict[str, str] = {}
    if kind in _NAMES:
        if LEGACY in files:
            calls |= _paddleocr_2(kind, files[LEGACY].parent, settings, config)
            calls |= _rapidocr_paddle(kind, files[LEGACY].parent, settings, config)
        if paddle is not None:
            calls |= _paddleocr_3(kind, paddle.parent, settings)
        if ONNX in files:
            calls |= _paddleocr_3_onnx(kind, files[ONNX], settings) | _rapidocr(kind, files[ONNX], settings, config)
    calls |= _runtimes(files, paddle)
    if ONNX in files and kind in _OPENCV:
        calls["OpenCV"] = f"cv2.dnn.readNetFromONNX({_text(files[ONNX])})"
    return calls


def _runtimes(files: Mapping[str, Path], paddle: Path | None) -> dict[str, str]:
    """Return the calls of programs that run any network."""
    calls: dict[str, str] = {}
    if paddle is not None:
        named = f"{_text(paddle)}, {_text(paddle.with_suffix('.pdiparams'))}"
        calls["Paddle Inference"] = f"paddle.inference.create_predictor(paddle.inference.Config({named}))"
    if ONNX in files:
        calls["ONNX Runtime"] = f"onnxruntime.InferenceSession({_text(files[ONNX])})"
        calls["ONNX Runtime, Node"] = f"ort.InferenceSession.create({_text(files[ONNX])})"
    readable = next((files[each] for each in (LEGACY, ONNX) if each in files), None)
    if readable is not None:  # without the hint it computes in bfloat16 where it can
        exact = '"CPU", {"INFERENCE_PRECISION_HINT": "f32"}'
        calls["OpenVINO"] = f"openvino.Core().compile_model({_text(readable)}, {exact})"
    if LITE in files:
        calls["Paddle Lite"] = f"MobileConfig().set_model_from_file({_text(files[LITE])})"
    return calls


def _paddleocr_2(kind: str, folder: Path, settings: Settings, config: Config) -> dict[str, str]:
    """PaddleOCR 2.10; what it does not run itself, such as recognition beside a detector, it downloads."""
    given: dict[str, Any] = {f"{_NAMES[kind][0]}_model_dir": str(folder)}
    parts = ""
    if kind == "det":
        post = settings["PostProcess"]
        given |= {f"det_{name}": value for name, value in _limits(settings).items()}
        names = {"thresh": "det_db_thresh", "box_thresh": "det_db_box_thresh", "unclip_ratio": "det_db_unclip_ratio"}
        names |= {"use_dilation": "use_dilation", "score_mode": "det_db_score_mode", "box_type": "det_box_type"}
        given |= {argument: post[name] for name, argument in names.items() if name in post}
        parts = ", rec=False, cls=False"
    elif kind == "rec":
        given |= {"rec_char_dict_path": _dictionary(folder, config), "rec_image_shape": _sides(config)}
        given["use_space_char"] = bool(config.get("Global.use_space_char", False))
        parts = ", det=False, cls=False"
    else:
        given |= {"use_angle_cls": True, "cls_image_shape": _sides(config), **_classes(settings)}
        parts = ", det=False, rec=False"
    words = " ".join(f"--{name} {_word(value)}" for name, value in given.items() if value is not False)
    rest = "".join(f" --{part.replace('=', ' ').lower()}" for part in parts.split(", ")[1:] if "cls" not in part)
    return {
        "paddleocr 2.10": f'PaddleOCR({_arguments(given)}).ocr("image.jpg"{parts})',
        "paddleocr 2.10, command line": f"paddleocr --image_dir image.jpg {words}{rest}",
    }


def _paddleocr_3(kind: str, folder: Path, settings: Settings) -> dict[str, str]:
    _, name, prefix = _NAMES[kind]
    given = {"model_name": settings["Global"]["model_name"], "model_dir": str(folder)}
    tuned = _tuned(kind, settings)
    words = " ".join(f"--{each} {_word(value)}" for each, value in {**given, **tuned}.items())
    pipeline = {f"{prefix}_{each}": value for each, value in given.items()}
    pipeline |= {f"text_det_{each}": value for each, value in tuned.items()}
    return {
        "paddleocr 3": f'{name}({_arguments({**given, **tuned})}).predict("image.jpg")',
        "paddleocr 3, command line": f"paddleocr {_MODULES.get(kind, prefix)} -i image.jpg {words}",
        "paddleocr 3, pipeline": f'PaddleOCR({_arguments(pipeline)}).predict("image.jpg")',
    }


def _paddleocr_3_onnx(kind: str, file: Path, settings: Settings) -> dict[str, str]:
    if file.name != ONNX_MODEL:  # of a network from a file that has another name
        return {}
    given = {"model_name": settings["Global"]["model_name"], "model_dir": str(file.parent), "engine": "onnxruntime"}
    call = f'{_NAMES[kind][1]}({_arguments({**given, **_tuned(kind, settings)})}).predict("image.jpg")'
    return {"paddleocr 3, ONNX Runtime": call}


def _rapidocr(kind: str, file: Path, settings: Settings, config: Config) -> dict[str, str]:
    """RapidOCR 3; its other parts are its own."""
    prefix = _NAMES[kind][0].capitalize()
    given = {"model_path": str(file), **_rapid(kind, file.parent, settings, config)}
    named = ", ".join(f"{_text(f'{prefix}.{name}')}: {_value(value)}" for name, value in given.items())
    return {"rapidocr 3": f'RapidOCR(params={{{named}}})("image.jpg", {_arguments(_parts(kind))})'}


def _rapidocr_paddle(kind: str, folder: Path, settings: Settings, config: Config) -> dict[str, str]:
    """The last RapidOCR on Paddle's own files, 1.4; its other parts are its own."""
    prefix = f"{_NAMES[kind][0]}_"
    given = {"model_path": str(folder), **_rapid(kind, folder, settings, config)}
    named = {name if name.startswith(prefix) else prefix + name: value for name, value in given.items()}
    return {"rapidocr-paddle 1.4": f'RapidOCR({_arguments(named)})("image.jpg", {_arguments(_parts(kind))})'}


def _rapid(kind: str, folder: Path, settings: Settings, config: Config) -> dict[str, Any]:
    """Return what either RapidOCR is told of a network, beside where it is."""
    sides = list(config.task.nominal_shape[1:])
    if kind == "rec":
        return {"rec_img_shape": sides, "rec_keys_path": _dictionary(folder, config)}
    if kind == "cls":
        return {"cls_image_shape": sides, **_classes(settings)}
    post, normalised = settings["PostProcess"], _options(settings, "NormalizeImage")
    names = ("thresh", "box_thresh", "max_candidates", "unclip_ratio", "use_dilation", "score_mode")
    return {
        **_limits(settings),
        **{name: normalised[name] for name in ("mean", "std") if name in normalised},
        **{name: post[name] for name in names if name in post},
    }


def _parts(kind: str) -> dict[str, bool]:
    """Return which parts RapidOCR is to run."""
    return {f"use_{part}": part == kind for part in ("det", "cls", "rec")}


def _tuned(kind: str, settings: Settings) -> dict[str, Any]:
    """The arguments of PaddleOCR 3's detectors: it takes no `min` from the `inference.yml`."""
    if kind != "det":
        return {}
    post = settings["PostProcess"]
    return {
        **_limits(settings),
        **{name: post[name] for name in ("thresh", "box_thresh", "unclip_ratio") if name in post},
    }


def _limits(settings: Settings) -> dict[str, Any]:
    options = _options(settings, "DetResizeForTest")
    return {name: options[name] for name in ("limit_side_len", "limit_type") if name in options}


def _options(settings: Settings, transform: str) -> Settings:
    transforms = settings["PreProcess"]["transform_ops"]
    return next((entry[transform] or {} for entry in transforms if transform in entry), {})


def _classes(settings: Settings) -> dict[str, Any]:
    """The names of the classes, where they are not those that everybody takes them to be."""
    names = list(settings["PostProcess"]["Topk"]["label_list"])
    return {} if names == _CLASSES else {"label_list": names}


def _dictionary(folder: Path, config: Config) -> str:
    (name,) = config.task.client_files(config.section("Global"))
    return str(folder / name)


def _sides(config: Config) -> str:
    return ",".join(str(size) for size in config.task.nominal_shape[1:])


def _arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in given.items())


def _value(value: Any) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: object) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _word(value: Any) -> str:
    """Return a value for a shell."""
    return shlex.quote(str(value))
