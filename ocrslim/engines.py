"""Ways to run a detector: image in, shrink map out."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import WeightsError, last_line
from ocrslim.weight_files import read_weight_file

logger = logging.getLogger(__name__)

LEGACY_MODEL, PIR_MODEL = MODEL_FILES = ("inference.pdmodel", "inference.json")
PARAMS_FILE = "inference.pdiparams"
# the kernels that an InferenceEngine runs: Paddle's own, oneDNN's, or oneDNN's only in layers that Paddle fuses for it
PLAIN, ONEDNN, ONEDNN_FUSED = "paddle_inference", "paddle_inference_onednn", "paddle_inference_onednn_fused"


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
    """An exported folder through Paddle Inference, on the CPU.

    Some versions of Paddle load a model for oneDNN and fail to run it (3.3.1: `inference.json` with an
    upsampling layer). So the first image decides which kernels run: oneDNN's throughout, else oneDNN's in
    fused layers only, else Paddle's own. What is given up is said once in a process.

    Attributes:
        kernels: `PLAIN`, `ONEDNN` or `ONEDNN_FUSED`; settled by the first image.
    """

    def __init__(self, folder: Path | str, threads: int = 1, onednn: bool = False):
        """
        Args:
            folder: holds `inference.pdmodel` (legacy) or `inference.json` (PIR) and `inference.pdiparams`.
            threads: CPU threads of the predictor.
            onednn: use oneDNN's kernels where they run; several times faster, equal up to rounding.

        Raises:
            WeightsError: the folder holds no such model, or Paddle cannot load it.
        """
        self._model = find_inference_model(folder)
        self._threads = threads
        read_weight_file(folder)  # Paddle ends the process on a damaged file, so it is read here first
        self.kernels = ONEDNN if onednn else PLAIN
        self._others = [ONEDNN_FUSED, PLAIN] if onednn else []
        self._predictor = self._load()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Run the model.

        Raises:
            WeightsError: Paddle cannot run it on this image.
        """
        try:
            found = self._run(image)
        except Exception as error:  # Paddle raises many types
            if not self._others:
                raise self._error(f"cannot run it on an image of shape {list(image.shape)}", error) from None
            self._fall_back(error)
            return self(image)
        self._others = []
        return found

    def _load(self) -> Any:
        from paddle import inference

        config = inference.Config(str(self._model), str(self._model.with_name(PARAMS_FILE)))
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(self._threads)
        if self.kernels == PLAIN:  # oneDNN is on by default since Paddle 3
            config.disable_mkldnn()
        else:
            config.enable_mkldnn()
        if self.kernels == ONEDNN_FUSED:
            config.delete_pass("onednn_placement_pass")
        try:
            return inference.create_predictor(config)
        except Exception as error:  # Paddle raises many types for a damaged file
            raise self._error("cannot load it", error) from None

    def _run(self, image: np.ndarray) -> np.ndarray:
        names = self._predictor.get_input_names(), self._predictor.get_output_names()
        if not all(names):
            raise ValueError("it has no input or no output")
        feed = self._predictor.get_input_handle(names[0][0])
        feed.reshape(image.shape)
        feed.copy_from_cpu(np.ascontiguousarray(image, dtype=np.float32))
        self._predictor.run()
        return self._predictor.get_output_handle(names[1][0]).copy_to_cpu()

    def _fall_back(self, error: Exception) -> None:
        failed, self.kernels = self.kernels, self._others.pop(0)
        self._predictor = self._load()
        _say_once(
            f"paddlepaddle {paddle.__version__} cannot run {self._model.name} with the kernels {failed} "
            f"({last_line(error)}): {self.kernels} runs instead, slower and as exact"
        )

    def _error(self, what: str, error: Exception) -> WeightsError:
        return WeightsError(
            f"{self._model}: Paddle Inference {what} ({last_line(error)}): export it again; "
            f"what a newer paddlepaddle wrote may need that version (this is {paddle.__version__})"
        )


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


@functools.cache
def _say_once(text: str) -> None:
    logger.warning(text)
