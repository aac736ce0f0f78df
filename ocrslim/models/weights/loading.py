"""Weights into a network, strictly: from checkpoints, Paddle inference models and ONNX files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import WeightsError
from ocrslim.formats import CHECKPOINT, Arrays, WeightFile, not_finite, read_weight_file
from ocrslim.models.weights.matching import (
    BACKBONE,
    absent_layers,
    backbone_arrays,
    by_number,
    leading_layers,
    listed_keys,
    under_prefix,
)
from ocrslim.models.weights.remedies import remedy
from ocrslim.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """The source of a model's weights.

    Attributes:
        source: the file that was read.
        kind: 'checkpoint', 'inference' or 'onnx'.
        initialised: state-dict keys that the file does not have and that keep their fresh values.
    """

    source: Path
    kind: str
    initialised: tuple[str, ...] = ()


@dataclass(frozen=True)
class BackboneReport:
    """The weights that a backbone took: state-dict keys that were loaded, and keys left out, each with the reason."""

    source: Path
    loaded: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def read_weights(source: str | Path) -> Arrays:
    """Return the arrays of a weights file: by state-dict key (checkpoint) or Paddle's parameter name.

    Raises:
        WeightsError: missing, unreadable, truncated, or not a file of weights.
    """
    return read_weight_file(source).arrays


def load_weights(model: nn.Layer, source: str | Path) -> LoadReport:
    """Load all weights of `model` from a checkpoint, an inference model's folder or an ONNX file.

    Nothing is loaded unless everything fits. Only what an inference model cannot have, the layers that run
    while training alone, may be missing from one: those keep their fresh values.

    Raises:
        WeightsError: unreadable; keys missing, extra or of another shape; NaN or infinite values.
    """
    file = read_weight_file(source)
    state = model.state_dict()
    expected = set(state)
    if file.kind == CHECKPOINT:
        arrays = under_prefix(file, expected)
    else:
        absent = absent_layers(model, file)
        expected -= absent
        arrays = by_number(file, {key: tensor for key, tensor in state.items() if key in expected})
    shapes = {key: tuple(state[key].shape) for key in state if key in expected}
    _require_match(file.path, arrays, shapes, lambda: _remedy(model, file, arrays, shapes))
    _assign(state, {key: _checked(file.path, key, arrays[key]) for key in arrays})
    initialised = tuple(key for key in state if key not in expected)
    if initialised:
        logger.info(
            "%s: newly initialised, because an exported model does not contain it: %s (%d arrays)",
            file.path,
            ", ".join(f"{prefix}*" for prefix in model.training_only),
            len(initialised),
        )
    return LoadReport(file.path, file.kind, initialised)


def init_backbone(model: nn.Layer, source: str | Path) -> BackboneReport:
    """Initialise the backbone of `model` from the weights that fit in a file of another network or of a backbone.

    A layer fits when its key and shape are the same. Inference models and ONNX files have an order
    in place of keys: of those, layers are taken up to the first that does not fit.

    Raises:
        WeightsError: unreadable; nothing fits; NaN or infinite values in what fits.
    """
    file = read_weight_file(source)
    state = {key: t for key, t in model.state_dict().items() if key.startswith(BACKBONE)}
    by_key = file.kind == CHECKPOINT
    found = backbone_arrays(file, state) if by_key else leading_layers(file, state)
    fits, left_out = {}, {}
    for key, tensor in state.items():
        if key not in found:
            left_out[key] = "not in the file"
        elif found[key].shape != tuple(tensor.shape):
            left_out[key] = f"shape {list(found[key].shape)} in the file, {list(tensor.shape)} in the model"
        else:
            fits[key] = _checked(file.path, key, found[key])
    left_out.update({key: "not in the model" for key in found if key not in state})
    if not fits:
        raise WeightsError(
            f"{file.path}: no layer fits this backbone: it holds {listed_keys(sorted(file.arrays)) or 'no arrays'}, "
            f"expected keys such as {next(iter(state))}: choose weights of the same backbone and scale"
        )
    _assign(state, fits)
    logger.info(
        "%s: %d of the backbone's %d arrays loaded%s",
        file.path,
        len(fits),
        len(state),
        f"; left out: {listed_keys(f'{k} ({why})' for k, why in left_out.items())}" if left_out else "",
    )
    return BackboneReport(file.path, tuple(fits), tuple(left_out.items()))


def _remedy(model: nn.Layer, file: WeightFile, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Suggest what to do about weights that do not fit: what the network's task knows of it goes before the general."""
    task: Task | None = getattr(model, "task", None)
    fault = task.weights_fault({key: array.shape for key, array in arrays.items()}, shapes) if task else None
    return fault or remedy(file, arrays, shapes)


def _require_match(
    path: Path, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]], remedy: Callable[[], str]
) -> None:
    missing = [key for key in shapes if key not in arrays]
    extra = [key for key in arrays if key not in shapes]
    other = [key for key in shapes if key in arrays and arrays[key].shape != shapes[key]]
    if not (missing or extra or other):
        return
    faults = []
    if missing:
        faults.append(f"{len(missing)} keys missing ({listed_keys(missing)})")
    if extra:
        faults.append(f"{len(extra)} unexpected ({listed_keys(extra)})")
    if other:
        details = listed_keys(f"{k} is {list(arrays[k].shape)}, expected {list(shapes[k])}" for k in other)
        faults.append(f"{len(other)} of another shape ({details})")
    raise WeightsError(
        f"{path}: not weights of this architecture: {len(arrays)} arrays found, {len(shapes)} expected; "
        f"{'; '.join(faults)}: {remedy()}"
    )


def _checked(path: Path, key: str, array: np.ndarray) -> np.ndarray:
    """`array` as float32; refuses what is not a finite floating-point number."""
    if array.dtype.kind != "f":
        raise WeightsError(f"{path}: {key} holds {array.dtype} values, expected float32: save the weights as float32")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused below
        array = array.astype(np.float32)
    wrong = array.size - int(np.isfinite(array).sum())
    if wrong:
        raise WeightsError(not_finite(path, key, wrong, array.size))
    return array


def _assign(state: Mapping[str, paddle.Tensor], arrays: Arrays) -> None:
    for key, array in arrays.items():
        state[key].set_value(array)
