"""Weights into a model, strictly, and out of it: checkpoints, Paddle inference models and ONNX files.

Inference models and ONNX files name parameters as Paddle does (`weight_names`): sorted by their numbers, the layers of
one type stand in the order in which PaddleOCR's code, and so ours, creates them.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ocrslim.errors import WeightsError
from ocrslim.formats import CHECKPOINT, Arrays, WeightFile, not_finite, read_weight_file, resolve_checkpoint
from ocrslim.models.weight_names import Layers, layers, layers_of, named
from ocrslim.models.weight_remedies import remedy
from ocrslim.tasks import Task
from ocrslim.utils import atomic_file, listed, printable

__all__ = [
    "BackboneReport",
    "LoadReport",
    "init_backbone",
    "load_weights",
    "read_weights",
    "resolve_checkpoint",
    "save_checkpoint",
    "state_arrays",
]

logger = logging.getLogger(__name__)

_STUDENT = "Student."
_BACKBONE = "backbone."


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
        arrays = _under_prefix(file, expected)
    else:
        absent = _absent_layers(model, file)
        expected -= absent
        arrays = _by_number(file, {key: tensor for key, tensor in state.items() if key in expected})
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
    state = {key: t for key, t in model.state_dict().items() if key.startswith(_BACKBONE)}
    by_key = file.kind == CHECKPOINT
    found = _backbone_arrays(file, state) if by_key else _leading_layers(file, state)
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
            f"{file.path}: no layer fits this backbone: it holds {_listed_keys(sorted(file.arrays)) or 'no arrays'}, "
            f"expected keys such as {next(iter(state))}: choose weights of the same backbone and scale"
        )
    _assign(state, fits)
    logger.info(
        "%s: %d of the backbone's %d arrays loaded%s",
        file.path,
        len(fits),
        len(state),
        f"; left out: {_listed_keys(f'{k} ({why})' for k, why in left_out.items())}" if left_out else "",
    )
    return BackboneReport(file.path, tuple(fits), tuple(left_out.items()))


def state_arrays(model: nn.Layer) -> Arrays:
    """Return copies of the model's parameters and batch-norm statistics by state-dict key."""
    return {key: np.array(tensor.numpy()) for key, tensor in model.state_dict().items()}


def save_checkpoint(model: nn.Layer, path: str | Path) -> Path:
    """Write the model's state dict, atomically, as `paddle.load` and PaddleOCR read it.

    Returns the path written, with `.pdparams` added where it was left out.

    Raises:
        ArtifactError: the file cannot be written; what was there before is intact.
    """
    path = Path(path)
    if path.suffix != ".pdparams":
        path = Path(f"{path}.pdparams")
    buffer = io.BytesIO()
    paddle.save(model.state_dict(), buffer)
    with atomic_file(path) as stream:
        stream.write(buffer.getbuffer())
    return path


def _under_prefix(file: WeightFile, keys: set[str]) -> Arrays:
    """Return the arrays of one network among those that distillation or a wrapper stores under prefixes."""
    counts = _prefix_counts(file.arrays, keys)
    most = max(counts.values(), default=0)
    best = sorted(prefix for prefix, count in counts.items() if count == most)
    if not best or "" in best:
        return file.arrays
    if len(best) > 1 and most == len(keys) and _STUDENT not in best:
        raise WeightsError(
            f"{file.path}: it holds several networks of this architecture, under {', '.join(best)}, "
            f"expected one, or one under {_STUDENT}: save the one you want in a file of its own"
        )
    prefix = _STUDENT if _STUDENT in best else best[0]
    others = [other for other in best if other != prefix]
    note = f" (also there, not used: {', '.join(others)})" if others else ""
    logger.info("%s: weights taken from %s*%s", file.path, prefix, note)
    return {key[len(prefix) :]: array for key, array in file.arrays.items() if key.startswith(prefix)}


def _prefix_counts(found: Iterable[str], keys: set[str]) -> Counter[str]:
    """For each prefix ('' or ending with a dot): how many of `keys` are in `found` behind it."""
    counts: Counter[str] = Counter()
    for name in found:
        cuts = [0, *(match.end() for match in re.finditer(r"\.", name))]
        counts.update(name[:cut] for cut in cuts if name[cut:] in keys)
    return counts


def _absent_layers(model: nn.Layer, file: WeightFile) -> set[str]:
    """Keys of the training-only layers, unless the file has as many layers as the whole model."""
    state = model.state_dict()
    in_file = {kind: len(found) for kind, found in _layers_in(file, state).items()}
    if in_file == {kind: len(ours) for kind, ours in layers_of(state).items()}:
        return set()
    return {key for key in state if key.startswith(tuple(model.training_only))}


def _layers_in(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Layers:
    """Group the names of the file's arrays by layer."""
    return layers({name: name for name in file.arrays}, known=named(state))


def _by_number(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Arrays:
    """Give the file's arrays the keys of `state`; what has no counterpart keeps its name."""
    ours, theirs, own = layers_of(state), _layers_in(file, state), named(state)
    if not theirs and not own.keys() & file.arrays.keys():
        raise WeightsError(
            f"{file.path}: no weights named as Paddle names them (conv2d_0.w_0): it holds "
            f"{_listed_keys(file.arrays) or 'no arrays'}: use the model as paddle2onnx made it; "
            "simplified or optimised, its layers are fused and have lost their names"
        )
    keys = {name: key for name, key in own.items() if name in file.arrays}
    for kind, found in theirs.items():
        for index, layer in enumerate(found):
            counterpart = ours[kind][index] if index < len(ours.get(kind, ())) else {}
            keys.update({name: counterpart.get(slot, name) for slot, name in layer.items()})
    return {key: file.arrays[name] for name, key in keys.items()}


def _leading_layers(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Arrays:
    """Return the file's arrays by key, up to the first layer of each type that differs: the order is lost there."""
    ours = layers_of(state)
    found: Arrays = {key: file.arrays[name] for name, key in named(state).items() if name in file.arrays}
    for kind, theirs in _layers_in(file, state).items():
        for layer, counterpart in zip(theirs, ours.get(kind, ())):
            arrays = {key: file.arrays[layer[slot]] for slot, key in counterpart.items() if slot in layer}
            if layer.keys() != counterpart.keys() or any(
                array.shape != tuple(state[key].shape) for key, array in arrays.items()
            ):
                break
            found.update(arrays)
    return found


def _backbone_arrays(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Arrays:
    """Return the file's arrays that lie where its backbone's do, keyed as ours; the prefix that fits most wins."""
    shapes = {key[len(_BACKBONE) :]: tuple(tensor.shape) for key, tensor in state.items()}
    # Shapes decide as well: a teacher's backbone has the same keys at another width.
    sizes = set(shapes.values())
    counts = _prefix_counts((n for n, array in file.arrays.items() if array.shape in sizes), set(shapes))
    if not counts:
        return {}
    most = max(counts.values())
    best = [prefix for prefix, count in counts.items() if count == most]
    preferred = (_BACKBONE, "", _STUDENT + _BACKBONE)
    prefix = next((p for p in preferred if p in best), min(best))
    return {_BACKBONE + name[len(prefix) :]: array for name, array in file.arrays.items() if name.startswith(prefix)}


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
        faults.append(f"{len(missing)} keys missing ({_listed_keys(missing)})")
    if extra:
        faults.append(f"{len(extra)} unexpected ({_listed_keys(extra)})")
    if other:
        details = _listed_keys(f"{k} is {list(arrays[k].shape)}, expected {list(shapes[k])}" for k in other)
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


def _listed_keys(keys: Iterable[str]) -> str:
    return listed(printable(key) for key in keys)
