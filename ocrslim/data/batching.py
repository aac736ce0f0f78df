"""Training batches whose content depends on seed, epoch and place alone."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import cv2
import numpy as np
import paddle

from ocrslim.config import Config
from ocrslim.data.dataset import LabelledSet
from ocrslim.data.image_files import ImageError
from ocrslim.data.multi_scale import Batch, multi_scale_batches
from ocrslim.data.samples import CACHED, SampleImages, ignores_orientation
from ocrslim.data.transforms import TransformError, build_operators, run, seeded
from ocrslim.data.unlabelled import unlabelled_operators
from ocrslim.errors import ConfigError, DataError, TrainingError
from ocrslim.tasks import Operator, Size
from ocrslim.utils import launched, postponed

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
ATTEMPTS = 5  # seeds tried for one sample before it is taken uncropped


def train_loader(
    config: Config, labelled: LabelledSet, epoch: int, skip_batches: int = 0, part: tuple[int, int] = (0, 1)
) -> TrainLoader:
    """Return the batches of one epoch.

    The content of a batch depends on `Global.seed`, `epoch` and its place only: not on the number of
    workers, on what ran before or on where a run was resumed.

    Args:
        epoch: any number; another one gives another order and other crops.
        skip_batches: batches at the front to leave out without decoding them.
        part: index and count of the processes that share the epoch. All have as many batches, of the same sizes; their
            n-th ones are together what one process with `count` times their size would read as its n-th. Where the
            images do not go into them evenly, a few from the front of the order are read twice.

    Raises:
        ConfigError: PaddleOCR refuses a transform, or `KeepKeys` is missing.
        DataError: there is not one batch.
    """
    return TrainLoader(config, labelled, epoch, skip_batches, part)


class TrainLoader:
    """Iterates over lists of tensors in the order of `KeepKeys`; `len()` is the number of batches left.

    Attributes:
        retried: samples so far that were drawn again, with another seed, because the first crop had nothing to learn.
        failures: samples so far that an operator failed on, by its name; the ways in which it fails in `reasons`.

    `loader.num_workers` processes, at most one a core, prepare batches ahead; `use_shared_memory` is
    accepted and makes no difference: batches come through pipes.
    """

    def __init__(
        self, config: Config, labelled: LabelledSet, epoch: int, skip_batches: int = 0, part: tuple[int, int] = (0, 1)
    ):
        loader = config.section("Train.loader")
        self.retried = 0
        self.failures: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        chosen = labelled.of_epoch(config.seed, epoch)
        self._dataset = _TrainSet(config, labelled, chosen, epoch)
        self._batches = _epoch_batches(config, labelled, chosen, epoch, part)[skip_batches:]
        can_fork = "fork" in multiprocessing.get_all_start_methods()
        self._workers = min(int(loader.get("num_workers", 0)), os.cpu_count() or 1) if can_fork else 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Generator[list[paddle.Tensor], None, None]:
        """Yield the batches; raises `DataError` for a sample that no transform can deal with."""
        for batch in self._in_workers() if self._workers and self._batches else self._in_process():
            if batch.fault:
                raise DataError(batch.fault)
            self.retried += batch.retried
            self.failures.update(batch.failures)
            for operator, reason in batch.reasons.items():
                self.reasons.setdefault(operator, reason)
            yield [paddle.to_tensor(array) for array in batch.arrays]
        if self.retried:
            logger.info("%d samples were drawn again because their first crop was unusable", self.retried)
        for operator, count in self.failures.items():
            logger.warning(
                "Train.dataset.transforms: %s failed on %d samples (%s), which were drawn again, or used whole where "
                "it failed each time: correct its arguments, or leave it out",
                *(operator, count, self.reasons[operator]),
            )

    def _in_process(self) -> Iterator[_Batch]:
        return (_collate([self._dataset.item(index, batch.size) for index in batch.indices]) for batch in self._batches)

    def _in_workers(self) -> Iterator[_Batch]:
        # Paddle's own loader hangs now and then on Ctrl-C, and leaves its shared memory behind after kill -9
        context = multiprocessing.get_context("fork")
        stop = context.RawValue(ctypes.c_bool, False)
        pool = ProcessPoolExecutor(self._workers, context, _start_worker, (self._dataset, stop, os.getpid()))
        waiting = iter(self._batches)
        try:
            with postponed():
                ahead = deque(pool.submit(_work, batch) for batch in islice(waiting, 2 * self._workers))
            while ahead:
                yield ahead.popleft().result()
                with postponed():
                    ahead.extend(pool.submit(_work, batch) for batch in islice(waiting, 1))
        except BrokenProcessPool:
            raise TrainingError(
                "a data worker was killed, probably because memory ran out: lower Train.loader.num_workers "
                "and run again to resume"
            ) from None
        finally:
            with postponed():
                stop.value = True
                pool.shutdown(cancel_futures=True)


@dataclass
class _Item:
    """A sample as the network takes it.

    Attributes:
        arrays: in the order of `KeepKeys`; empty where the sample cannot be used.
        attempts: tries before the one that succeeded.
        failed: the operator that failed first, and how; empty where none did, but for finding nothing to work on.
        fault: why the sample cannot be used at all.
    """

    arrays: list[Any]
    attempts: int = 0
    failed: tuple[str, str] = ("", "")
    fault: str = ""


@dataclass
class _Batch:
    """Samples stacked, and what happened to them; the fields are those of `TrainLoader`."""

    arrays: list[np.ndarray]
    retried: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    fault: str = ""


class _TrainSet:
    """The samples of one epoch, transformed."""

    def __init__(self, config: Config, labelled: LabelledSet, chosen: list[int], epoch: int):
        """`chosen`: indices of the samples that take part in this epoch."""
        operators = _operators(config, labelled)
        self._samples, self._chosen = labelled.samples, chosen
        self._operators = operators
        self._calm = config.task.without_chance(operators)
        self._key = (config.seed, epoch)
        self._task = config.task
        self._sized: dict[Size, Operator] = {}
        workers = max(1, int(config.get("Train.loader.num_workers", 0)))
        ignore_orientation = ignores_orientation(config.get("Train.dataset.transforms"))
        self._read = SampleImages(labelled.samples, ignore_orientation, CACHED // workers)
        self._others = max((getattr(operator, "ext_data_num", 0) for operator in operators), default=0)
        self._others_operators = operators[: config.get("Train.dataset.ext_op_transform_idx", 2)]

    def item(self, index: int, size: Size | None = None) -> _Item:
        """Return a sample, its image of the height and width `size` where that is not None."""
        fault, failed = "", ("", "")
        for attempt in range(ATTEMPTS + 1):
            operators = self._sized_operators(size, calm=attempt == ATTEMPTS)
            try:
                with seeded(operators, *self._key, index, attempt):
                    return _Item(list(run(operators, self._start(index))), attempt, failed)
            except TransformError as error:
                fault = str(error)
                failed = failed if failed[0] or error.gave_up else (error.operator, fault)
            except ImageError as error:
                fault = str(error)
        path = self._samples[index].path
        return _Item([], fault=f"{path}: cannot be used for training: {fault}; check it or Train.dataset.transforms")

    def _start(self, index: int) -> dict[str, Any]:
        data = self._raw(index)
        others = [self._raw(self._chosen[np.random.randint(len(self._chosen))]) for _ in range(self._others)]
        data["ext_data"] = [run(self._others_operators, other) for other in others]
        return data

    def _raw(self, index: int) -> dict[str, Any]:
        sample = self._samples[index]
        choices = (sample.path, *sample.others)
        path = choices[np.random.randint(len(choices))] if sample.others else sample.path
        data = {"img_path": str(path), "filename": str(path), "label": sample.label}
        return {**data, "image": self._read(sample, path)}

    def _sized_operators(self, size: Size | None, calm: bool) -> list[Operator]:
        """Return the operators, with one that makes images of a size before `KeepKeys`."""
        operators = self._calm if calm else self._operators
        if size is None:
            return operators
        if size not in self._sized:
            self._sized[size] = self._task.resize_to(size)
        return [*operators[:-1], self._sized[size], operators[-1]]


def _operators(config: Config, labelled: LabelledSet) -> list[Operator]:
    """Return the operators of a training in the order in which they run; the last one makes what a batch has."""
    if not labelled.labelled:
        return unlabelled_operators(config, sized=bool(config.section("Train.sampler")))
    named = build_operators(config, "Train")
    if named[-1][0] != "KeepKeys":
        raise ConfigError("Train.dataset.transforms: must end with KeepKeys, which names the loader's tensors")
    return config.task.training_operators(named)


def _epoch_batches(
    config: Config, labelled: LabelledSet, chosen: Sequence[int], epoch: int, part: tuple[int, int]
) -> list[Batch]:
    """Return the samples of an epoch, batch by batch; as the sampler has them, where there is one."""
    sampler = config.section("Train.sampler")
    if not sampler:
        loader = config.section("Train.loader")
        return [Batch(tuple(batch)) for batch in _batches(chosen, loader, config.seed, epoch, part)]
    sizes = [labelled.samples[index].size for index in chosen]
    ratios = [width / height for height, width in sizes] if config.get("Train.dataset.ds_width") else None
    return multi_scale_batches(chosen, ratios, sampler, (config.seed, epoch), part)


def _batches(
    chosen: Sequence[int], loader: dict[str, Any], seed: int, epoch: int, part: tuple[int, int]
) -> list[list[int]]:
    """Return the indices `chosen`, batch by batch; shared out as Paddle's `DistributedBatchSampler` does."""
    size, (rank, ranks) = int(loader.get("batch_size_per_card", 1)), part
    order, count = np.asarray(chosen, dtype=np.int64), len(chosen)
    if loader.get("shuffle", True):
        order = order[np.random.default_rng([seed, epoch]).permutation(count)]
    order = np.resize(order, -(-count // ranks) * ranks)  # begins anew at its end
    rounds = [order[start : start + size * ranks] for start in range(0, len(order), size * ranks)]
    batches = [np.split(together, ranks)[rank].tolist() for together in rounds]
    if loader.get("drop_last", False) and len(batches[-1]) < size:
        del batches[-1]
    if not batches:
        raise DataError(
            f"Train.loader.batch_size_per_card: {size}, but there are {count} images to train on and "
            "drop_last is set, so there is no batch: lower it or set -o Train.loader.drop_last=False"
        )
    return batches


def _collate(items: list[_Item]) -> _Batch:
    """Stack the samples by position."""
    fault = next((item.fault for item in items if item.fault), "")
    if not fault and len({tuple(np.shape(array) for array in item.arrays) for item in items}) > 1:
        fault = (
            "Train.dataset.transforms: the samples of a batch differ in size: crop them to one size "
            "(EastRandomCropData) or set Train.loader.batch_size_per_card=1"
        )
    if fault:
        return _Batch([], fault=fault)
    return _Batch(
        [np.stack([np.asarray(array) for array in arrays]) for arrays in zip(*(item.arrays for item in items))],
        sum(item.attempts > 0 and not item.failed[0] for item in items),
        Counter(operator for item in items if (operator := item.failed[0])),
        {operator: reason for item in reversed(items) for operator, reason in [item.failed] if operator},
    )


class _Worker:
    """The state of a worker process, set when it starts."""

    dataset: _TrainSet
    stop: Any


def _start_worker(dataset: _TrainSet, stop: Any, parent: int) -> None:
    _Worker.dataset, _Worker.stop = dataset, stop
    if launched():
        os.setpgid(0, 0)  # the launcher ends whole groups: the main process is to end its workers, after its step
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the main process ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)  # the workers are the threads
    if sys.platform == "linux":
        # after kill -9 of the main process a worker could wait for ever at a queue whose lock died with it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it was killed before this: no signal comes any more


def _work(batch: Batch) -> _Batch:
    items = []
    for index in batch.indices:
        if _Worker.stop.value:
            return _Batch([])  # nobody waits for it any more
        items.append(_Worker.dataset.item(index, batch.size))
    return _collate(items)
