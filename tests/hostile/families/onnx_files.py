"""ONNX files that are damaged, hostile or of no use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..case import Case, Either, Place, Prepare, Refused, Works, command
from .common import DAMAGES, NO_FILES, READERS, Change, flipped, replace_by

FAMILY = "programs"
_NAMED = r"w\.onnx"
_HARMLESS = Either((Refused(_NAMED), Works()))


def cases() -> Iterator[Case]:
    """Files of our own, and a genuine one that is damaged, under the commands in turns."""
    stages = ("import", "eval", "train", "backbone", "export")
    for number, (name, data) in enumerate(_onnx_files().items()):
        yield Case(FAMILY, f"onnx-{name}", _onnx_of(lambda place, data=data: data, stages[number % 5]), Refused(_NAMED))
    for number, kind in enumerate(NO_FILES):

        def prepare(place: Place, kind: str = kind, number: int = number) -> list[str]:
            place.standard(weights="")
            replace_by(place.work / "w.onnx", kind)
            return READERS[stages[number % 5]]("w.onnx")

        yield Case(FAMILY, f"onnx-is-a-{kind}", prepare, Refused(_NAMED))
    for name, change in DAMAGES.items():
        if name.startswith("cut"):
            cut = _real_onnx(change)
            yield Case(FAMILY, f"onnx-{name}", cut, Refused(_NAMED), needs=("v2.onnx",))
    for number in range(8):
        flip = _real_onnx(_flip(1 + number, (2000, None)[number % 2]))
        yield Case(FAMILY, f"onnx-flipped-{number}", flip, _HARMLESS, needs=("v2.onnx",))
    yield Case(FAMILY, "onnx-with-folded-norms", _folded, Refused("(?i)fold|batch norm|fused"), needs=("v2.onnx",))
    yield Case(FAMILY, "onnx-of-another-network", _onnx_of(_real_bytes, "eval"), Refused(_NAMED), needs=("v2.onnx",))


def _flip(bits: int, end: int | None) -> Change:
    return lambda data, place: flipped(data, place, bits, end=end)


def _model(*tensors: Any, nodes: tuple[Any, ...] = ()) -> bytes:
    graph = helper.make_graph(list(nodes), "g", [], [], initializer=list(tensors))
    return helper.make_model(graph).SerializeToString()


def _tensor(**fields: Any) -> Any:
    made = TensorProto(name="conv2d_0.w_0", data_type=TensorProto.FLOAT, dims=[8, 3, 3, 3])
    for key, value in fields.items():
        if isinstance(value, list):
            made.ClearField(key)
            getattr(made, key).extend(value)
        else:
            setattr(made, key, value)
    return made


def _outside(location: str) -> bytes:
    """A tensor whose values lie in another file."""
    tensor = _tensor(data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return _model(tensor)


def _onnx_files() -> dict[str, bytes]:
    whole = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "conv2d_0.w_0")
    subgraph = helper.make_graph([], "inner", [], [])
    for _ in range(20):
        node = helper.make_node(
            "If", ["c"], ["y"], then_branch=subgraph, else_branch=helper.make_graph([], "e", [], [])
        )
        subgraph = helper.make_graph([node], "inner", [], [])
    return {
        "empty": b"",
        "text": b"<html>404</html>",
        "zeros": bytes(5000),
        "no-graph": helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString(),
        "no-values": _model(_tensor()),
        "too-few-values": _model(_tensor(raw_data=bytes(10))),
        "too-many-values": _model(_tensor(raw_data=bytes(10_000))),
        "sizes-of-2-to-the-62": _model(_tensor(dims=[2**62, 4], raw_data=bytes(16))),
        "sizes-of-a-terabyte": _model(_tensor(dims=[2**38], raw_data=bytes(16))),
        "negative-sizes": _model(_tensor(dims=[-8, 3], raw_data=bytes(16))),
        "an-unknown-type": _model(_tensor(data_type=99, raw_data=bytes(864))),
        "no-type": _model(_tensor(data_type=0, raw_data=bytes(864))),
        "text-for-values": _model(_tensor(data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])),
        "values-in-etc": _outside("/etc/hostname"),
        "values-above": _outside("../../../../../../etc/hostname"),
        "values-in-a-device": _outside("/dev/zero"),
        "values-in-a-fifo": _outside("pipe"),
        "values-in-a-missing-file": _outside("missing.bin"),
        "one-array-of-another-name": _model(numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "weight")),
        "one-array-alone": _model(whole),
        "one-array-twice": _model(whole, whole),
        "an-array-of-nan": _model(numpy_helper.from_array(np.full((8, 3, 3, 3), np.nan, np.float32), "conv2d_0.w_0")),
        "a-constant-without-value": _model(nodes=(helper.make_node("Constant", [], ["x"]),)),
        "a-constant-without-output": _model(nodes=(helper.make_node("Constant", [], []),)),
        "graphs-20-deep": helper.make_model(subgraph).SerializeToString(),
    }


def _real_bytes(place: Place) -> bytes:
    return place.base.path("v2.onnx").read_bytes()


def _onnx_of(content: Callable[[Place], bytes], stage: str, config: str = "c.yml") -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="", config=config)
        place.write("w.onnx", content(place))
        if stage == "import" or config != "c.yml":
            replace_by(place.work / "pipe", "fifo")
        return READERS[stage]("w.onnx")

    return prepare


def _real_onnx(change: Change) -> Prepare:
    return _onnx_of(lambda place: change(_real_bytes(place), place), "import", "real.yml")


def _folded(place: Place) -> list[str]:
    """PP-OCRv2 with its batch norms folded into the convolutions, as converters and optimisers leave it."""
    place.standard(weights="", config="real.yml")
    model = onnx.load_from_string(_real_bytes(place))
    kept = [node for node in model.graph.node if not _is_norm(node)]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    place.write("w.onnx", model.SerializeToString())
    return command("import-weights", more=("w.onnx", "made.pdparams"))


def _is_norm(node: Any) -> bool:
    return node.op_type == "BatchNormalization" or (node.op_type == "Constant" and "batch_norm" in node.output[0])
