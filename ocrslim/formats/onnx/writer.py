"""A pruned network written as the file that it was read from: the same operators, with smaller tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.errors import ArtifactError, PlanError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.onnx.model import OnnxModel, open_onnx, read_onnx_model
from ocrslim.formats.onnx.shape_constants import follow_cut
from ocrslim.formats.onnx.sizes import sizes_at
from ocrslim.formats.onnx.tensors import add_tensor, copy_name, set_tensor
from ocrslim.utils import atomic_file, printable, same_place

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def write_pruned_onnx(
    source: str | Path,
    target: str | Path,
    arrays: Mapping[str, np.ndarray],
    groups: Mapping[str, int],
    input_shape: Sequence[int],
) -> None:
    """Write the ONNX file `source` with other arrays as `target`, at once or not at all.

    Operators, names, opset, other attributes and metadata stay. Shapes in the file that name a number of channels
    follow the cut, as do the sizes that it notes for values between operators.

    Args:
        arrays: tensors by the names that `read_onnx_file` gives them; those that are missing stay as they are.
        groups: groups of the convolutions that have another number of them, by the name of their weight.
        input_shape: [N, C, H, W] of an image that the network takes.

    Raises:
        WeightsError: `source` is missing, damaged or not read here.
        PlanError: the arrays do not fit the network.
        ArtifactError: `target` is `source`, or cannot be written.
    """
    _require_other(source, target)
    wrong = "the pruned network does not fit together: {}: prune it as it was read"
    _write(_cut(source, arrays, groups, input_shape, wrong), target)


def write_cut_classes_onnx(
    source: str | Path,
    target: str | Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    input_shape: Sequence[int],
) -> None:
    """Write the ONNX file `source` with fewer entries along an axis of its outputs, at once or not at all.

    All else stays, as `write_pruned_onnx` says.

    Args:
        arrays: tensors by the names that `read_onnx_file` gives them; those that are missing stay as they are.
        metadata: what the file is to say of itself, beside what it says already.
        input_shape: [N, C, H, W] of an image that the network takes.

    Raises:
        WeightsError: `source` is missing, damaged or not read here.
        PlanError: the arrays do not fit the network.
        ArtifactError: `target` is `source`, or cannot be written.
    """
    _require_other(source, target)
    wrong = "cannot do with fewer classes: {}: export the model again, and cut that"
    model = _cut(source, arrays, {}, input_shape, wrong, same_outputs=False)
    _set_metadata(model.proto, metadata)
    _write(model, target)


def _cut(
    source: str | Path,
    arrays: Mapping[str, np.ndarray],
    groups: Mapping[str, int],
    input_shape: Sequence[int],
    wrong: str,
    same_outputs: bool = True,
) -> OnnxModel:
    """Return the network of a file with other arrays and groups, and the sizes that follow.

    Args:
        wrong: what is said where they do not fit, with {} in the place of the cause.
    """
    before = open_onnx(source)
    old = sizes_at(before, input_shape)
    try:
        model = _with_arrays(before, arrays, groups)
        follow_cut(model, old, input_shape, same_outputs=same_outputs)
    except FormatFault as fault:
        raise PlanError(f"{source}: {wrong.format(fault)}") from None
    return model


def _set_metadata(proto: Any, metadata: Mapping[str, str]) -> None:
    known = {entry.key: entry for entry in proto.metadata_props}
    for key, value in metadata.items():
        entry = known[key] if key in known else proto.metadata_props.add(key=key)
        entry.value = value


def _require_other(source: str | Path, target: str | Path) -> None:
    if same_place(source, target):
        raise ArtifactError(f"{target}: is the model that is pruned, expected another file for the result")


def _write(model: OnnxModel, target: str | Path) -> None:
    with atomic_file(target) as stream:
        stream.write(model.proto.SerializeToString())


def _with_arrays(model: OnnxModel, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]) -> OnnxModel:
    """Return the network with new tensors and groups; a tensor that is used in several ways becomes several."""
    graph = model.proto.graph
    uses = dict(_uses(model))
    strange = [key for key in arrays if key not in model.constants and key not in uses]
    if strange or not groups.keys() <= {*model.constants, *uses}:
        key = printable((strange or list(groups))[0])
        raise FormatFault(f"it has no tensor {key}")
    for key, array in arrays.items():
        own = model.constants[key if key in model.constants else uses[key][2]]
        if array.ndim != own.ndim:
            raise FormatFault(f"{printable(key)} has {own.ndim} axes, the new one {array.ndim}")
    _set_groups(model, uses, arrays, groups)
    originals = dict(model.constants)
    for key, array in arrays.items():
        if key in model.constants:
            set_tensor(graph, key, array)
            originals[key] = array
    for key, array in arrays.items():
        if key not in model.constants:
            node, place, name = uses[key]
            if array.shape != originals[name].shape or not np.array_equal(array, originals[name]):
                add_tensor(graph, key, array.astype(model.constants[name].dtype))
                node.input[place] = key
    return read_onnx_model(model.proto.SerializeToString())


def _uses(model: OnnxModel) -> Iterator[tuple[str, tuple[Any, int, str]]]:
    """Yield the uses of the file's tensors by the names of their copies: node, place among its inputs, tensor."""
    names = {name: name for name in model.constants}
    for node in model.nodes:
        for place, name in enumerate(node.input):
            if name in names:
                yield copy_name(names[name], node.output[0], place), (node, place, names[name])
        if node.op_type == "Identity" and node.input[0] in names:
            names[node.output[0]] = names[node.input[0]]


def _set_groups(
    model: OnnxModel,
    uses: Mapping[str, tuple[Any, int, str]],
    arrays: Mapping[str, np.ndarray],
    groups: Mapping[str, int],
) -> None:
    for copy, (node, place, name) in uses.items():
        count = groups.get(copy if copy in arrays else name)
        if node.op_type in _CONVOLUTIONS and place == 1 and count is not None:
            for attribute in node.attribute:
                if attribute.name == "group":
                    attribute.i = count
