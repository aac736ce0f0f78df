"""Training batches whose content depends on seed, epoch and place alone."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

import cv2
import numpy as np
import paddle

from ocrslim.config import Config
from ocrslim.errors import ConfigError, DataError, TrainingError
from ocrslim.labelled import LabelledSet, read_image
from ocrslim.ranks import launched
from ocrslim.transforms import IgnoreCollapsed, Operator, build_operators, run, seeded, uncropped

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
ATTEMPTS = 5  # seeds tried for one sample before it is taken uncropped


def train_loader(
    config: Config, labelled: LabelledSet, epoch: int, skip_batches: int = 0, part: tuple[int, int] = (0, 1)
) -> TrainLoader:
    """The batches of one epoch.

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

    retried: samples so far whose first crop failed and that were drawn again, with another seed.

    `loader.num_workers` processes, at most one a core, prepare batches ahead; `use_shared_memory` is
    accepted and makes no difference: batches come through pipes.
    """

    def __init__(
        self, config: Config, labelled: LabelledSet, epoch: int, skip_batches: int = 0, part: tuple[int, int] = (0, 1)
    ):
        loader = config.section("Train.loader")
        self.retried = 0
        self._dataset = _TrainSet(config, labelled, epoch)
        self._batches = _batches(len(labelled), loader, config.seed, epoch, part)[skip_batches:]
        can_fork = "fork" in multiprocessing.get_all_start_methods()
        self._workers = min(int(loader.get("num_workers", 0)), os.cpu_count() or 1) if can_fork else 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Generator[list[paddle.Tensor], None, None]:
        """Yield the batches; raises `DataError` for a sample that no transform can deal with."""
        for status, *arrays in self._in_workers() if self._workers and self._batches else self._in_process():
            if (status < 0).any():
                raise DataError(bytes(arrays[0]).decode("utf-8"))
            self.retried += int((status > 0).sum())
            yield [paddle.to_tensor(array) for array in arrays]
        if self.retried:
            logger.info("%d samples were drawn again because their first crop was of no use", self.retried)

    def _in_process(self) -> Iterator[list[np.ndarray]]:
        return (_collate([self._dataset[index] for index in batch]) for batch in self._batches)

    def _in_workers(self) -> Iterator[list[np.ndarray]]:
        # Paddle's own loader hangs now and then on Ctrl-C, and leaves its shared memory behind after kill -9
        context = multiprocessing.get_context("fork")
        stop = context.RawValue(ctypes.c_bool, False)
        pool = ProcessPoolExecutor(self._workers, context, _start_worker, (self._dataset, stop))
        waiting = iter(self._batches)
        try:
            with _signals_held():
                ahead = deque(pool.submit(_work, batch) for batch in islice(waiting, 2 * self._workers))
            while ahead:
                yield ahead.popleft().result()
                with _signals_held():
                    ahead.extend(pool.submit(_work, batch) for batch in islice(waiting, 1))
        except BrokenProcessPool:
            raise TrainingError(
                "a data worker was killed, most likely for want of memory: lower Train.loader.num_workers "
                "and run again to resume"
            ) from None
        finally:
            with _signals_held():
                stop.value = True
                pool.shutdown(cancel_futures=True)


class _TrainSet:
    """The samples of one epoch, transformed; an item is arrays, led by the number of failed tries."""

    def __init__(self, config: Config, labelled: LabelledSet, epoch: int):
        named = build_operators(config, "Train")
        if named[-1][0] != "KeepKeys":
            raise ConfigError("Train.dataset.transforms: must end with KeepKeys, which names the loader's tensors")
        operators: list[Operator] = []
        for name, operator in named:
            operators += [IgnoreCollapsed(), operator] if name == "MakeBorderMap" else [operator]
        self._samples = labelled.samples
        self._operators = operators
        self._calm = uncropped(operators)
        self._key = (config.seed, epoch)
        self._others = max((getattr(operator, "ext_data_num", 0) for operator in operators), default=0)
        self._others_operators = operators[: config.get("Train.dataset.ext_op_transform_idx", 2)]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> list[Any]:
        fault = ""
        for attempt in range(ATTEMPTS + 1):
            operators = self._operators if attempt < ATTEMPTS else self._calm
            try:
                with seeded(operators, *self._key, index, attempt):
                    return [attempt, *run(operators, self._start(index))]
            except (ValueError, DataError) as error:
                fault = str(error)
        path = self._samples[index].path
        return [-1, f"{path}: cannot be used for training: {fault}; check it or Train.dataset.transforms"]

    def _start(self, index: int) -> dict[str, Any]:
        data = self._raw(index)
        others = [self._raw(np.random.randint(len(self))) for _ in range(self._others)]
        data["ext_data"] = [run(self._others_operators, other) for other in others]
        return data

    def _raw(self, index: int) -> dict[str, Any]:
        sample = self._samples[index]
        path = str(sample.path)
        return {"img_path": path, "filename": path, "label": sample.label, "image": read_image(sample.path)}


def _batches(count: int, loader: dict[str, Any], seed: int, epoch: int, part: tuple[int, int]) -> list[list[int]]:
    """Sample indices, batch by batch; shared out as Paddle's `DistributedBatchSampler` does."""
    size, (rank, ranks) = int(loader.get("batch_size_per_card", 1)), part
    order = np.arange(count)
    if loader.get("shuffle", True):
        order = np.random.default_rng([seed, epoch]).permutation(count)
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


def _collate(items: list[list[Any]]) -> list[np.ndarray]:
    """Stack items by position; a failure travels as status -1 and the bytes of its message."""
    failures = [item[1] for item in items if item[0] < 0]
    if not failures:
        shapes = {tuple(np.shape(array) for array in item[1:]) for item in items}
        if len(shapes) == 1:
            return [np.stack([np.asarray(item[part]) for item in items]) for part in range(len(items[0]))]
        failures = [
            "Train.dataset.transforms: the samples of a batch differ in size: crop them to one size "
            "(EastRandomCropData) or set Train.loader.batch_size_per_card=1"
        ]
    return [np.array([-1]), np.frombuffer(failures[0].encode("utf-8"), dtype=np.uint8)]


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off to the end of the block: a pool begun or ended by halves hangs.

    A signal mask would not do: one of Paddle's threads would take the signal and Python still tell the main
    thread of it.
    """
    caught: list[int] = []
    previous: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    previous[number] = signal.signal(number, lambda number, _: caught.append(number))
        yield
    finally:
        for held, handler in previous.items():
            signal.signal(held, handler)
    if caught:
        signal.raise_signal(caught[0])


class _Worker:
    """What a worker process knows; filled in when it starts."""

    dataset: _TrainSet
    stop: Any


def _start_worker(dataset: _TrainSet, stop: Any) -> None:
    _Worker.dataset, _Worker.stop = dataset, stop
    if launched():
        os.setpgid(0, 0)  # the launcher ends whole groups: the main process is to end its workers, after its step
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the main process ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)  # the workers are the threads
    if sys.platform == "linux":
        # after kill -9 of the main process a worker could wait for ever at a queue whose lock died with it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _work(batch: list[int]) -> list[np.ndarray]:
    items = []
    for index in batch:
        if _Worker.stop.value:
            return []  # nobody waits for it any more
        items.append(_Worker.dataset[index])
    return _collate(items)
