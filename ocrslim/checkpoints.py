"""The state of a training run on the disk: saved so that a kill between any two writes loses nothing.

`latest.pdopt` alone is what a run resumes from: weights, optimizer state, position and history in one
file that is replaced in one move. `latest.pdparams`, `latest.plan.json` and `latest.json` are written
after it, for people and for the other commands; after a kill they may be one save older than
`latest.pdopt`, which the next run puts right.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.optimizer import Optimizer

from ocrslim.artifacts import atomic_file, hash_arrays, unpickle_arrays, write_json
from ocrslim.errors import TrainingError
from ocrslim.weights import save_checkpoint, state_arrays

SCHEMA = 1
STATE_SUFFIX, WEIGHTS_SUFFIX = ".pdopt", ".pdparams"
LATEST, BEST = "latest", "best_accuracy"

Arrays = dict[str, np.ndarray]


class NonFinite(TrainingError):
    """NaN or infinity where a checkpoint should have been written."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    Attributes:
        step: optimizer steps done before it; 0 is the network as it came.
        epoch: epoch (from 1) of the last of these steps; 0 before the first.
        metrics: precision, recall, hmean.
        loss: mean training loss since the evaluation before; None at step 0.
    """

    step: int
    epoch: int
    metrics: dict[str, float]
    loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.epoch, "loss": self.loss, **self.metrics}


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        steps: optimizer steps of the whole run.
        step: optimizer steps done.
        evaluated: number of steps done at the last evaluation; -1 before the first.
        best: the evaluation whose weights are `best_accuracy.pdparams`.
        best_weights: hash of their arrays.
        history: all evaluations.
        loss_sum, loss_count: of the training losses since the last evaluation.
        seconds: time spent, over all sessions.
    """

    steps: int
    step: int = 0
    evaluated: int = -1
    best: Evaluation | None = None
    best_weights: str | None = None
    history: list[Evaluation] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether all steps are done and the last weights are evaluated."""
        return self.step == self.steps == self.evaluated

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Progress:
        content = dict(content)
        best = content.pop("best")
        history = [Evaluation(**entry) for entry in content.pop("history")]
        return Progress(best=Evaluation(**best) if best else None, history=history, **content)


@dataclass(frozen=True)
class TrainingState:
    """Everything that a run needs to go on in another process.

    Attributes:
        path: where it was read from.
        fingerprint: what the run's outcome depends on (nested plain values).
        weights: the model's arrays by state-dict key.
        optimizer: the optimizer's arrays by `state-dict key/accumulator`.
    """

    path: Path
    fingerprint: dict[str, Any]
    progress: Progress
    weights: Arrays
    optimizer: Arrays


def save_state(
    folder: Path, model: nn.Layer, optimizer: Optimizer, progress: Progress, fingerprint: Mapping[str, Any]
) -> None:
    """Write `latest.pdopt`.

    Raises:
        NonFinite: a weight or an optimizer value is NaN or infinite; nothing is written.
        ArtifactError: the file cannot be written; the one before is intact.
    """
    arrays = {"weights": state_arrays(model), "optimizer": optimizer_arrays(model, optimizer)}
    for part in arrays.values():
        check_finite(part)
    content = {
        "schema": SCHEMA,
        "fingerprint": plain(fingerprint),
        "progress": plain(asdict(progress)),
        "digest": _digest(arrays),
        **arrays,
    }
    with atomic_file(folder / f"{LATEST}{STATE_SUFFIX}") as stream:
        pickle.dump(content, stream, protocol=4)


def save_summary(folder: Path, progress: Progress, fingerprint: Mapping[str, Any], steps_per_epoch: int) -> None:
    """Write `latest.json`: the position of the run for people and tools."""
    epoch, step = divmod(progress.step, steps_per_epoch)
    summary = {
        "schema": SCHEMA,
        "epoch": epoch + 1,
        "step_in_epoch": step,
        "steps_per_epoch": steps_per_epoch,
        "global_step": progress.step,
        "seconds": round(progress.seconds, 1),
        "best": progress.best.to_json() if progress.best else None,
        "history": [entry.to_json() for entry in progress.history],
        "fingerprint": plain(fingerprint),
    }
    write_json(folder / f"{LATEST}.json", summary)


def save_weights(path: Path, model: nn.Layer) -> str:
    """Write a checkpoint as PaddleOCR reads it; return the hash of its arrays.

    Raises:
        NonFinite: a weight is NaN or infinite; nothing is written.
        ArtifactError: the file cannot be written; the one before is intact.
    """
    arrays = state_arrays(model)
    check_finite(arrays)
    save_checkpoint(model, path)
    return hash_arrays(arrays)


def load_state(path: Path) -> TrainingState:
    """Read a `latest.pdopt` without executing anything in it.

    Raises:
        TrainingError: missing, damaged, or not written by ocrslim.
    """
    try:
        content = unpickle_arrays(path.read_bytes())
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error.strerror}); expected the state of a training run: "
            "check Global.checkpoints and Global.save_model_dir"
        ) from None
    except pickle.UnpicklingError as error:
        raise _not_a_state(path, str(error)) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise _not_a_state(path, "it was not written by this version of ocrslim")
    try:
        arrays = {part: dict(content[part]) for part in ("weights", "optimizer")}
        if content["digest"] != _digest(arrays):
            raise _not_a_state(path, "its content does not have the hash it was written with")
        progress = Progress.from_json(content["progress"])
        return TrainingState(path, content["fingerprint"], progress, **arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_a_state(path, f"{type(error).__name__}: {error}") from None


def _not_a_state(path: Path, reason: str) -> TrainingError:
    return TrainingError(
        f"{path}: not the state of a training run: {reason}; to start from its weights, name the .pdparams "
        "beside it in Global.pretrain_weights; to start over in this folder, add -o Global.overwrite=true"
    )


def restore(state: TrainingState, model: nn.Layer, optimizer: Optimizer) -> None:
    """Put weights and optimizer state back.

    Raises:
        TrainingError: they are of another network.
    """
    expected = {key: tuple(array.shape) for key, array in state_arrays(model).items()}
    found = {key: tuple(array.shape) for key, array in state.weights.items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise TrainingError(
                f"{state.path}: {key} has shape {found.get(key)}, expected {expected.get(key)}: "
                "it is the state of another network; choose another -o Global.save_model_dir= or -o Global.checkpoints="
            )
    # The optimizer first: making room for its state moves the weights.
    _restore_optimizer(state.optimizer, model, optimizer)
    model.set_state_dict(state.weights)


# Paddle names an optimizer's arrays after its automatic parameter names, which depend on what was built
# before in the process: `conv2d_57.w_0_moment1_0`. State-dict keys mean the same in every process.
_ACCUMULATOR = re.compile(r"(.+)_(moment1|moment2|moment2_max|beta1_pow_acc|beta2_pow_acc|velocity)_\d+")


def optimizer_arrays(model: nn.Layer, optimizer: Optimizer) -> Arrays:
    """The optimizer's state by `state-dict key/accumulator`; empty before its first step."""
    tensors = optimizer.state_dict()
    return {place: np.array(tensors[name]) for name, place in _places(model, optimizer)}


def _places(model: nn.Layer, optimizer: Optimizer) -> Iterator[tuple[str, str]]:
    """Pairs of Paddle's name of an optimizer array in this process, and ours."""
    keys = {parameter.name: key for key, parameter in model.state_dict().items()}
    for name in optimizer.state_dict():
        if name == "LR_Scheduler":  # a function of the step, not a state: see optim.py
            continue
        match = _ACCUMULATOR.fullmatch(name)
        if match is None or match[1] not in keys:
            raise ValueError(f"optimizer array {name}: no parameter of the model has it")
        yield name, f"{keys[match[1]]}/{match[2]}"


def _restore_optimizer(arrays: Arrays, model: nn.Layer, optimizer: Optimizer) -> None:
    if not arrays:
        return
    with_state = {place.rsplit("/", 1)[0] for place in arrays}
    parameters = [parameter for key, parameter in model.state_dict().items() if key in with_state]
    # Paddle creates the arrays in the first step, under names that nobody can foretell: so make a step
    # with gradients of zero, then fill what it created.
    paddle.add_n([(parameter * 0).sum() for parameter in parameters]).backward()
    optimizer.step()
    optimizer.clear_grad()
    current = optimizer.state_dict()
    for name, place in _places(model, optimizer):
        if place not in arrays or tuple(arrays[place].shape) != tuple(current[name].shape):
            raise TrainingError(
                f"optimizer state of {place} is missing or of another shape: the run cannot be continued "
                "exactly; start over with -o Global.overwrite=true"
            )
        current[name] = paddle.to_tensor(arrays[place])
    optimizer.set_state_dict(current)


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse NaN and infinity.

    Raises:
        NonFinite: naming the first array that has one.
    """
    for name, array in arrays.items():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise NonFinite(f"{name}: {bad} of {array.size} values are NaN or infinite")


def first_difference(there: Any, here: Any, place: str = "") -> str | None:
    """Name the first value in which two nested structures differ; None where they are equal."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            found = first_difference(there.get(key), here.get(key), f"{place}.{key}" if place else str(key))
            if found:
                return found
        return None
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for index, (old, new) in enumerate(zip(there, here)):
            found = first_difference(old, new, f"{place}[{index}]")
            if found:
                return found
        return None
    return None if there == here else f"{place} is {_short(there)} there and {_short(here)} here"


def _short(value: Any) -> str:
    text = str(value)
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain(value: Any) -> Any:
    """`value` as JSON would give it back: strings, numbers, lists and dictionaries only."""
    return json.loads(json.dumps(value, default=str))


def _digest(arrays: Mapping[str, Arrays]) -> str:
    return hash_arrays({f"{part}:{name}": array for part, content in arrays.items() for name, array in content.items()})
