"""The worker process: measures points for the process at the other end of a pipe.

Workers are processes because Paddle Inference does not bear several threads that load and run networks (3.1.1 ends
with a segmentation fault, sooner or later). Counts are sent back image by image, so none is lost with a worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from ocrslim.sensitivity.workers.measure import Measurer
from ocrslim.sensitivity.workers.messages import Finished, Job, Setup


def serve(connection: Connection) -> None:
    """Measure the jobs that come in until the other side closes."""
    setup: Setup = connection.recv()
    try:
        measurer, report = _prepare(setup)
    except Exception as error:  # such as a network that the runtime has no step for
        connection.send(error)
        connection.recv()  # stay until it is read
        return
    while True:
        job: Job | None = connection.recv()
        if job is None:
            return
        try:
            for counts in measurer.measure(job):
                connection.send(counts)
                if connection.poll():  # nothing is due: the other side is gone
                    return
            connection.send(report())
        except OSError:
            raise
        except Exception as error:  # it is for the other side to judge
            connection.send(error)


def _prepare(setup: Setup) -> tuple[Measurer, Callable[[], Finished]]:
    from ocrslim.data import EvalSet
    from ocrslim.evaluation import Scorer
    from ocrslim.inference import ActivationCache, GroupRunner, RuntimeNetwork, Variant
    from ocrslim.tasks import register
    from ocrslim.utils import Clock

    clock = Clock()
    register(setup.labelled.task)  # one from outside the package is not known here by itself
    images = EvalSet(setup.labelled, setup.config, setup.memory, setup.folder)
    network = RuntimeNetwork(setup.program, setup.arrays, setup.config.task.probe_shape, setup.use_gpu)
    activations = ActivationCache(network, images, setup.memory, setup.folder, clock)

    def make_runner(variant: Variant) -> GroupRunner:
        return GroupRunner(network, variant.group, activations)

    measurer = Measurer(make_runner, images, setup.order, Scorer(setup.config), clock)

    def report() -> Finished:
        return Finished(dict(clock.seconds), images.store.in_memory + images.store.on_disk, measurer.cached)

    return measurer, report


def main() -> int:
    """Serve the connection whose number is the first argument."""
    # takes a second, which the setup takes as well; the path that this process was given leads to the copy in use
    from ocrslim.ppocr import imaug  # noqa: F401

    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        return 1
    return 0
