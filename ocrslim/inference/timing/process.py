"""A process with one runtime and one number of threads, which times networks for this one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ocrslim.errors import OcrSlimError
from ocrslim.inference.runtimes import RUNTIMES
from ocrslim.inference.timing.stand import END, Pass
from ocrslim.tasks import Task
from ocrslim.utils import start_python

WARM_UP = 3  # passes of each network before the first that is timed
_PROGRAM = "from ocrslim.utils import import_paddle; import_paddle(); from {} import main; sys.exit(main())"


class TimingProcess:
    """Times networks in turns; a context manager, whose process ends with it.

    Attributes:
        stand: the module whose `main` the process runs: `ocrslim.inference.timing.stand`, or one that adds to it.
    """

    stand: ClassVar[str] = "ocrslim.inference.timing.stand"

    def __init__(self, runtime: str, threads: int):
        """
        Args:
            runtime: a key of `RUNTIMES`.

        Raises:
            OcrSlimError: it is not installed.
        """
        RUNTIMES[runtime].require()
        self.runtime, self.threads = runtime, threads
        # the runtimes are told the number of threads; more than 1 here only makes Paddle warn
        self._process, self._connection = start_python(_PROGRAM.format(self.stand), {"OMP_NUM_THREADS": "1"})
        self._numbers = itertools.count()
        self._connection.send((runtime, threads))

    def __enter__(self) -> TimingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def open(self, path: Path, own: bool = False) -> int:
        """Open a network; return its number.

        Args:
            path: a file that the runtime reads.
            own: this program has just written it.

        Raises:
            WeightsError: it is damaged, or the runtime does not load it.
        """
        number = next(self._numbers)
        list(self.ask("open", number, path, own))
        return number

    def close(self, network: int) -> None:
        """Forget a network."""
        list(self.ask("close", network))

    def check(self, network: int, path: Path, task: Task, shape: Sequence[int]) -> str:
        """Run a network of a task once; return the name of the kernels that ran.

        Raises:
            WeightsError: it cannot run on an image of `shape`, or is not of that task.
        """
        (kernels,) = self.ask("check", network, path, task, tuple(shape))
        return str(kernels)

    def time(
        self,
        networks: Sequence[int],
        shape: Sequence[int],
        rounds: int,
        warm_up: int = WARM_UP,
        on_pass: Callable[[], object] = lambda: None,
    ) -> list[list[Pass]]:
        """Time passes over one image, a pass of each network in turn; return each network's, in their order.

        Turns spread whatever else the machine does evenly over the networks.

        Args:
            shape: [N, C, H, W] of the image.
            rounds: timed passes of each.
            warm_up: passes of each before that.
            on_pass: called after every pass.

        Raises:
            WeightsError: a network does not run.
        """
        found: dict[int, list[Pass]] = {number: [] for number in networks}
        for one in self.ask("time", tuple(networks), tuple(shape), rounds, warm_up):
            on_pass()
            if isinstance(one, Pass):
                found[one.network].append(one)
        return list(found.values())

    def ask(self, name: str, *arguments: Any) -> Iterator[Any]:
        """Yield what a method of the stand gives; raises what that raises."""
        try:
            self._connection.send((name, arguments))
            while (answer := self._connection.recv()) is not END:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        except (EOFError, OSError):
            status, threads = self._process.wait(), f"{self.threads} thread{'s' * (self.threads > 1)}"
            raise OcrSlimError(
                f"the process that runs {RUNTIMES[self.runtime].title} with {threads} ended with status {status}:"
                " its memory may not suffice; try smaller sizes"
            ) from None
