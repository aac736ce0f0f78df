"""The numbers of a training run for VisualDL: what PaddleOCR writes where `Global.use_visualdl` is set.

VisualDL shows one file of a folder, the one that comes last by name. So a run has one, over all its sessions: a
resumed run, or one that goes back after a divergence, first cuts off what lies behind the step that it goes on from.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import ConfigError
from ocrslim.training.callbacks import Callback, Divergence, TrainingStatus
from ocrslim.training.monitoring.history import Progress
from ocrslim.utils import MIB, cause_of, check_writable, open_regular, write_error

FOLDER, PATTERN = "vdl", "vdlrecords.*"
_TRAIN, _EVAL = "TRAIN/", "EVAL/"
_LENGTH = 8  # bytes in front of a record, which hold its size
_LONGEST = MIB  # bytes of a record; those of a number have about 60


def wants_event_log(config: Config) -> bool:
    """Tell whether `Global.use_visualdl` is set; to be asked before any work.

    Raises:
        ConfigError: it is, and VisualDL is not installed or cannot be imported.
    """
    if not config.get("Global.use_visualdl"):
        return False
    try:
        import visualdl  # noqa: F401
    except Exception as error:  # a release that does not go with its own requirements fails in many ways
        raise ConfigError(
            f"{config.path}: Global.use_visualdl is true, and the package visualdl cannot be imported "
            f"({cause_of(error)}): pip install visualdl==2.5.3, or leave it out with -o Global.use_visualdl=false"
        ) from None
    return True


class EventLog(Callback):
    """Writes `vdl/vdlrecords.*.log` in the folder of a run, step by step.

    The tags are PaddleOCR's: `TRAIN/loss`, the parts of the loss, such as `TRAIN/loss_shrink_maps`, and `TRAIN/lr`;
    `EVAL/precision`, `EVAL/recall`, `EVAL/hmean` and the best so far of the deciding one, such as `EVAL/best_hmean`.
    Steps count from 1; an evaluation at 0 is of the network as it came.

    Args:
        folder: of the run.
        metric: the score that decides which weights are best.
    """

    def __init__(self, folder: Path, metric: str):
        self._folder, self._metric = folder / FOLDER, metric
        self._writer: Any = None

    def on_start(self, status: TrainingStatus) -> None:
        """Open the file."""
        self.open(status.progress)

    def on_step(self, status: TrainingStatus) -> None:
        """Enter the losses and the learning rate of the last step."""
        self.step(status.progress.step, status.losses, status.rate)

    def on_evaluation(self, status: TrainingStatus) -> None:
        """Enter the latest evaluation, and the best score so far."""
        best = status.progress.best
        score = {} if best is None else {f"best_{self._metric}": best.metrics[self._metric]}
        self._add(_EVAL, {**status.evaluation.metrics, **score}, status.evaluation.step)

    def on_save(self, status: TrainingStatus) -> None:
        """Bring everything entered so far into the file."""
        if self._writer is not None:
            self._writer.flush()

    def on_roll_back(self, status: TrainingStatus, divergence: Divergence) -> None:
        """Cut off the steps that are undone."""
        self.open(status.progress)

    def on_end(self, status: TrainingStatus) -> None:
        """Close the file."""
        self.close()

    def open(self, progress: Progress) -> None:
        """Open the file to go on from `progress`: what it holds of later steps is cut off.

        Raises:
            ArtifactError: the folder cannot be written to.
        """
        from visualdl import LogWriter

        self.close()
        check_writable(self._folder)
        path = self.check()
        if path is not None:
            _cut(path, progress)
        with contextlib.redirect_stdout(io.StringIO()):  # it would say that a file is there
            self._writer = LogWriter(str(self._folder), file_name="" if path is None else path.name)

    def check(self) -> Path | None:
        """Return the log that is there, None where there is none; to be asked before any work.

        Raises:
            ArtifactError: something else than a file has its name.
        """
        path = max(self._folder.glob(PATTERN), default=None)
        if path is not None:
            try:
                open_regular(path).close()
            except OSError as error:
                raise write_error(path, error) from error
        return path

    def step(self, step: int, losses: Mapping[str, float], rate: float) -> None:
        """Enter a step: the loss, its parts and the learning rate."""
        self._add(_TRAIN, {**losses, "lr": rate}, step)

    def close(self) -> None:
        """Close the file; nothing happens where none is open."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _add(self, prefix: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(prefix + name, value, step)


def build_event_log(config: Config, folder: Path, metric: str) -> list[EventLog]:
    """Build the log of a run in `folder`; none where `Global.use_visualdl` is not set.

    Raises:
        ConfigError: VisualDL cannot be imported.
        ArtifactError: something else than a file has the name of the log.
    """
    if not wants_event_log(config):
        return []
    log = EventLog(folder, metric)
    if not config.overwrite:
        log.check()
    return [log]


def _cut(path: Path, progress: Progress) -> None:
    """Cut off what a log holds beyond `progress`, and what a kill has left of a record.

    Raises:
        ArtifactError: it is no file, or cannot be written.
    """
    from visualdl.proto.record_pb2 import Record

    evaluated = progress.history[-1].step if progress.history else -1
    kept = 0
    try:
        for content in _records(path):
            try:
                (entry,) = Record.FromString(content).values
            except Exception:  # protobuf's own error, or no entry: the rest of a record
                break
            if entry.id > (evaluated if entry.tag.startswith(_EVAL) else progress.step):
                break
            kept += _LENGTH + len(content)
        os.truncate(path, kept)
    except OSError as error:
        raise write_error(path, error) from error


def _records(path: Path) -> Iterator[bytes]:
    """Read the records of a log as far as they are complete; VisualDL's own reader believes any length."""
    with open_regular(path) as stream:
        while len(header := stream.read(_LENGTH)) == _LENGTH:
            length = int.from_bytes(header, "little")
            content = stream.read(min(length, _LONGEST + 1))
            if length > _LONGEST or len(content) < length:
                return
            yield content
