"""The ways to run a network's variants: the fast runtime in worker processes, and dygraph in this one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocrslim.data import EvalSet
from ocrslim.errors import GraphError, LoweringError
from ocrslim.evaluation import Scorer
from ocrslim.graph import Program
from ocrslim.inference import arrays_of, traced_for_task
from ocrslim.sensitivity.settings import DYGRAPH, ONEDNN, Problem, Settings
from ocrslim.sensitivity.workers.measure import Measurer
from ocrslim.sensitivity.workers.messages import Setup
from ocrslim.sensitivity.workers.pool import ProcessWorkers, ThisProcess, Workers
from ocrslim.sensitivity.workers.variants import DygraphRunner, DygraphVariants, RuntimeVariants, Variants
from ocrslim.utils import Clock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """A way to run variants.

    Attributes:
        engine: its name in the record.
        variants: makes what the workers load.
        workers: run it.
    """

    engine: str
    variants: Variants
    workers: Workers


def backends(
    problem: Problem, settings: Settings, folder: Path, processes: ProcessWorkers | None = None
) -> Iterator[Backend]:
    """Yield the backends, best first; the last one, dygraph, can run every network.

    Args:
        folder: for images that do not fit into memory.
        processes: workers that are starting already.
    """
    images = EvalSet(problem.labelled, problem.config, settings.memory // 2, folder)
    if settings.engine != DYGRAPH:
        try:
            program = traced_for_task(problem.model, problem.task)
        except (GraphError, LoweringError) as error:
            warn_slow(error)
        else:
            workers = processes or ProcessWorkers(settings.processes)
            yield Backend(
                ONEDNN,
                RuntimeVariants(problem.model, problem.graph, images, problem.pruner, problem.task),
                workers.set_up(_setup(problem, settings, folder, program)),
            )
    clock = Clock()
    runner = DygraphRunner(problem.model, images, clock)
    measurer = Measurer(lambda _: runner, images, problem.order, Scorer(problem.config), clock)
    variants = DygraphVariants(problem.architecture, problem.pruner)
    yield Backend(DYGRAPH, variants, ThisProcess(measurer, clock.seconds))


def _setup(problem: Problem, settings: Settings, folder: Path, program: Program) -> Setup:
    memory = settings.memory // 2 // settings.share.on_machine // settings.processes
    return Setup(
        program,
        arrays_of(problem.model),
        problem.labelled,
        problem.config,
        problem.order,
        memory,
        folder,
        settings.use_gpu,
    )


def warn_slow(error: Exception) -> None:
    """Log that the fast runtime cannot run the network."""
    logger.warning("%s: the analysis runs in dygraph instead, as exact and about ten times slower", error)
