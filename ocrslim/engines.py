"""Ways to run a detector: image in, shrink map out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import WeightsError
from ocrslim.weight_files import read_weight_file

MODEL_FILES = ("inference.pdmodel", "inference.json")
PARAMS_FILE = "inference.pdiparams"


class Engine(Protocol):
    """Runs the network: float32 [N, 3, H, W] -> shrink map, float32 [N, 1, H, W]."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class DygraphEngine:
    """The network as Paddle runs it eagerly: the reference for every other engine."""

    def __init__(self, model: nn.Layer):
        """`model` is put into eval mode at every call."""
        self._model = model

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self._model.eval()
        with paddle.no_grad():
            return self._model(paddle.to_tensor(image))["maps"].numpy()


class InferenceEngine:
    """An exported folder through Paddle Inference, on the CPU."""

    def __init__(self, folder: Path | str, threads: int = 1, onednn: bool = False):
        """
        Args:
            folder: holds `inference.pdmodel` (legacy) or `inference.json` (PIR) and `inference.pdiparams`.
            threads: CPU threads of the predictor.
            onednn: use oneDNN's kernels; several times faster, equal up to rounding.

        Raises:
            WeightsError: the folder holds no such model, or Paddle cannot load it.
        """
        from paddle import inference

        model = find_inference_model(folder)
        read_weight_file(folder)  # Paddle ends the process on a damaged file, so it is read here first
        config = inference.Config(str(model), str(Path(folder) / PARAMS_FILE))
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        if onednn:
            config.enable_mkldnn()
        else:  # on by default since Paddle 3
            config.disable_mkldnn()
        try:
            self._predictor = inference.create_predictor(config)
        except Exception as error:  # Paddle raises many types for a damaged file
            raise WeightsError(
                f"{model}: Paddle Inference cannot load it ({_first_line(error)}): export it again"
            ) from None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        feed = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        feed.reshape(image.shape)
        feed.copy_from_cpu(np.ascontiguousarray(image, dtype=np.float32))
        self._predictor.run()
        return self._predictor.get_output_handle(self._predictor.get_output_names()[0]).copy_to_cpu()


def is_inference_folder(path: Path | str) -> bool:
    """Whether `path` is a folder with an exported model in it."""
    return any((Path(path) / name).is_file() for name in MODEL_FILES)


def find_inference_model(folder: Path | str) -> Path:
    """The model file of an exported folder.

    Raises:
        WeightsError: model or parameters are missing.
    """
    folder = Path(folder)
    found = [folder / name for name in MODEL_FILES if (folder / name).is_file()]
    if not found or not (folder / PARAMS_FILE).is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
        raise WeightsError(
            f"{folder}: no exported model: expected {' or '.join(MODEL_FILES)} and {PARAMS_FILE}, "
            f"found: {there or 'nothing'}; export one with export_prune_model.py"
        )
    return found[0]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
