"""Exported models that are damaged: Paddle's programs and their parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ..case import Case, Either, Place, Prepare, Refused, Works, command
from . import onnx_files
from .common import DAMAGES, NO_FILES, READERS, Change, flipped, replace_by

FAMILY = "programs"
_NAMED = r"exported|pir|inference\."
_STAGES = ("eval", "predict", "eval", "import", "export", "train")
_HARMLESS = Either((Refused(_NAMED), Works()))


def cases() -> Iterator[Case]:
    """Damaged programs first, which crash Paddle; then parameters, what is no file, and ONNX."""
    for number in range(28):
        yield _changed(
            "exported", f"pdmodel-flipped-{number}", "inference.pdmodel", _flip(1 + number % 4), 0, _HARMLESS
        )
    for number in range(12):
        yield _changed("pir", f"json-flipped-{number}", "inference.json", _flip(1 + number % 3), 0, _HARMLESS)
    for number in range(8):
        change = _flip(1 + number % 3, None if number % 2 else 300)
        yield _changed("exported", f"pdiparams-flipped-{number}", "inference.pdiparams", change, number, _HARMLESS)
    number = 0
    for folder, file in (
        *(("exported", "inference.pdmodel"), ("exported", "inference.pdiparams"), ("pir", "inference.json")),
        ("pir", "inference.pdiparams"),
    ):
        for name, change in DAMAGES.items():
            number += 1
            yield _changed(folder, f"{file}-{folder}-{name}", file, change, number % 2, Refused(_NAMED))
        for kind in NO_FILES if folder == "exported" else ("fifo", "link-to-dev-zero"):
            number += 1
            yield Case(FAMILY, f"{file}-{folder}-is-a-{kind}", _replaced(folder, file, kind, number), Refused(_NAMED))
    for number, (name, edit) in enumerate(_EDITS.items()):
        expect = _HARMLESS if name.startswith("perhaps-") else Refused(_NAMED)
        yield Case(FAMILY, f"pdmodel-with-{name}", _edited(edit, number), expect)
    for number, (name, edit) in enumerate(_TREES.items()):
        yield Case(FAMILY, f"json-with-{name}", _tree(edit, number), Refused(_NAMED))
    yield Case(FAMILY, "parameters-of-another-network", _swapped, Refused(_NAMED))
    yield Case(FAMILY, "an-empty-folder", _empty_folder, Refused("empty"))
    yield from onnx_files.cases()


def _flip(bits: int, end: int | None = None) -> Callable[[bytes, Place], bytes]:
    return lambda data, place: flipped(data, place, bits, end=end)


def _changed(folder: str, name: str, file: str, change: Change, number: int, expect: Any) -> Case:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        path = place.copy(folder) / file
        path.write_bytes(change(path.read_bytes(), place))
        return READERS[_STAGES[number % len(_STAGES)]](folder)

    return Case(FAMILY, name, prepare, expect)


def _replaced(folder: str, file: str, kind: str, number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        replace_by(place.copy(folder) / file, kind)
        return READERS[_STAGES[number % 4]](folder)

    return prepare


def _swapped(place: Place) -> list[str]:
    place.standard(weights="")
    place.copy("exported")
    place.copy("pir")
    (place.work / "exported/inference.pdiparams").write_bytes((place.work / "pir/inference.pdiparams").read_bytes())
    return command("eval", "Global.pretrained_model=exported")


def _empty_folder(place: Place) -> list[str]:
    place.standard(weights="")
    (place.work / "empty").mkdir()
    return command("eval", "Global.pretrained_model=empty")


def _ops(program: Any, kind: str) -> list[Any]:
    return [op for op in program.blocks[0].ops if op.type == kind]


def _first(program: Any, kind: str, attribute: str) -> Any:
    (found,) = (attr for attr in _ops(program, kind)[0].attrs if attr.name == attribute)
    return found


def _parameter(program: Any) -> Any:
    return next(v for v in program.blocks[0].vars if v.persistable and v.type.type == 7).type.dense_tensor.tensor


def _set(values: Any, *new: int) -> None:
    del values[:]
    values.extend(new)


Edit = Callable[[Any], object]
_EDITS: dict[str, Edit] = {
    "no-blocks": lambda p: p.ClearField("blocks"),
    "no-operations": lambda p: p.blocks[0].ClearField("ops"),
    "no-variables": lambda p: p.blocks[0].ClearField("vars"),
    "no-feed": lambda p: p.blocks[0].ops.remove(_ops(p, "feed")[0]),
    "no-fetch": lambda p: p.blocks[0].ops.remove(_ops(p, "fetch")[0]),
    "an-unknown-operation": lambda p: setattr(_ops(p, "conv2d")[0], "type", "run_shell"),
    "a-py-func": lambda p: setattr(_ops(p, "conv2d")[0], "type", "py_func"),
    "an-operation-of-no-name": lambda p: setattr(_ops(p, "conv2d")[0], "type", ""),
    "an-unknown-input": lambda p: _ops(p, "conv2d")[0].inputs[0].arguments.__setitem__(0, "nothing"),
    "no-inputs": lambda p: _ops(p, "conv2d")[0].ClearField("inputs"),
    "no-outputs": lambda p: _ops(p, "conv2d")[0].ClearField("outputs"),
    "no-attributes": lambda p: _ops(p, "conv2d")[0].ClearField("attrs"),
    "operations-in-reverse": lambda p: _reverse(p.blocks[0].ops),
    "a-block-inside-itself": lambda p: setattr(p.blocks[0], "parent_idx", 0),
    "a-block-of-number-99": lambda p: setattr(p.blocks[0], "idx", 99),
    "strides-of-zero": lambda p: _set(_first(p, "conv2d", "strides").ints, 0, 0),
    "strides-of-minus-one": lambda p: _set(_first(p, "conv2d", "strides").ints, -1, -1),
    "strides-of-none": lambda p: _set(_first(p, "conv2d", "strides").ints),
    "groups-of-zero": lambda p: setattr(_first(p, "conv2d", "groups"), "i", 0),
    "groups-of-a-billion": lambda p: setattr(_first(p, "conv2d", "groups"), "i", 10**9),
    "padding-of-a-billion": lambda p: _set(_first(p, "conv2d", "paddings").ints, 10**9, 10**9),
    "padding-of-100000": lambda p: _set(_first(p, "conv2d", "paddings").ints, 100_000, 100_000),
    "a-dilation-of-zero": lambda p: _set(_first(p, "conv2d", "dilations").ints, 0, 0),
    "a-parameter-of-2-to-the-62": lambda p: _set(_parameter(p).dims, 2**62, 4),
    "a-parameter-of-negative-size": lambda p: _set(_parameter(p).dims, -8),
    "a-parameter-of-no-size": lambda p: _set(_parameter(p).dims),
    "perhaps-a-parameter-of-text": lambda p: setattr(_parameter(p), "data_type", 23),
    "perhaps-a-version-of-99": lambda p: setattr(p.version, "version", 99),
}  # fmt: skip


def _reverse(operations: Any) -> None:
    copies = list(operations)[::-1]
    for operation in copies:
        operations.add().CopyFrom(operation)
    del operations[: len(copies)]


def _edited(edit: Edit, number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        from paddle.base.proto import framework_pb2

        place.standard(weights="")
        path = place.copy("exported") / "inference.pdmodel"
        program = framework_pb2.ProgramDesc()
        program.ParseFromString(path.read_bytes())
        edit(program)
        path.write_bytes(program.SerializePartialToString())
        return READERS[("eval", "predict")[number % 2]]("exported")

    return prepare


def _operations(tree: Any) -> list[Any]:
    return tree["program"]["regions"][0]["blocks"][0]["ops"]


# texts that replace a PIR program
_TREES: dict[str, Callable[[Any], object]] = {
    "a-list": lambda tree: [1],
    "nothing": lambda tree: {},
    "no-regions": lambda tree: {**tree, "program": {"regions": []}},
    "no-operations": lambda tree: _operations(tree).clear() or tree,
    "operations-of-text": lambda tree: _operations(tree).append("x") or tree,
    "an-operation-of-nothing": lambda tree: _operations(tree).append({}) or tree,
    "an-unknown-operation": lambda tree: _operations(tree)[-2].update({"#": "1.run_shell"}) or tree,
    "operations-twice": lambda tree: _operations(tree).extend(_operations(tree)[:]) or tree,
    "a-number-for-a-name": lambda tree: _operations(tree)[0].update({"A": 5}) or tree,
    "no-base-code": lambda tree: {key: value for key, value in tree.items() if key != "base_code"},
    "a-version-of-text": lambda tree: {**tree, "base_code": {"magic": "pir", "version": "new", "trainable": []}},
    "a-size-of-2-to-the-62": lambda tree: json.loads(json.dumps(tree).replace("[4, 3, 3, 3]", f"[{2**62}, 3, 3, 3]")),
    "a-negative-size": lambda tree: json.loads(json.dumps(tree).replace("[4, 3, 3, 3]", "[-4, 3, 3, 3]")),
    "100000-levels": lambda tree: "[" * 100_000 + "]" * 100_000,
    "5001-digits": lambda tree: json.dumps(tree).replace("[4, 3, 3, 3]", "[" + "9" * 5001 + "]"),
    "half-a-character": lambda tree: '{"base_code": "\\ud800", "program": 1}',
    "nan": lambda tree: '{"base_code": NaN, "program": NaN}',
}  # fmt: skip


def _tree(edit: Callable[[Any], object], number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        path = place.copy("pir") / "inference.json"
        made = edit(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(made if isinstance(made, str) else json.dumps(made), encoding="utf-8")
        return READERS[("eval", "predict")[number % 2]]("pir")

    return prepare
