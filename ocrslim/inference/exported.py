"""An exported network, of ocrslim or of others, in the runtime that it was made for."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.formats import (
    ONNX_SUFFIX,
    WeightFile,
    input_sizes,
    is_exported,
    named_network,
    open_onnx,
    require_finite,
    require_image,
)
from ocrslim.inference.engines import Engine, InferenceEngine, check_model
from ocrslim.inference.onnx_engine import OnnxEngine
from ocrslim.inference.outputs import Output, parts_of
from ocrslim.tasks import Task


def is_runnable(source: str | Path) -> bool:
    """Tell whether `open_exported` opens `source`: an exported network, whose runtime is installed."""
    path = named_network(source)
    if path.suffix == ONNX_SUFFIX:
        return importlib.util.find_spec("onnxruntime") is not None
    return is_exported(path)


def open_exported(source: Path | str, task: Task) -> Engine:
    """Open an exported network, written by this or another program: Paddle Inference runs it, or ONNX Runtime.

    Raises:
        WeightsError: it is missing, damaged, or not run here; when it is run, also where its output has another shape
            than the task's.
    """
    path = named_network(source)
    sizes, engine = input_sizes(path), _opened(path)

    def run(image: np.ndarray) -> Output:
        require_image(source, sizes, image.shape)
        found = engine(image)
        require_output(source, task, image, found)
        return found

    return run


def require_output(source: Path | str, task: Task, image: np.ndarray, found: Output) -> None:
    """Require that what a network returned for `image` has the shapes that its task expects.

    Raises:
        WeightsError: it has others.
    """
    arrays, expected = parts_of(found), _shapes(task, image)
    if len(arrays) != len(expected) or not all(map(_fits, arrays, expected)):
        raise WeightsError(
            f"{source}: not a model for {task.title}: for an image of shape {list(image.shape)} it gives "
            f"{', '.join(f'{one.dtype} {list(one.shape)}' for one in arrays)}, expected "
            f"{', '.join(f'float32 {list(shape)}' for shape in expected)}: name an exported model of that kind"
        )


def _opened(path: Path) -> Engine:
    if path.suffix != ONNX_SUFFIX:
        return InferenceEngine(path)
    check_exported(path)
    return OnnxEngine(path)


def check_exported(path: Path) -> None:
    """Check all that can be seen of a network from elsewhere without running it.

    Args:
        path: its file.

    Raises:
        WeightsError: it is damaged, or holds what is not run here.
    """
    if path.suffix != ONNX_SUFFIX:
        check_model(path)
        return
    model = open_onnx(path, quantised=True)  # which opens no other file that it names
    masks = {name for name, array in model.constants.items() if array.dtype.kind == "f" and np.isneginf(array).any()}
    require_finite(WeightFile(path, "onnx", {key: model.constants[key] for key in model.constants.keys() - masks}))


def _shapes(task: Task, image: np.ndarray) -> list[Sequence[int]]:
    """Return the shape of each output that the task expects."""
    shape: Any = task.output_shape(image.shape)
    return list(shape) if isinstance(shape[0], Sequence) else [shape]


def _fits(array: np.ndarray, expected: Sequence[int]) -> bool:
    same = array.ndim == len(expected) and all(e in (-1, f) for e, f in zip(expected, array.shape))
    return same and array.dtype == np.float32
