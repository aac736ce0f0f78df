"""What `unchanged.py` compares of a file or of a result: values and hashes, and where two of them differ."""

from __future__ import annotations

import collections
import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DROPPED = {  # keys of JSON objects and of training states: times, versions, and what depends on paths
    "seconds": "sen.json, latest.json, latest.pdopt, result of sensitivity",
    "train_seconds": "result of prune and train",
    "paddlepaddle": "export.json",
    "bytes": "result of export: the size of a model that has paths in it, see `program`",
}
_NAMES = "StructuredToParameterName@@"  # where Paddle keeps its automatic names in a checkpoint


class Reader:
    """Reads files as they are compared.

    Args:
        places: pairs of a path of this machine and what it is replaced by, wherever a text has it.
    """

    def __init__(self, places: Sequence[tuple[str, str]]):
        self._places = places

    def plain(self, value: Any) -> Any:
        """A value as JSON has it, arrays by their hashes, without `DROPPED` and without the places of this machine."""
        if isinstance(value, Mapping):
            return {str(key): self.plain(item) for key, item in value.items() if key not in DROPPED}
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        if isinstance(value, np.ndarray):
            return f"{value.dtype} {list(value.shape)} {_hash(np.ascontiguousarray(value).tobytes())[:16]}"
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, str):
            for place, name in self._places:
                value = value.replace(place, name)
            return value
        return value if isinstance(value, (int, float, type(None))) else repr(value)

    def file(self, path: Path) -> dict[str, Any]:
        """What is compared of a file: its `bytes` (a hash), its `content`, or both, where content tells more."""
        data = path.read_bytes()
        if path.suffix == ".json":
            return {"content": self.plain(json.loads(data))}
        if path.suffix == ".jsonl":
            return {"content": [self.plain(json.loads(line)) for line in data.splitlines()]}
        if path.suffix == ".pdopt":
            return {"content": self.plain(pickle.loads(data))}  # written by the code under test, in our own folder
        if path.suffix == ".pdmodel":
            return {"content": program(data)}
        if path.suffix in (".pickle", ".pdparams", ".info"):
            return {"content": self.plain(pickle.loads(data)), "bytes": _hash(data)}
        if path.suffix in (".yml", ".txt"):
            return {"content": data.decode().splitlines(), "bytes": _hash(data)}
        return {"bytes": _hash(data)}


def program(data: bytes) -> dict[str, Any]:
    """A program in Paddle's legacy format without the places in source files that it was made from."""
    from paddle.base.proto import framework_pb2

    found = framework_pb2.ProgramDesc.FromString(data)
    operators = [operator for block in found.blocks for operator in block.ops]
    for operator in operators:
        kept = [attribute for attribute in operator.attrs if attribute.name != "op_callstack"]
        del operator.attrs[:]
        operator.attrs.extend(kept)
    return {
        "operators": dict(sorted(collections.Counter(operator.type for operator in operators).items())),
        "variables": sorted(variable.name for block in found.blocks for variable in block.vars),
        "sha256": _hash(found.SerializeToString(deterministic=True)),
    }


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Where two plain values differ, a line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{place}.{key}".lstrip(".")
            if key not in old or key not in new:
                yield f"{inner}: only {'before' if key in old else 'after'}: {_short(old.get(key, new.get(key)))}"
            else:
                yield from differences(old[key], new[key], inner)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{place}: {len(old)} -> {len(new)} entries"
        for number, pair in enumerate(zip(old, new)):
            yield from differences(*pair, f"{place}[{number}]")
    elif old != new:
        yield f"{place}: {_short(old)} -> {_short(new)}"


def told(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[str]:
    """The differences of two files, or of what two commands said; bytes only where the content does not tell."""
    if old is None or new is None:
        return ["only before" if new is None else "only after"]
    found = list(differences({**old, "bytes": ""}, {**new, "bytes": ""}))
    if not found and old.get("bytes") != new.get("bytes"):
        return ["other bytes, with the same content" if "content" in old else "other bytes"]
    lines = [line.removeprefix("content.") for line in found]
    names = [line for line in lines if line.startswith(_NAMES)]
    if names:  # all shift where networks are built in another order, or one more
        lines = [f"{len(names)} automatic names, such as {names[0]}", *(line for line in lines if line not in names)]
    return lines


def largest_difference(before: Path, after: Path) -> str | None:
    """By how much the arrays of two checkpoints or states differ; None for other files, and for equal arrays."""
    if before.suffix not in (".pdparams", ".pdopt") or not (before.is_file() and after.is_file()):
        return None
    old, new = (dict(_arrays(pickle.loads(path.read_bytes()))) for path in (before, after))
    same = [key for key in old if key in new and old[key].shape == new[key].shape]
    off = {key: float(np.abs(old[key] - new[key]).max(initial=0)) for key in same}
    worst = max(off, key=off.__getitem__, default="")
    if not worst or not off[worst]:
        return None
    return f"{sum(value > 0 for value in off.values())} of {len(old)} arrays differ, most by {off[worst]:.1e}: {worst}"


def _arrays(value: Any, place: str = "") -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, np.ndarray):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _arrays(item, f"{place}/{key}".lstrip("/"))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 160 else f"{text[:100]} ... {text[-50:]}"
