"""Scoring a network while it changes: its current weights on the runtime, traced once.

The runtime takes a fifth of the time that dygraph takes, but two seconds for the trace and, for each new set of
weights, a tenth of a second and a pass in dygraph that proves it. So a small evaluation stays in dygraph.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import paddle
from paddle import nn
from tqdm import tqdm

from ocrslim.errors import LoweringError
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.engines import DygraphEngine, Engine
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.proof import proof_of
from ocrslim.inference.outputs import Output, output_from
from ocrslim.inference.tracing import arrays_of, traced_for_task
from ocrslim.tasks import Task
from ocrslim.utils import cause_of

logger = logging.getLogger(__name__)

PAYS = 6_000_000  # pixels of an evaluation from which a trace of 2 s is made up for: six images of 736x1280
_COMPARED = 1280  # pixels of a side; of a larger image a corner is compared, which dygraph has the memory for


class Images(Protocol):
    """The images to score: float32 [1, C, H, W]."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray: ...


class AutoEngine:
    """The faster of two engines for one network, with the weights that the network has when it is asked for.

    The choice depends on the images, the network and its weights alone, not on a clock: a run that is resumed scores
    as one that was not stopped.
    """

    def __init__(self, model: nn.Layer, task: Task):
        """`model` may be trained meanwhile, and be pruned already; its shapes have to stay."""
        self._model, self._task = model, task
        self._network: RuntimeNetwork | None = None
        self._possible = paddle.get_device() == "cpu"

    @contextlib.contextmanager
    def engine(self, images: Images) -> Iterator[Engine]:
        """Open an engine for `images` and the current weights, which must not change inside the block.

        It is Paddle Inference with oneDNN, held against dygraph on the first image; dygraph itself on a GPU, for few
        or small images, and, with a warning, where the runtime fails or is off by more than rounding. After
        the block the runtime's memory is free, and every layer is in the mode (training or eval) that it was in.
        """
        modes = [(layer, layer.training) for layer in self._model.sublayers(include_self=True)]
        self._model.eval()
        fast: _FastEngine | None = None
        try:
            fast = self._fast(images) if self._possible and _pays(images) else None
            yield fast or DygraphEngine(self._model)
        finally:
            if fast is not None:
                fast.close()
            for layer, training in modes:
                layer.training = training

    def _fast(self, images: Images) -> _FastEngine | None:
        """Load the runtime; None if it fails."""
        reference = DygraphEngine(self._model)
        try:
            run = self._load()
            first = np.ascontiguousarray(images.image(0)[:, :, :_COMPARED, :_COMPARED])
            proof_of(reference, first).check(output_from(run([first])))
        except Exception as error:  # of the trace, of the lowering, of Paddle: scoring goes on without
            self._possible = self._network is not None  # what cannot be traced is not tried again
            _tell(error)
            return None
        return _FastEngine(run, reference)

    def _load(self) -> Executable:
        """Load the network with its present weights on the runtime."""
        arrays = arrays_of(self._model)
        if self._network is None:
            program = traced_for_task(self._model, self._task)
            self._network = RuntimeNetwork(program, arrays, self._task.probe_shape, threads=_threads())
        return self._network.suffix(self._network.split(None), Variant(arrays=arrays))


class _FastEngine:
    """The runtime, and dygraph from the first image on that the runtime fails on."""

    def __init__(self, run: Executable, reference: DygraphEngine):
        self._run: Executable | None = run
        self._reference = reference

    def __call__(self, image: np.ndarray) -> Output:
        if self._run is not None:
            try:
                return output_from(self._run([image]))
            except LoweringError as error:
                _tell(error)
                self._run = None
        return self._reference(image)

    def close(self) -> None:
        """Free the runtime's memory."""
        self._run = None


def _pays(images: Images) -> bool:
    """Tell whether the images, all taken to be as large as the first, are enough for the runtime."""
    return len(images) > 0 and len(images) * images.image(0)[0, 0].size >= PAYS


def _threads() -> int:
    """Return the threads of this process's dygraph: a predictor with others would change them for the training, too."""
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


def _tell(error: Exception) -> None:
    with tqdm.external_write_mode():
        logger.warning("scoring without the fast runtime: several times slower, same results: %s", cause_of(error))
