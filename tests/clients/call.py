"""Make the call that an export names for a client, in the client's own environment: python call.py < JSON

The JSON has the name of the `client`, its `call`, an `image` (a file) and its `input` (the same, preprocessed, .npy).
What the client gives is the last line printed: boxes or texts as JSON, of a runtime the output, saved as `output`.
Needs nothing of ocrslim.
"""

import importlib
import json
import os
import sys

import numpy as np

os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"  # it looks for hosts on the network


def made(call, module):
    """Evaluate a call of a class or function in a module."""
    importlib.import_module(module)
    top, first = module.split(".")[0], call.split("(")[0]
    names = {top: sys.modules[top]}
    if "." not in first:
        names[first] = getattr(sys.modules[module], first)
    return eval(call, names)


def plain(value):
    return np.asarray(value, dtype=object if isinstance(value, str) else None).tolist()


def of_paddleocr_3(call, image):
    (found,) = list(made(call, "paddleocr"))
    for key in ("dt_polys", "rec_text", "class_ids", "rec_texts"):
        if key in found:
            return plain(found[key])
    return None


def of_paddleocr_2(call, image):
    (found,) = made(call, "paddleocr")
    return [plain(line) if np.ndim(line) == 2 else line[0] for line in found]


def of_rapidocr(call, image):
    found = made(call, "rapidocr")
    if hasattr(found, "boxes"):
        return [] if found.boxes is None else plain(found.boxes)
    return list(found.txts or [])


def of_onnxruntime(call, image):
    session = made(call, "onnxruntime")
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def of_openvino(call, image):
    return made(call, "openvino")(image)[0]


def of_paddle(call, image):
    predictor = made(call, "paddle.inference")
    feed = predictor.get_input_handle(predictor.get_input_names()[0])
    feed.copy_from_cpu(image)
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


CLIENTS = {
    "paddleocr 2.10": of_paddleocr_2,
    "paddleocr 3": of_paddleocr_3,
    "paddleocr 3, ONNX Runtime": of_paddleocr_3,
    "rapidocr 3": of_rapidocr,
    "ONNX Runtime": of_onnxruntime,
    "OpenVINO": of_openvino,
    "Paddle Inference": of_paddle,
}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    result = CLIENTS[asked["client"]](asked["call"].replace("image.jpg", asked["image"]), np.load(asked["input"]))
    if isinstance(result, np.ndarray):
        np.save(asked["output"], result)
        result = None
    print("\n" + json.dumps(result))
