"""Make the call that an export names for a client, in the client's own environment: python call.py < JSON

The JSON has the name of the `client`, its `call`, an `image` (a file) and its `input` (the same, preprocessed, .npy).
What the client gives is the last line printed: boxes or texts as JSON, of a runtime the output, saved as `output`.
Needs nothing of ocrslim.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"  # it looks for hosts on the network

NODE = str(Path(__file__).parents[2] / "build/clients/node")


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
    for key in ("rec_texts", "rec_text", "class_ids", "dt_polys"):
        if key in found:
            return plain(found[key])
    return None


def of_paddleocr_2(call, image):
    (found,) = made(call, "paddleocr")
    return found


def of_rapidocr(call, image):
    found = made(call, "rapidocr")
    texts, boxes = getattr(found, "txts", None), getattr(found, "boxes", None)
    return list(texts) if texts is not None else [] if boxes is None else plain(boxes)


def of_rapidocr_paddle(call, image):
    found, _ = made(call, "rapidocr_paddle")
    return found


def of_onnxruntime(call, image):
    session = made(call, "onnxruntime")
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def of_node(call, image):
    with tempfile.TemporaryDirectory() as place:
        given, output = Path(place, "input.bin"), Path(place, "output.bin")
        given.write_bytes(np.ascontiguousarray(image).tobytes())
        script = str(Path(__file__).parent / "node/run.mjs")
        words = ["node", script, NODE, call, str(given), json.dumps(list(image.shape)), str(output)]
        shape = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
        return np.frombuffer(output.read_bytes(), np.float32).reshape(shape)


def of_openvino(call, image):
    return made(call, "openvino")(image)[0]


def of_opencv(call, image):
    network = made(call, "cv2")
    network.setInput(image)
    return network.forward()


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
    "paddleocr 3, pipeline": of_paddleocr_3,
    "rapidocr 3": of_rapidocr,
    "rapidocr-paddle 1.4": of_rapidocr_paddle,
    "ONNX Runtime": of_onnxruntime,
    "ONNX Runtime, Node": of_node,
    "OpenCV": of_opencv,
    "OpenVINO": of_openvino,
    "Paddle Inference": of_paddle,
}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    result = CLIENTS[asked["client"]](asked["call"].replace("image.jpg", asked["image"]), np.load(asked["input"]))
    if isinstance(result, np.ndarray):
        np.save(asked["output"], result)
        result = None
    print("\n" + json.dumps(result, default=lambda value: value.tolist()))
