"""A network as the rewritten one that is exported in its place."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from paddle import nn

from ocrslim.config import Config
from ocrslim.errors import GraphError, LoweringError
from ocrslim.export.rewriting.runtimes import rewriting_for
from ocrslim.export.rewriting.upsampling import upsampling_block
from ocrslim.graph import Imported, Program
from ocrslim.inference import Rewriting, arrays_of, rewritten_program, traced_for_task
from ocrslim.models import ImportedNetwork
from ocrslim.tasks import Task

logger = logging.getLogger(__name__)

_PADDLE = "paddle"  # Paddle Inference
_UPSAMPLING = "nearest_interp"
_RECURRENT = "rnn"  # the legacy format has it by a function of its own, which the layers of a program do not call


class Rewriter:
    """Rewrites a network for the formats that it is exported in, each as `rewriting_for` has it."""

    def __init__(self, model: nn.Layer, config: Config):
        """`model` is as it is deployed; unchanged, but in eval mode once something was rewritten."""
        self.model, self._config = model, config
        self._made: dict[Rewriting, nn.Layer] = {}
        self._refused = False

    def network(self, kind: str) -> nn.Layer:
        """Return what is written in a format: the network rewritten, or itself where it is not rewritten.

        That is where `Export.rewrite` is off, or the network has something that cannot be, which is said.
        """
        rewriting = rewriting_for(kind, self._config.export.runtime)
        if rewriting not in self._made:
            self._made[rewriting] = self._rewritten(rewriting)
        return self._made[rewriting]

    def _rewritten(self, rewriting: Rewriting) -> nn.Layer:
        if self._config.export.rewrite is False or self._refused:
            return self.model
        try:
            program, arrays = self._source
            if rewriting.upsampling is not None and any(op.name == _UPSAMPLING for op in program.ops):
                rewriting = replace(rewriting, upsampling=self._block())
            return _network(program, arrays, rewriting)
        except (GraphError, LoweringError) as error:
            logger.info("the network is exported as it is, not rewritten: %s", error)
            self._refused = True
            return self.model

    def _block(self) -> int:
        """The block of the transposed convolutions that upsample: what is fastest in the runtime that was named."""
        export = self._config.export
        return upsampling_block(export.threads) if export.runtime == _PADDLE else 1

    @functools.cached_property
    def _source(self) -> tuple[Program, Mapping[str, np.ndarray]]:
        return traced_for_task(self.model, self._config.task), arrays_of(self.model)


def rewritten_network(model: nn.Layer, task: Task, rewriting: Rewriting) -> ImportedNetwork:
    """Return a layer with the outputs of `model` that `task` takes, of every image, made by fewer products.

    Args:
        model: as it is deployed; unchanged, but in eval mode afterwards.

    Raises:
        GraphError: Paddle cannot trace it, or it has an operator that an exported network has not.
        LoweringError: an operator is not known to the rewriting, or is recurrent.
    """
    return _network(traced_for_task(model, task), arrays_of(model), rewriting)


def _network(source: Program, arrays: Mapping[str, np.ndarray], rewriting: Rewriting) -> ImportedNetwork:
    if any(op.name == _RECURRENT for op in source.ops):
        raise LoweringError("recurrent layers are only written as they are")
    program, made = rewritten_program(source, arrays, rewriting)
    outputs = [f"output_{place}" for place in range(len(program.outputs))]
    return ImportedNetwork(Imported(program, made, ["x"], outputs))
