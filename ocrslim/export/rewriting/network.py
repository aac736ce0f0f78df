"""A network as the rewritten one that is exported in its place."""

from __future__ import annotations

import logging

from paddle import nn

from ocrslim.config import Config
from ocrslim.errors import GraphError, LoweringError
from ocrslim.export.rewriting.runtimes import rewriting_for
from ocrslim.graph import Imported
from ocrslim.inference import Rewriting, arrays_of, rewritten_program, traced_for_task
from ocrslim.models import ImportedNetwork
from ocrslim.tasks import Task

logger = logging.getLogger(__name__)

_RECURRENT = "rnn"  # the legacy format has it by a function of its own, which the layers of a program do not call


def rewritten(model: nn.Layer, config: Config) -> nn.Layer:
    """Return what is exported in the place of `model`: rewritten, unless `Export.rewrite` is off or that cannot be.

    Args:
        model: as it is deployed; unchanged, but in eval mode afterwards.
    """
    if not config.export.rewrite:
        return model
    try:
        return rewritten_network(model, config.task, rewriting_for(config.export.runtime))
    except (GraphError, LoweringError) as error:
        logger.info("the network is exported as it is, not rewritten: %s", error)
        return model


def rewritten_network(model: nn.Layer, task: Task, rewriting: Rewriting) -> ImportedNetwork:
    """Return a layer with the outputs of `model` that `task` takes, of every image, made by fewer products.

    Args:
        model: as it is deployed; unchanged, but in eval mode afterwards.

    Raises:
        GraphError: Paddle cannot trace it, or it has an operator that an exported network has not.
        LoweringError: an operator is not known to the rewriting, or is recurrent.
    """
    source = traced_for_task(model, task)
    if any(op.name == _RECURRENT for op in source.ops):
        raise LoweringError("recurrent layers are only written as they are")
    program, arrays = rewritten_program(source, arrays_of(model), rewriting)
    outputs = [f"output_{place}" for place in range(len(program.outputs))]
    return ImportedNetwork(Imported(program, arrays, ["x"], outputs))
