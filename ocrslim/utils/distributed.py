"""The processes that train together: `python -m paddle.distributed.launch` starts them, `join_launch` joins them.

They exchange data in two ways. Tensors go through Paddle's collectives (gloo on CPUs, NCCL on GPUs). Decisions go as
small messages through sockets of the standard library: gloo has a fixed timeout of 30 seconds, and an evaluation on
rank 0 takes minutes; a socket waits without a limit, and reports at once when the process at its other end has died.
Every collective follows a message, so that all ranks are there when it begins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from io import StringIO
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any, TypeVar

from ocrslim.errors import TrainingError
from ocrslim.utils.text import cause_of

if TYPE_CHECKING:
    from paddle import Tensor

T = TypeVar("T")


class RankLost(TrainingError):
    """Another process of this training has ended."""


class Ranks:
    """This process and those that train with it; of this class, one process alone.

    Attributes:
        index: of this process, from 0, as the launcher numbers its logs; rank 0 writes, evaluates and prints.
        count: of all.
    """

    index = 0
    count = 1

    @property
    def first(self) -> bool:
        """True for rank 0, the process that writes, evaluates and prints."""
        return self.index == 0

    @property
    def part(self) -> tuple[int, int]:
        """Index and count."""
        return self.index, self.count

    def exchange(self, value: T) -> list[T]:
        """Return the values that all ranks give, in the order of ranks; waits for all of them, without a limit.

        Raises:
            RankLost: one of them has ended.
        """
        return [value]

    def share(self, value: T | None) -> T:
        """Return the value that rank 0 gives; the others give None and wait for it, without a limit.

        Raises:
            RankLost: it has ended.
        """
        assert value is not None
        return value

    def mean(self, tensors: Iterable[Tensor]) -> None:
        """Set each of `tensors` to its mean over the ranks: the same bits on all of them.

        Args:
            tensors: float32, of the same shapes on every rank.

        Raises:
            RankLost: one of the ranks has ended.
            TrainingError: the network between them failed.
        """

    def close(self) -> None:
        """Close the connections."""


class _Launched(Ranks):
    """One of several processes; rank 0 holds a connection to each of the others, these one to rank 0."""

    def __init__(self) -> None:
        from paddle import distributed

        distributed.init_parallel_env()
        self.index, self.count = distributed.get_rank(), distributed.get_world_size()
        self._connections = self._listen() if self.first else self._call()

    def _listen(self) -> list[Connection]:
        from paddle import distributed

        host, key = distributed.ParallelEnv().current_endpoint.rpartition(":")[0], secrets.token_bytes(16)
        with Listener((host, 0), backlog=self.count, authkey=key) as listener:
            distributed.broadcast_object_list([listener.address, key], src=0)
            found = [listener.accept() for _ in range(1, self.count)]
        return [connection for _, connection in sorted(((one.recv(), one) for one in found), key=lambda pair: pair[0])]

    def _call(self) -> list[Connection]:
        from paddle import distributed

        address: list[Any] = [None, None]
        distributed.broadcast_object_list(address, src=0)
        connection = Client(address[0], authkey=address[1])
        connection.send(self.index)
        return [connection]

    def exchange(self, value: T) -> list[T]:
        if self.first:
            return self._send([value, *(self._receive(other) for other in range(1, self.count))])
        self._send(value)
        return self._receive(0)

    def share(self, value: T | None) -> T:
        return self._send(value) if self.first else self._receive(0)

    def _send(self, value: Any) -> Any:
        for place, connection in enumerate(self._connections):
            try:
                connection.send(value)
            except OSError:
                raise self._lost(place + 1 if self.first else 0) from None
        return value

    def _receive(self, other: int) -> Any:
        try:
            return self._connections[other - 1 if self.first else 0].recv()
        except (EOFError, OSError):
            raise self._lost(other) from None

    def mean(self, tensors: Iterable[Tensor]) -> None:
        import paddle

        found = list(tensors)
        sizes = self.exchange([int(tensor.size) for tensor in found])
        assert all(size == sizes[0] for size in sizes), f"ranks average other tensors: {sizes}"
        with paddle.no_grad():
            flat = paddle.concat([tensor.reshape([-1]) for tensor in found])
            try:
                paddle.distributed.all_reduce(flat)
            except RuntimeError as error:
                self.exchange(None)  # a rank that has ended is named here
                raise TrainingError(
                    f"averaging over {self.count} processes failed: {cause_of(error)}; what is saved is whole: run "
                    "the same command again to continue"
                ) from None
            parts = paddle.split(flat / self.count, sizes[0])
            for tensor, part in zip(found, parts):
                paddle.assign(part.reshape(tensor.shape), output=tensor)

    def _lost(self, other: int) -> RankLost:
        return RankLost(
            f"rank {other} of this training has ended: workerlog.{other} in the launcher's --log_dir says why; what is "
            "saved is whole, and the same command continues from it"
        )

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def launched() -> bool:
    """Tell whether this is one of several processes of Paddle's launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM") or 1) > 1


def is_first_rank() -> bool:
    """Tell whether this process prints: it runs alone, or is rank 0 of those that were launched."""
    return not launched() or os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


@contextlib.contextmanager
def join_launch() -> Iterator[Ranks]:
    """Join the processes that the launcher started, if it did; those after the first print errors only.

    Select the device first.
    """
    if not launched():
        yield Ranks()
        return
    with contextlib.nullcontext() if is_first_rank() else _silence(), contextlib.closing(_Launched()) as ranks:
        yield ranks


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep this library's lines from the log and from standard output."""
    logger = logging.getLogger("ocrslim")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(level)
