"""What an analysis leaves: `sen.pickle`, `sen.json`, `sen.jsonl`; damaged, forged, of something else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from .. import forging as f
from ..case import Case, Either, Expectation, Place, Prepare, Refused, Works, command
from .common import DAMAGES, NO_FILES, replace_by

FAMILY = "tables"
_STAGES: dict[str, list[str]] = {
    "dry-run": command("prune", more=("--dry-run",)),
    "prune": command("prune"),
    "sensitivity": command("sensitivity"),
    "merge": command("merge", "Global.save_model_dir=merged", more=("out",)),
}
_LAYER = "conv_last_weights"
_NAMES = {"sen.pickle": r"sen\.pickle", "sen.json": r"sen\.json\b", "sen.jsonl": r"sen\.jsonl"}
_NEEDS = ("analysis",)

_TABLES: dict[str, object] = {
    "an-empty-dictionary": {},
    "a-list": [1],
    "a-number": 5,
    "none": None,
    "layers-of-numbers": {_LAYER: 0.5},
    "layers-of-lists": {_LAYER: [0.5]},
    "layers-without-points": {_LAYER: {}},
    "names-of-numbers": {5: {0.5: 0.1}},
    "a-name-of-half-a-character": {"\ud800": {0.5: 0.1}},
    "ratios-of-text": {_LAYER: {"0.5": 0.1}},
    "a-ratio-of-0": {_LAYER: {0.0: 0.1}},
    "a-ratio-of-1.5": {_LAYER: {1.5: 0.1}},
    "a-ratio-of-nan": {_LAYER: {float("nan"): 0.1}},
    "a-ratio-of-true": {_LAYER: {True: 0.1}},
    "losses-of-text": {_LAYER: {0.5: "0.1"}},
    "a-loss-of-nan": {_LAYER: {0.5: float("nan")}},
    "a-loss-of-infinity": {_LAYER: {0.5: float("inf")}},
    "a-loss-of-400-digits": {_LAYER: {0.5: 10**400}},
    "an-unknown-layer": {"conv99_weights": {0.5: 0.1}},
    "paddle-s-automatic-names": {"conv2d_5.w_0": {0.5: 0.1}},
    "another-networks-layers": {f"layer{n}.weight": {0.5: 0.1} for n in range(9)},
    "a-name-of-100000-letters": {"x" * 100_000: {0.5: 0.1}},
}


def _forged() -> dict[str, bytes]:
    losses = f.pairs((f.real(0.5), f.real(0.1)))
    return {
        "a-call": f.whole(f.pairs((f.text(_LAYER), f.call(f.name("os", "system"), f.text(f.SHELL))))),
        "a-stacked-call": f.whole(f.call(f.stacked_name("posix", "system"), f.text(f.SHELL)), 4),
        "a-numpy-scalar": f.whole(
            f.call(f.name("numpy.core.multiarray", "scalar"), f.object_dtype(), f.raw(b"A" * 8)), 3
        ),
        "2-to-the-60-leaves": f.whole(f.pairs((f.doubled(f.EMPTY_TUPLE), losses))),
        "2-to-the-60-leaves-as-losses": f.whole(f.pairs((f.text(_LAYER), f.doubled(f.EMPTY_TUPLE)))),
        "100000-deep": f.whole(f.nested(100_000)),
        "tuples-1000000-deep-as-a-key": f.whole(f.pairs((f.EMPTY_TUPLE + b"\x85" * 1_000_000, losses))),
        "a-memo-of-2-to-the-31": f.whole(f.NONE + b"r\xff\xff\xff\x7f"),
        "bytes-of-2-to-the-33": f.whole(b"\x96" + (1 << 33).to_bytes(8, "little"), 5),
        "a-number-of-10-million-digits": f.whole(b"L" + b"9" * 10_000_000 + b"L\n"),
    }


Edit = Callable[[dict[str, Any]], object]
_RECORDS: dict[str, Edit] = {
    "another-schema": lambda record: record.update(schema=99),
    "no-hashes": lambda record: record.pop("hashes"),
    "hashes-of-a-number": lambda record: record.update(hashes=5),
    "hashes-of-nothing": lambda record: record.update(hashes={}),
    "other-weights": lambda record: record["hashes"].update(weights="0" * 64),
    "other-data": lambda record: record["hashes"].update({"evaluation data": "0" * 64}),
    "a-criterion-of-a-list": lambda record: record["hashes"].update(criterion=[1]),
    "no-baseline": lambda record: record.pop("baseline"),
    "a-baseline-of-text": lambda record: record.update(baseline="x"),
    "a-baseline-of-texts": lambda record: record.update(baseline={"hmean": "x", "precision": "x", "recall": "x"}),
    "a-baseline-of-nan": lambda record: record["baseline"].update(hmean=float("nan")),
    "seconds-of-text": lambda record: record.update(seconds="x"),
    "seconds-of-nothing": lambda record: record.update(seconds=None),
}
_RECORD_TEXTS = {
    "a-list": "[1]",
    "100000-deep": "[" * 100_000 + "]" * 100_000,
    "dictionaries-100000-deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "5001-digits": '{"schema": ' + "9" * 5001 + "}",
    "half-a-character": '{"schema": 2, "\\ud800": 1}',
    "1e400": '{"schema": 1e400}',
}

_LINE = {"layer": _LAYER, "ratio": 0.5, "start": 0, "gt": [2, 2], "pred": [2, 2], "matched": [2, 2]}


def _line(**changes: object) -> bytes:
    return json.dumps({**_LINE, **changes}).encode() + b"\n"


# lines put between the first of a journal and the others
_LINES: dict[str, bytes] = {
    "text": b"not json\n",
    "a-list": b"[1]\n",
    "a-number": b"5\n",
    "no-layer": b'{"ratio": 0.5, "start": 0, "gt": [1], "pred": [1], "matched": [1]}\n',
    "a-layer-of-a-number": _line(layer=5),
    "a-ratio-of-text": _line(ratio="x"),
    "a-ratio-of-2": _line(ratio=2),
    "a-ratio-of-nan": _line(ratio=float("nan")),
    "a-start-of-text": _line(start="x"),
    "a-negative-start": _line(start=-1),
    "a-start-of-400-digits": _line(start=10**400),
    "counts-of-text": _line(gt=["x", "y"]),
    "counts-of-a-number": _line(gt=5),
    "negative-counts": _line(gt=[-1, 2]),
    "counts-of-400-digits": _line(gt=[10**400, 2]),
    "counts-of-5001-digits": _line().replace(b"[2, 2]", b"[" + b"9" * 5001 + b", 2]"),
    "counts-of-1e400": _line().replace(b"[2, 2]", b"[1e400, 2]"),
    "counts-that-differ-in-number": _line(gt=[1, 2, 3]),
    "more-matched-than-there-are": _line(layer=None, ratio=0.0, matched=[9, 9]),
    "levels-100000": b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "half-a-character": b'{"layer": "\\ud800", "ratio": 0.5, "start": 0, "gt": [1], "pred": [1], "matched": [1]}\n',
    "no-utf-8": b"\xff\xfe\n",
    "a-nul": b"\0\n",
    "more-images-than-there-are": _line(gt=[2] * 99, pred=[2] * 99, matched=[2] * 99),
}
_HEADERS: dict[str, bytes] = {
    "text": b"x\n",
    "a-list": b"[1]\n",
    "another-version": b'{"journal": 99}\n',
    "no-version": b'{"metric": "hmean"}\n',
    "other-hashes": b'{"journal": 1, "metric": "hmean", "images": 4, "hashes": {"weights": "x"}}\n',
    "hashes-of-a-number": b'{"journal": 1, "metric": "hmean", "images": 4, "hashes": 5}\n',
    "100000-levels": b'{"journal": 1, "hashes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
}


def cases() -> Iterator[Case]:
    """Each file, under the commands that read it in turns."""
    readers = ("dry-run", "prune", "merge")
    tables = {f"holds-{name}": pickle.dumps(value, protocol=2) for name, value in _TABLES.items()}
    tables |= {f"forged-{name}": data for name, data in _forged().items()}
    for number, (name, data) in enumerate(tables.items()):
        yield _case("sen.pickle", name, lambda _, data=data: data, readers[number % 3])
    for number, (name, edit) in enumerate(_RECORDS.items()):
        # a table may be pruned by that was measured on other images; an analysis of these cannot go on from it
        stage = "sensitivity" if name == "other-data" else ("dry-run", "prune")[number % 2]
        yield _case("sen.json", name, _edited(edit), stage)
    for number, (name, text) in enumerate(_RECORD_TEXTS.items()):
        yield _case("sen.json", name, lambda _, text=text: text.encode(), ("dry-run", "sensitivity")[number % 2])
    for number, (name, line) in enumerate(_LINES.items()):
        yield _case("sen.jsonl", f"line-{name}", _inserted(line), ("sensitivity", "merge")[number % 2])
    for number, (name, line) in enumerate(_HEADERS.items()):
        yield _case("sen.jsonl", f"header-{name}", _headed(line), ("sensitivity", "merge")[number % 2])
    for number, (name, change) in enumerate(DAMAGES.items()):
        for file, stage in (("sen.pickle", readers[number % 3]), ("sen.json", "dry-run")):
            yield _case(file, f"damaged-{name}", lambda data, change=change: _damaged(change, data), stage)
    for number, kind in enumerate(NO_FILES):
        yield _no_file("sen.pickle", kind, readers[number % 3])
        yield _no_file("sen.json", kind, ("dry-run", "sensitivity")[number % 2])
        yield _no_file("sen.jsonl", kind, ("sensitivity", "merge")[number % 2])


class _Fixed:
    """Chance for damages that are drawn, the same each time."""

    def __init__(self) -> None:
        import random

        self.rng = random.Random(FAMILY)


def _damaged(change: Callable[[bytes, Any], bytes], data: bytes) -> bytes:
    return change(data, _Fixed())


def _case(file: str, name: str, change: Callable[[bytes], bytes], stage: str) -> Case:
    def prepare(place: Place) -> list[str]:
        _folder(place)
        path = place.work / "out" / file
        path.write_bytes(change(path.read_bytes()))
        return _STAGES[stage]

    return Case(FAMILY, f"{file}-{name}-{stage}", prepare, _expected(file, stage), needs=_NEEDS)


def _expected(file: str, stage: str, kind: str = "") -> Expectation:
    """A refusal that names the file; where a folder is merged, the file or the journal that does not explain it.

    An analysis may as well make its record anew from its journal, and a link to nothing is as good as no file.
    """
    refused = Refused(rf"{_NAMES[file]}|sen\.jsonl" if stage == "merge" else _NAMES[file])
    harmless = (file == "sen.json" and stage == "sensitivity") or (file != "sen.pickle" and kind == "link-to-nothing")
    return Either((refused, Works())) if harmless else refused


def _folder(place: Place) -> None:
    place.standard(weights="real.pdparams", config="real.yml")
    place.copy("analysis", "out")


def _no_file(file: str, kind: str, stage: str) -> Case:
    name = f"{file}-is-a-{kind}-{stage}"
    return Case(FAMILY, name, _replaced(file, kind, stage), _expected(file, stage, kind), needs=_NEEDS)


def _replaced(file: str, kind: str, stage: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        _folder(place)
        replace_by(place.work / "out" / file, kind)
        return _STAGES[stage]

    return prepare


def _edited(edit: Edit) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        record = json.loads(data)
        edit(record)
        return json.dumps(record).encode()

    return change


def _inserted(line: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        header, _, rest = data.partition(b"\n")
        return header + b"\n" + line + rest

    return change


def _headed(line: bytes) -> Callable[[bytes], bytes]:
    return lambda data: line + data.partition(b"\n")[2]
