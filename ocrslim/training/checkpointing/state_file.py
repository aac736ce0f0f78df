"""The state of a training run on the disk: saved so that a kill between any two writes loses nothing.

`latest.pdopt` alone is what a run resumes from: weights, optimizer state, average, position and history, and the
last good state that a divergence goes back to, in one file that is replaced in one move. `latest.pdparams`,
`latest.plan.json` and `latest.json` are written after it, for people and for the other commands; after a kill they
may be one save older than `latest.pdopt`, which the next run puts right.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ocrslim.errors import TrainingError
from ocrslim.formats import read_pickle
from ocrslim.models import save_checkpoint, state_arrays
from ocrslim.training.checkpointing.snapshot import Arrays, Snapshot, check_finite
from ocrslim.training.monitoring.history import Progress
from ocrslim.utils import GIB, Field, atomic_file, hash_arrays, named, parse_json, shortened, shown, write_json

SCHEMA = 1
STATE_SUFFIX, WEIGHTS_SUFFIX = ".pdopt", ".pdparams"
LATEST, BEST = "latest", "best_accuracy"
_PICKLE = b"\x80"  # first byte of all that pickle writes by a protocol that it has used for twenty years
_MOST = 16 * GIB
_PARTS = ("weights", "optimizer", "average")


@dataclass(frozen=True)
class TrainingState(Snapshot):
    """Everything that a run needs to go on in another process.

    Attributes:
        path: where it was read from.
        fingerprint: what the run's outcome depends on (nested plain values).
        good: state that a divergence goes back to; None where that is this state itself.
    """

    path: Path
    fingerprint: dict[str, Any]
    good: Snapshot | None


def save_state(folder: Path, snapshot: Snapshot, good: Snapshot | None, fingerprint: Mapping[str, Any]) -> None:
    """Write `latest.pdopt`.

    Args:
        good: what a divergence goes back to; left out where it is of the same step.

    Raises:
        ArtifactError: the file cannot be written; the one before is intact.
    """
    content = {"schema": SCHEMA, "fingerprint": plain(fingerprint), **_content(snapshot)}
    if good is not None and good.progress.step != snapshot.progress.step:
        content["good"] = _content(good)
    with atomic_file(folder / f"{LATEST}{STATE_SUFFIX}") as stream:
        pickle.dump(content, stream, protocol=4)


def _content(snapshot: Snapshot) -> dict[str, Any]:
    arrays = {part: getattr(snapshot, part) for part in _PARTS}
    return {"progress": plain(asdict(snapshot.progress)), "digest": _digest(arrays), **arrays}


def save_summary(folder: Path, progress: Progress, fingerprint: Mapping[str, Any], steps_per_epoch: int) -> None:
    """Write `latest.json`, for people and tools: position, evaluations, and the curve of loss and learning rate."""
    epoch, step = divmod(progress.step, steps_per_epoch)
    summary = {
        "schema": SCHEMA,
        "epoch": epoch + 1,
        "step_in_epoch": step,
        "steps_per_epoch": steps_per_epoch,
        "global_step": progress.step,
        "seconds": round(progress.seconds, 1),
        "rollbacks": progress.rollbacks,
        "best": progress.best.to_json() if progress.best else None,
        "history": [entry.to_json() for entry in progress.history],
        "steps": progress.steps,
        "curve": progress.curve.points,
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
        content = read_pickle(path, most=_MOST)
    except OSError as error:
        raise TrainingError(
            f"{named(path)}: cannot be read ({error.strerror}); expected the state of a training run: "
            "check Global.checkpoints and Global.save_model_dir; to start from weights alone, name them in "
            "Global.pretrain_weights"
        ) from None
    except pickle.UnpicklingError as error:
        raise not_a_state(path, str(error)) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise not_a_state(path, "it was not written by this version of ocrslim")
    try:
        return _state(path, Field(content))
    except ValueError as fault:
        raise not_a_state(path, str(fault)) from None


def _state(path: Path, content: Field) -> TrainingState:
    fingerprint = content["fingerprint"].mapping()
    _require_plain(fingerprint)
    good = Snapshot(**_parts(content["good"])) if "good" in content else None
    return TrainingState(**_parts(content), path=path, fingerprint=fingerprint, good=good)


def _parts(content: Field) -> dict[str, Any]:
    """Read the fields of a snapshot; a file from before there were averages has none."""
    no_average: Arrays = {}
    optional = {"average": no_average} if "average" not in content else {}
    arrays = {part: optional[part] if part in optional else _arrays(content[part]) for part in _PARTS}
    if content["digest"].value != _digest(arrays):
        raise ValueError("its content does not have the hash it was written with")
    return {"progress": Progress.from_json(content["progress"]), **arrays}


def _arrays(content: Field) -> Arrays:
    for _, field in content.items():
        if not isinstance(field.value, np.ndarray) or field.value.dtype.kind not in "fiub":
            raise field.fault("an array of numbers")
    return dict(content.mapping())


def _require_plain(value: dict[str, Any]) -> None:
    """Refuse what JSON could not hold, or holds too deeply to be compared."""
    try:
        parse_json(json.dumps(value, allow_nan=False))
    except (TypeError, RecursionError, ValueError) as error:
        raise ValueError(f"its fingerprint is no plain value ({shortened(str(error))})") from None


def not_a_state(path: Path, reason: str) -> TrainingError:
    """Build the error of a file that is not the state of a training run, or a damaged one."""
    return TrainingError(
        f"{named(path)}: not the state of a training run: {reason}; to start from its weights, name the .pdparams "
        "beside it in Global.pretrain_weights; to start over in this folder, add -o Global.overwrite=true"
    )


def check_shapes(state: TrainingState, model: nn.Layer) -> None:
    """Refuse the state of another network than `model`.

    Raises:
        TrainingError: naming the first array that differs.
    """
    expected = {key: tuple(array.shape) for key, array in state_arrays(model).items()}
    snapshots = [state, *([state.good] if state.good is not None else [])]
    for arrays in filter(None, [one for snapshot in snapshots for one in (snapshot.weights, snapshot.average)]):
        found = {key: tuple(array.shape) for key, array in arrays.items()}
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                raise TrainingError(
                    f"{state.path}: {shortened(key)} has shape {found.get(key)}, expected {expected.get(key)}: it is "
                    "the state of another network; choose another -o Global.save_model_dir= or -o Global.checkpoints="
                )


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
    text = shown(value) if isinstance(value, int) else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{64}", text) else shortened(text)


def plain(value: Any) -> Any:
    """Return `value` as JSON would give it back: strings, numbers, lists and dictionaries only."""
    return json.loads(json.dumps(value, default=str))


def _digest(arrays: Mapping[str, Arrays]) -> str:
    return hash_arrays({f"{part}:{name}": array for part, content in arrays.items() for name, array in content.items()})
