"""The part of an analysis that this process measures: one of several ranks, one of several shards, or all of it.

Ranks (`python -m paddle.distributed.launch`) write into one folder, each its own journal; shards
(`Prune.shard: 2/8`) each into a folder of its own, merged afterwards. Either way the parts do not talk to
each other while they measure, so that none waits for another and none is lost with another.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ocrslim.errors import ConfigError
from ocrslim.utils import open_to_append, write_error

T = TypeVar("T")
_LOCK = "sen.lock"


@dataclass(frozen=True)
class Share:
    """Part `index` (from 0) of `count`.

    Attributes:
        on_machine: how many of the parts run on this machine, and share its cores.
        one_folder: whether the parts write into one folder.
    """

    index: int = 0
    count: int = 1
    on_machine: int = 1
    one_folder: bool = False

    @property
    def journal(self) -> str:
        """The journal that this part appends to."""
        return f"sen.rank{self.index}.jsonl" if self.one_folder and self.index else "sen.jsonl"

    def of(self, items: Sequence[T], costs: Sequence[float]) -> list[T]:
        """This part's items, consecutive ones, so that all parts cost about the same.

        Args:
            costs: of each item, above 0.
        """
        ends = list(itertools.accumulate(costs))
        middles = ((end - cost / 2) / ends[-1] for end, cost in zip(ends, costs))
        return [item for item, middle in zip(items, middles) if int(middle * self.count) == self.index]

    def __str__(self) -> str:
        kind = "rank" if self.one_folder else "shard"
        return f"{kind} {self.index + 1} of {self.count}" if self.count > 1 else "everything"


def share_of(shard: str | None, environment: Mapping[str, str] | None = None) -> Share:
    """The part that `Prune.shard` or Paddle's launcher gives to this process.

    Args:
        shard: such as "2/8".
        environment: the process's, with what the launcher puts there.

    Raises:
        ConfigError: both of them give one.
    """
    environment = os.environ if environment is None else environment
    count = int(environment.get("PADDLE_TRAINERS_NUM", "1"))
    if shard is None:
        index, local = int(environment.get("PADDLE_TRAINER_ID", "0")), int(environment.get("PADDLE_LOCAL_SIZE", "1"))
        return Share(index, count, max(1, local), count > 1)
    if count > 1:
        raise ConfigError(
            f"Prune.shard: {shard}, and paddle.distributed.launch runs {count} ranks: expected one way to share the "
            "work out: leave Prune.shard empty, or start each shard without the launcher"
        )
    index, count = (int(number) for number in shard.split("/"))
    return Share(index - 1, count)


@contextlib.contextmanager
def locked(folder: Path, share: Share) -> Iterator[None]:
    """Keep the other ranks from writing the common files in `folder` within the block.

    Raises:
        ArtifactError: the file that they wait for cannot be made.
    """
    if not share.one_folder:
        yield
        return
    import fcntl

    try:
        lock = open_to_append(folder / _LOCK)
    except OSError as error:
        raise write_error(folder / _LOCK, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
