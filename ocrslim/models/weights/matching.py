"""Weights of a file given the keys of a network.

Inference models and ONNX files name parameters as Paddle does (`names`): sorted by their numbers, the layers of one
type stand in the order in which PaddleOCR's code, and so ours, creates them.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import paddle
from paddle import nn

from ocrslim.errors import WeightsError
from ocrslim.formats import Arrays, WeightFile
from ocrslim.models.weights.names import Layers, layers, layers_of, named
from ocrslim.utils import listed, printable

logger = logging.getLogger(__name__)

BACKBONE = "backbone."
_STUDENT = "Student."


def under_prefix(file: WeightFile, keys: set[str]) -> Arrays:
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


def absent_layers(model: nn.Layer, file: WeightFile) -> set[str]:
    """Keys of the training-only layers, unless the file has as many layers as the whole model."""
    state = model.state_dict()
    in_file = {kind: len(found) for kind, found in _layers_in(file, state).items()}
    if in_file == {kind: len(ours) for kind, ours in layers_of(state).items()}:
        return set()
    return {key for key in state if key.startswith(tuple(model.training_only))}


def _layers_in(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Layers:
    """Group the names of the file's arrays by layer."""
    return layers({name: name for name in file.arrays}, known=named(state))


def by_number(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Arrays:
    """Give the file's arrays the keys of `state`; what has no counterpart keeps its name."""
    ours, theirs, own = layers_of(state), _layers_in(file, state), named(state)
    if not theirs and not own.keys() & file.arrays.keys():
        raise WeightsError(
            f"{file.path}: no weights named as Paddle names them (conv2d_0.w_0): it holds "
            f"{listed_keys(file.arrays) or 'no arrays'}: use the model as paddle2onnx made it; "
            "simplified or optimised, its layers are fused and have lost their names"
        )
    keys = {name: key for name, key in own.items() if name in file.arrays}
    for kind, found in theirs.items():
        for index, layer in enumerate(found):
            counterpart = ours[kind][index] if index < len(ours.get(kind, ())) else {}
            keys.update({name: counterpart.get(slot, name) for slot, name in layer.items()})
    return {key: file.arrays[name] for name, key in keys.items()}


def leading_layers(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Arrays:
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


def backbone_arrays(file: WeightFile, state: Mapping[str, paddle.Tensor]) -> Arrays:
    """Return the file's arrays that lie where its backbone's do, keyed as ours; the prefix that fits most wins."""
    shapes = {key[len(BACKBONE) :]: tuple(tensor.shape) for key, tensor in state.items()}
    # Shapes decide as well: a teacher's backbone has the same keys at another width.
    sizes = set(shapes.values())
    counts = _prefix_counts((n for n, array in file.arrays.items() if array.shape in sizes), set(shapes))
    if not counts:
        return {}
    most = max(counts.values())
    best = [prefix for prefix, count in counts.items() if count == most]
    preferred = (BACKBONE, "", _STUDENT + BACKBONE)
    prefix = next((p for p in preferred if p in best), min(best))
    return {BACKBONE + name[len(prefix) :]: array for name, array in file.arrays.items() if name.startswith(prefix)}


def listed_keys(keys: Iterable[str]) -> str:
    """Join the first of the keys of a file for a message."""
    return listed(printable(key) for key in keys)
