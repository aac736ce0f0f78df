"""Ways to run a network: image in, output out."""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import RuntimeStartError, WeightsError
from ocrslim.formats import check_program, exported_files, read_weight_file, require_finite
from ocrslim.inference.first_load import check_first_load
from ocrslim.inference.outputs import Output, output_from, tensors_of
from ocrslim.inference.predictor import (
    ONEDNN,
    ONEDNN_FUSED,
    PARAMS_FILE,
    PLAIN,
    open_predictor,
    params_of,
    run_predictor,
)
from ocrslim.models import output_of
from ocrslim.utils import cause_of, start_fault

__all__ = [
    "LEGACY_MODEL",
    "ONEDNN",
    "ONEDNN_FUSED",
    "PARAMS_FILE",
    "PIR_MODEL",
    "PLAIN",
    "DygraphEngine",
    "Engine",
    "InferenceEngine",
]

logger = logging.getLogger(__name__)

LEGACY_MODEL, PIR_MODEL = "inference.pdmodel", "inference.json"


class Engine(Protocol):
    """Runs the network: float32 [N, C, H, W] -> its output, such as a detector's shrink map, float32 [N, 1, H, W].

    Several outputs are a tuple.
    """

    def __call__(self, image: np.ndarray) -> Output: ...


class DygraphEngine:
    """The network as Paddle runs it eagerly: the reference for every other engine."""

    def __init__(self, model: nn.Layer):
        """`model` is put into eval mode at every call."""
        self._model = model

    def __call__(self, image: np.ndarray) -> Output:
        self._model.eval()
        with paddle.no_grad():
            result = output_of(self._model, self._model(paddle.to_tensor(image)))
        return output_from([tensor.numpy() for tensor in tensors_of(result)])


class InferenceEngine:
    """An exported folder through Paddle Inference, on the CPU.

    Some versions of Paddle load a model for oneDNN and fail to run it (3.3.1: `inference.json` with an
    upsampling layer). So the first image decides which kernels run: oneDNN's throughout, else oneDNN's in
    fused layers only, else Paddle's own. What is given up is said once in a process.

    Attributes:
        kernels: `PLAIN`, `ONEDNN` or `ONEDNN_FUSED`; chosen at the first image.
    """

    def __init__(
        self, folder: Path | str, threads: int = 1, onednn: bool = False, own: bool = False, as_client: bool = False
    ):
        """
        Args:
            folder: holds a `.pdmodel` (legacy) or `.json` (PIR) with its `.pdiparams`; or one of these files.
            threads: CPU threads of the predictor.
            onednn: use oneDNN's kernels where they run; several times faster, equal up to rounding.
            own: this process has just written the model. Any other is checked and loaded elsewhere first, as Paddle
                ends the process on what is damaged, and runs whatever a program holds.
            as_client: let values of a legacy program share memory, as PaddleOCR's clients do: half of it, as fast. (Of
                PIR programs, Paddle 3.1 to 3.3 fail that way.)

        Raises:
            RuntimeStartError: Paddle Inference starts no network.
            WeightsError: the folder holds no such model, or one that is not run, or Paddle cannot load it.
        """
        self._model = exported_files(folder)[0]
        self._threads, self._shares = threads, as_client and self._model.suffix == Path(LEGACY_MODEL).suffix
        self._shape = None if own else check_model(self._model)
        self.kernels = ONEDNN if onednn else PLAIN
        self._others = [ONEDNN_FUSED, PLAIN] if onednn else []
        self._predictor = self._load()

    def __call__(self, image: np.ndarray) -> Output:
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

        if self._shape is not None:
            check_first_load(self._model, self._shape, self.kernels)
        config = inference.Config(str(self._model), str(params_of(self._model)))
        if self._shares:
            config.enable_memory_optim()
        try:
            return open_predictor(inference, config, self._threads, self.kernels)
        except Exception as error:  # Paddle raises many types for a damaged file
            lacks = _lacks()
            if lacks:
                raise RuntimeStartError(lacks) from None
            raise self._error("cannot load it", error) from None

    def _run(self, image: np.ndarray) -> Output:
        return output_from(run_predictor(self._predictor, image))

    def _fall_back(self, error: Exception) -> None:
        failed, self.kernels = self.kernels, self._others.pop(0)
        self._predictor = self._load()
        _say_once(
            f"paddlepaddle {paddle.__version__} cannot run {self._model.name} with the kernels {failed} "
            f"({cause_of(error)}): {self.kernels} runs instead, slower and as exact"
        )

    def _error(self, what: str, error: Exception) -> WeightsError:
        return WeightsError(
            f"{self._model}: Paddle Inference {what} ({cause_of(error)}): export it again; "
            f"what a newer paddlepaddle wrote may need that version (this is {paddle.__version__})"
        )


def _lacks() -> str | None:
    """Return what keeps Paddle Inference from running a network of one layer; None if nothing does."""
    from paddle import inference

    with tempfile.TemporaryDirectory() as folder:
        shape = paddle.static.InputSpec([None, 1], "float32")
        paddle.jit.save(nn.Linear(1, 1), str(Path(folder) / "least"), [shape])
        kinds = [Path(name).suffix for name in (LEGACY_MODEL, PIR_MODEL)]
        model = next(path for path in Path(folder).iterdir() if path.suffix in kinds)
        try:
            predictor = open_predictor(inference, inference.Config(str(model), str(params_of(model))), 1, PLAIN)
            run_predictor(predictor, np.zeros((1, 1), np.float32))
        except Exception as error:  # of many types, from Paddle
            return start_fault(error, "Paddle Inference", "paddlepaddle")
    return None


def check_model(model: Path) -> tuple[int, ...]:
    """Return the input shape of a model of Paddle from elsewhere, after all that can be seen without running it.

    Raises:
        WeightsError: it is damaged, or holds what is not run here.
    """
    try:
        shape = check_program(model)
    except OSError as error:
        raise WeightsError(f"{model}: cannot be read: {error.strerror or error}: check the file") from None
    require_finite(read_weight_file(model))
    return shape


@functools.cache
def _say_once(text: str) -> None:
    logger.warning(text)
