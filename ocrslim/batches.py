"""Training batches whose content depends on seed, epoch and place alone."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import paddle

from ocrslim.config import Config
from ocrslim.errors import ConfigError, DataError, TrainingError
from ocrslim.labelled import LabelledSet, read_image
from ocrslim.transforms import IgnoreCollapsed, Operator, build_operators, run, seeded, uncropped

logger = logging.getLogger(__name__)

GIB = 1 << 30
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
# how Paddle's loader words that a worker is no longer there
_WORKER_GONE = ("exit unexpectedly", "killed by signal", "killed_")
ATTEMPTS = 5  # seeds tried for one sample before it is taken uncropped


def train_loader(config: Config, labelled: LabelledSet, epoch: int, skip_batches: int = 0) -> TrainLoader:
    """The batches of one epoch.

    The content of a batch depends on `Global.seed`, `epoch` and its place only: not on the number of
    workers, on what ran before or on where a run was resumed.

    Args:
        epoch: any number; another one gives another order and other crops.
        skip_batches: batches at the front to leave out without decoding them.

    Raises:
        ConfigError: PaddleOCR refuses a transform, or `KeepKeys` is missing.
        DataError: there is not one batch.
    """
    return TrainLoader(config, labelled, epoch, skip_batches)


class TrainLoader:
    """Iterates over lists of tensors in the order of `KeepKeys`; `len()` is the number of batches left.

    retried: samples so far whose first crop failed and that were drawn again, with another seed.
    """

    def __init__(self, config: Config, labelled: LabelledSet, epoch: int, skip_batches: int = 0):
        loader = config.section("Train.loader")
        self.retried = 0
        self._dataset = _TrainSet(config, labelled, epoch)
        self._batches = _batches(len(labelled), loader, config.seed, epoch)[skip_batches:]
        self._workers = min(int(loader.get("num_workers", 0)), os.cpu_count() or 1)
        # not unless asked for: after kill -9, what is on its way stays in /dev/shm, and so in memory, for ever
        self._shared_memory = bool(loader.get("use_shared_memory", False)) and _has_shared_memory()

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[paddle.Tensor]]:
        """Yield the batches; raises `DataError` for a sample that no transform can deal with."""
        for status, *arrays in self._in_workers() if self._workers and self._batches else self._in_process():
            tries = np.asarray(status)
            if (tries < 0).any():
                raise DataError(bytes(np.asarray(arrays[0])).decode("utf-8"))
            self.retried += int((tries > 0).sum())
            yield [a if isinstance(a, paddle.Tensor) else paddle.to_tensor(a) for a in arrays]
        if self.retried:
            logger.info("%d samples were drawn again because their first crop was of no use", self.retried)

    def _in_process(self) -> Iterator[list[Any]]:
        # not through Paddle's loader: it would draw in a thread of its own, from the generators of us all
        return (_collate([self._dataset[index] for index in batch]) for batch in self._batches)

    def _in_workers(self) -> Iterator[list[Any]]:
        loader = paddle.io.DataLoader(
            self._dataset,
            batch_sampler=self._batches,
            num_workers=self._workers,
            collate_fn=_collate,
            use_shared_memory=self._shared_memory,
            worker_init_fn=_start_worker,
        )
        try:
            yield from loader
        except (RuntimeError, SystemError) as error:
            if not any(mark in str(error) for mark in _WORKER_GONE):
                raise
            raise TrainingError(
                "a data worker was killed, most likely for want of memory: lower Train.loader.num_workers or set "
                "Train.loader.use_shared_memory=False, and run again to resume"
            ) from None


class _TrainSet(paddle.io.Dataset):
    """The samples of one epoch, transformed; an item is arrays, led by the number of failed tries."""

    def __init__(self, config: Config, labelled: LabelledSet, epoch: int):
        super().__init__()
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


def _batches(count: int, loader: dict[str, Any], seed: int, epoch: int) -> list[list[int]]:
    """Sample indices, batch by batch."""
    size = int(loader.get("batch_size_per_card", 1))
    order = np.arange(count)
    if loader.get("shuffle", True):
        order = np.random.default_rng([seed, epoch]).permutation(count)
    batches = [order[start : start + size].tolist() for start in range(0, count, size)]
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


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the main process ends its workers
    cv2.setNumThreads(0)  # the workers are the threads
    if sys.platform == "linux":
        # after kill -9 of the main process a worker can wait for ever at a queue whose lock died with it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _has_shared_memory() -> bool:
    """Whether tensors can travel through /dev/shm; where it is small a worker would die."""
    try:
        return shutil.disk_usage("/dev/shm").free >= GIB
    except OSError:
        return False
