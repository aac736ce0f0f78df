"""Weights that are no weights: forged, damaged and foreign `.pdparams`, under every command that reads them."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import forging as f
from ..case import Case, Either, Place, Refused, Works, command
from .common import NO_FILES, READERS, SPREAD, flipped, reader, replace_by

FAMILY = "checkpoints"
_NAMED = r"\bw(\.pdparams)?\b"
_KEY = "backbone.conv.conv.weight"
_SHAPE = (8, 3, 3, 3)
_POINTERS = b"A" * 8


def _file(part: bytes, protocol: int = 2) -> bytes:
    """A state dict with one entry."""
    return f.whole(f.pairs((f.text(_KEY), part)), protocol)


def _calls() -> dict[str, bytes]:
    """Ways to have something executed."""
    shell, python = f.text(f.SHELL), f.text(f.PYTHON)
    found = {}
    for module, name in (("posix", "system"), ("os", "system"), ("subprocess", "getoutput"), ("os", "popen")):
        found[f"reduce-{module}.{name}"] = f.call(f.name(module, name), shell)
        found[f"stack-global-{module}.{name}"] = f.call(f.stacked_name(module, name), shell)
    for module, name in (
        *(("builtins", "exec"), ("builtins", "eval"), ("__builtin__", "execfile"), ("pydoc", "pipepager")),
        *(("numpy.testing._private.utils", "runstring"), ("timeit", "timeit"), ("code", "interact")),
        *(("importlib", "import_module"), ("builtins", "getattr"), ("builtins", "__import__"), ("torch", "load")),
        *(("numpy", "load"), ("numpy", "fromfile"), ("ocrslim.utils.files", "hash_bytes"), ("paddle", "load")),
    ):
        found[f"reduce-{module}.{name}"] = f.call(f.name(module, name), python)
    return {
        **found,
        "inst-os.system": f.MARK + shell + b"ios\nsystem\n",
        "obj-os.system": f.MARK + f.name("os", "system") + shell + b"o",
        "newobj-os.popen": f.name("os", "popen") + f.tuple_of(shell) + b"\x81",
        "newobj-ex-os.popen": f.name("os", "popen") + f.tuple_of(shell) + f.EMPTY_DICT + b"\x92",
        "extension-1": b"\x82\x01",
        "extension-70000": b"\x84" + (70000).to_bytes(4, "little"),
        "persistent-id": f.text("x") + b"Q",
        "persistent-id-as-text": b"Psystem\n",
        "dotted-name": f.call(f.stacked_name("numpy", "core.multiarray.os.system"), shell),
        "attribute-of-an-admitted-name": f.call(f.stacked_name("numpy", "ndarray.__subclasses__")),
        "build-on-a-function": f.built(f.name("_codecs", "encode"), f.pairs((f.text("x"), f.NONE))),
        "build-on-a-class": f.built(f.name("numpy", "ndarray"), f.tuple_of(f.NONE, f.dict_of(x=f.NONE))),
        "slots-of-a-dict": f.built(f.EMPTY_DICT, f.tuple_of(f.NONE, f.dict_of(__class__=f.NONE))),
        "codec-of-another-kind": f.call(f.name("_codecs", "encode"), f.text("x"), f.text("idna")),
        "buffers-out-of-band": b"\x97",
    }


def _dtypes() -> dict[str, bytes]:
    """Arrays and scalars whose dtype is not what it says."""
    fields = f.pairs((f.text("a"), f.tuple_of(f.dtype("O8"), f.number(0))))
    structured = (f.number(3), f.text("|"), f.NONE, f.tuple_of(f.text("a")), fields, f.number(8), f.number(8))
    hidden = f.dtype("V8", *structured, f.number(0))
    sub = f.tuple_of(f.dtype("O8"), f.tuple_of(f.number(1)))
    nested = f.dtype("V8", f.number(3), f.text("|"), sub, f.NONE, f.NONE, f.number(8), f.number(1), f.number(0))
    one, scalar = f.tuple_of(f.number(1)), f.name("numpy.core.multiarray", "scalar")
    data = f.raw(_POINTERS)
    return {
        "objects-without-flags-in-an-array": f.array(one, f.object_dtype(), data),
        "objects-without-flags-numpy-2-names": f.array(one, f.object_dtype(), data, module="numpy._core.multiarray"),
        "objects-without-flags-in-a-scalar": f.call(scalar, f.object_dtype(), data),
        "objects-in-a-scalar": f.call(scalar, f.dtype("O8"), data),
        "objects-in-a-field": f.array(one, hidden, data),
        "objects-in-a-subarray": f.array(one, nested, data),
        "objects-without-flags-alone": f.object_dtype(),
        "objects-as-a-list": f.array(one, f.dtype("O8"), f.list_of(f.text("x"))),
        "a-dtype-of-2-gigabytes": f.array(one, f.dtype("S2000000000"), data),
        "a-dtype-of-a-matrix": f.array(one, f.dtype("(50000,50000)f8"), data),
        "a-dtype-of-10000-fields": f.array(one, f.dtype("f8," * 10000), data),
        "a-dtype-with-a-negative-size": f.array(
            one,
            f.dtype("V8", f.number(3), f.text("|"), f.NONE, f.NONE, f.NONE, f.number(-8), f.number(1), f.number(0)),
            data,
        ),
        "a-dtype-of-dates": f.array(one, f.dtype("M8[s]"), data),
        "a-dtype-of-text": f.array(one, f.dtype("U2"), data),
        "a-dtype-that-is-a-number": f.array(one, f.number(5), data),
        "an-array-made-by-ndarray": f.call(f.name("numpy", "ndarray"), f.tuple_of(f.number(10**10))),
        "an-array-of-objects-made-by-ndarray": f.call(
            f.name("numpy", "ndarray"), one, f.dtype("O8"), f.raw(_POINTERS), f.number(0)
        ),
    }


def _shapes() -> dict[str, bytes]:
    """Arrays whose state does not hold together."""
    kind, data = f.plain_dtype(), f.raw(bytes(16))

    def shaped(*sizes: bytes) -> bytes:
        return f.array(f.tuple_of(*sizes), kind, data)

    return {
        "a-negative-size": shaped(f.number(-4)),
        "two-negative-sizes": shaped(f.number(-2), f.number(-2)),
        "sizes-that-overflow": shaped(f.number(2**62), f.number(4)),
        "a-size-beyond-64-bits": shaped(f.number(2**70)),
        "a-size-that-is-a-fraction": shaped(f.real(4.0)),
        "a-size-that-is-not-a-number": shaped(f.real(float("nan"))),
        "more-values-than-bytes": shaped(f.number(10**6)),
        "fewer-values-than-bytes": shaped(f.number(3)),
        "a-thousand-dimensions": f.array(f.tuple_of(*[f.number(1)] * 1000), kind, f.raw(bytes(4))),
        "a-shape-that-is-a-bomb": f.array(f.doubled(f.EMPTY_TUPLE), kind, data),
        "version-99": f.array(f.tuple_of(f.number(4)), kind, data, version=99),
        "a-list-for-bytes": f.array(f.tuple_of(f.number(4)), kind, f.list_of(f.number(1))),
        "text-for-bytes": f.array(f.tuple_of(f.number(4)), kind, f.text("sixteen letters!")),
        "a-state-of-two": f.built(f.empty_array(), f.tuple_of(f.number(1), f.number(2))),
        "a-state-that-is-none": f.built(f.empty_array(), f.NONE),
        "never-given-a-state": f.empty_array(),
    }


def _bombs() -> dict[str, bytes]:
    """Files that grow, or take for ever; whole files, not entries."""
    bomb = f.doubled(f.EMPTY_TUPLE)
    return {
        "2-to-the-60-leaves-as-a-value": _file(bomb),
        "2-to-the-60-leaves-as-a-key": f.whole(f.pairs((bomb, f.number(1)))),
        "2-to-the-60-leaves-as-the-whole": f.whole(bomb),
        "2-to-the-60-leaves-of-lists": _file(f.EMPTY_LIST + (f.DUP + b"\x86") * 60),
        "2-to-the-60-leaves-in-a-frozen-set": _file(f.MARK + bomb + b"\x91", 4),
        "2-to-the-60-leaves-as-a-dtype": _file(f.call(f.name("numpy", "dtype"), bomb)),
        "lists-100000-deep": _file(f.nested(100_000)),
        "tuples-1000000-deep": _file(f.EMPTY_TUPLE + b"\x85" * 1_000_000),
        "tuples-1000000-deep-as-a-key": f.whole(f.pairs((f.EMPTY_TUPLE + b"\x85" * 1_000_000, f.number(1)))),
        "a-list-in-itself": _file(b"]q\x00h\x00a"),
        "a-memo-of-2-to-the-31": _file(f.NONE + b"r\xff\xff\xff\x7f"),
        "a-memo-of-2-to-the-30-as-text": _file(f.NONE + b"p1073741824\n"),
        "a-byte-array-of-2-to-the-33": _file(b"\x96" + (1 << 33).to_bytes(8, "little"), 5),
        "bytes-of-2-to-the-62": _file(b"\x8e" + (1 << 62).to_bytes(8, "little"), 4),
        "text-of-2-to-the-62": _file(b"\x8d" + (1 << 62).to_bytes(8, "little"), 4),
        "a-frame-of-2-to-the-50": b"\x80\x04\x95" + (1 << 50).to_bytes(8, "little") + b"}.",
        "a-number-of-a-negative-length": _file(b"\x8b\xff\xff\xff\xff"),
        "a-number-of-10-million-digits": _file(b"L" + b"9" * 10_000_000 + b"L\n"),
        "a-number-of-80-million-bits": _file(b"\x8b" + (10_000_000).to_bytes(4, "little") + b"\x7f" * 10_000_000),
        "a-million-entries": f.whole(f.pairs(*((f.number(n), f.NONE) for n in range(1_000_000)))),
        "marks-without-end": b"\x80\x02" + f.MARK * 1_000_000,
        "pops-an-empty-stack": f.whole(f.POP * 10),
        "stops-at-once": b"\x80\x02.",
        "a-protocol-of-99": b"\x80\x63}.",
        "no-stop": b"\x80\x02}",
    }


def _plain_values() -> dict[str, Any]:
    """Honest pickles that hold no network."""
    return {
        "an-empty-dictionary": {},
        "a-list": [1, 2],
        "a-number": 7,
        "text": "weights",
        "none": None,
        "a-set": {1, 2},
        "entries-that-are-text": {_KEY: "0.5"},
        "entries-that-are-numbers": {_KEY: 0.5},
        "entries-that-are-lists": {_KEY: [0.5] * 8},
        "keys-that-are-numbers": {1: np.zeros(3, np.float32)},
        "keys-that-are-none": {None: np.zeros(3, np.float32)},
        "a-key-of-half-a-character": {"\ud800": np.zeros(3, np.float32)},
        "a-dictionary-in-a-dictionary": {"model": {_KEY: np.zeros(3, np.float32)}},
        "an-array-of-objects": {_KEY: np.array([{"a": 1}], dtype=object)},
        "another-network": OrderedDict((f"layer{n}.weight", np.ones((3, 3), np.float32)) for n in range(5)),
    }


Change = Callable[[dict[str, np.ndarray]], object]
# what may be wrong with an honest state dict of the right network
_CHANGES: dict[str, Change] = {
    "one-entry-missing": lambda state: state.pop(next(iter(state))),
    "one-entry-too-many": lambda state: state.update({"neck.extra.weight": np.ones(3, np.float32)}),
    "one-name-changed": lambda state: state.update({"backbone.x": state.pop(next(iter(state)))}),
    "one-transposed": lambda state: state.update({_KEY: state[_KEY].T}),
    "one-flat": lambda state: state.update({_KEY: state[_KEY].ravel()}),
    "one-empty": lambda state: state.update({_KEY: np.zeros((0, 3, 3, 3), np.float32)}),
    "one-with-nan": lambda state: state.update({_KEY: np.full_like(state[_KEY], np.nan)}),
    "one-with-infinity": lambda state: state.update({_KEY: np.full_like(state[_KEY], -np.inf)}),
    "one-too-large-for-float32": lambda state: state.update({_KEY: state[_KEY].astype(np.float64) + 1e300}),
    "one-complex": lambda state: state.update({_KEY: state[_KEY].astype(np.complex64)}),
    "one-of-text": lambda state: state.update({_KEY: state[_KEY].astype("U8")}),
    "one-of-dates": lambda state: state.update({_KEY: state[_KEY].astype("i8").astype("M8[s]")}),
    "one-of-objects": lambda state: state.update({_KEY: state[_KEY].astype(object)}),
    "all-empty": lambda state: state.update({key: value[:0] for key, value in state.items()}),
    "all-nan": lambda state: state.update({key: np.full_like(value, np.nan) for key, value in state.items()}),
}


def plain_state(place: Place, weights: str = "small.pdparams") -> dict[str, np.ndarray]:
    """The arrays of a checkpoint that the code under test wrote, by key."""
    with place.base.path(weights).open("rb") as stream:
        table = pickle.load(stream)  # our own file
    return {key: np.array(value) for key, value in table.items() if isinstance(value, np.ndarray)}


def _foreign_files() -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("archive/data.pkl", _file(_calls()["reduce-posix.system"]))
    arrays = io.BytesIO()
    np.savez(arrays, a=np.zeros(3))
    return {
        "empty": b"",
        "a-space": b" ",
        "zeros": bytes(4096),
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "an-lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "json": b'{"backbone": 1}',
        "a-torch-archive": archive.getvalue(),
        "a-numpy-archive": arrays.getvalue(),
        "gzip": gzip.compress(b"}."),
        "a-shell-script": f"#!/bin/sh\n{f.SHELL}\n".encode(),
        "text-in-utf-16": "weights".encode("utf-16"),
    }


_ADDRESSES = {
    "an-address": "https://127.0.0.1:9/models/det_mv3_db.pdparams",
    "an-address-of-a-file": "file:///etc/hostname",
    "a-nul-in-the-path": '"w\\0.pdparams"',
    "half-a-character-in-the-path": '"w\\ud800.pdparams"',
    "a-name-of-5000-letters": "w" * 5000,
    "a-path-through-a-file": "c.yml/w.pdparams",
    "the-root-folder": "/",
    "a-device": "/dev/zero",
    "nothing-there": "w-missing.pdparams",
    "the-state-of-an-optimizer": "w.pdopt",
    "a-number": "17",
    "a-list": "[w.pdparams]",
    "a-dictionary": "{w: 1}",
}


def cases() -> Iterator[Case]:
    """Every file once, the commands in turns; what could be executed also under all of them."""
    whole = {f"calls-{key}": _file(part) for key, part in _calls().items()}
    whole |= {f"dtype-{key}": _file(part, 3) for key, part in _dtypes().items()}
    whole |= {f"shape-{key}": _file(part, 3) for key, part in _shapes().items()}
    whole |= {f"bomb-{key}": data for key, data in _bombs().items()}
    whole |= {f"holds-{key}": pickle.dumps(value, protocol=2) for key, value in _plain_values().items()}
    whole |= {f"file-{key}": data for key, data in _foreign_files().items()}
    for number, (name, data) in enumerate(whole.items()):
        yield _case(name, number, lambda place, data=data: data)
    forged = _file(_dtypes()["objects-without-flags-in-an-array"], 3)
    for stage in SPREAD[1:]:
        yield Case(FAMILY, f"objects-without-flags-under-{stage}", _reading(stage, forged), Refused(_NAMED))
    for number, (name, part) in enumerate(_misplaced().items()):
        yield _case(f"among-others-{name}", number * 4, lambda place, part=part: _among_others(place, part))
    for number, (name, change) in enumerate(_CHANGES.items()):
        yield _case(f"network-{name}", number * 4, lambda place, change=change: _changed(place, change))
    yield from _damaged()
    yield from _no_files()
    yield Case(FAMILY, "a-backbone-of-imagenet", _backbone, Refused("init_backbone"))


def _misplaced() -> dict[str, bytes]:
    """What a network could take for the array of one of its layers, whose shape it has."""
    shape = f.tuple_of(*map(f.number, _SHAPE))
    pointers = f.raw(_POINTERS * math.prod(_SHAPE))
    scalar = f.name("numpy.core.multiarray", "scalar")
    return {
        "objects-without-flags": f.array(shape, f.object_dtype(), pointers),
        "objects-without-flags-of-zeros": f.array(shape, f.object_dtype(), f.raw(bytes(8 * math.prod(_SHAPE)))),
        "objects-without-flags-numpy-2": f.array(shape, f.object_dtype(), pointers, module="numpy._core.multiarray"),
        "objects-named-by-paddle": f.tuple_of(f.text("conv2d_0.w_0"), f.array(shape, f.object_dtype(), pointers)),
        "numbers-in-scalars": f.call(scalar, f.plain_dtype(), f.raw(bytes(4))),
        "the-right-shape-of-too-few-bytes": f.array(shape, f.plain_dtype(), f.raw(bytes(16))),
        "the-right-shape-of-text": f.array(shape, f.dtype("S4"), f.raw(bytes(4 * math.prod(_SHAPE)))),
    }


def _among_others(place: Place, part: bytes) -> bytes:
    state = plain_state(place)
    state.pop(_KEY)
    return pickle.dumps(state, protocol=3)[:-1] + f.text(_KEY) + part + b"s" + f.STOP


def _case(name: str, number: int, content: Callable[[Place], bytes]) -> Case:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        place.write("w.pdparams", content(place))
        return reader(place, number)("w.pdparams")

    return Case(FAMILY, name, prepare, Refused(_NAMED))


def _reading(stage: str, data: bytes) -> Callable[[Place], list[str]]:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        place.write("w.pdparams", data)
        return READERS[stage]("w.pdparams")

    return prepare


def _changed(place: Place, change: Change) -> bytes:
    state = plain_state(place)
    change(state)
    return pickle.dumps(state, protocol=4)


def _damaged() -> Iterator[Case]:
    """A genuine file, cut or with flipped bits: what is cut is refused, what is flipped must do no harm."""
    for number, share in enumerate((0.0001, 0.01, 0.25, 0.5, 0.75, 0.999)):

        def cut(place: Place, share: float = share) -> bytes:
            data = place.base.path("small.pdparams").read_bytes()
            return data[: max(1, int(len(data) * share))]

        yield _case(f"cut-at-{share}", number, cut)
    yield _case("cut-before-the-last-byte", 0, lambda place: place.base.path("small.pdparams").read_bytes()[:-1])
    yield _case(
        "zeros-at-the-end", 0, lambda place: place.base.path("small.pdparams").read_bytes()[:-4096] + bytes(4096)
    )
    for number in range(16):

        def flip(place: Place, number: int = number) -> list[str]:
            place.standard()
            path = place.work / "w.pdparams"
            path.write_bytes(flipped(path.read_bytes(), place, 1 + 3 * (number % 4), end=(400, None)[number % 2]))
            return reader(place, 0)("w.pdparams")

        yield Case(FAMILY, f"flipped-bits-{number}", flip, Either((Refused(_NAMED), Works())))


def _no_files() -> Iterator[Case]:
    for number, kind in enumerate(NO_FILES):

        def prepare(place: Place, kind: str = kind, number: int = number) -> list[str]:
            place.standard(weights="")
            replace_by(place.work / "w.pdparams", kind)
            return reader(place, number)("w.pdparams")

        yield Case(FAMILY, f"no-file-{kind}", prepare, Refused(_NAMED))
    for name, value in _ADDRESSES.items():

        def named(place: Place, value: str = value) -> list[str]:
            place.standard(weights="")
            place.write("w.pdopt", b"}.")
            return command("eval", f"Global.pretrained_model={value}")

        yield Case(FAMILY, f"path-{name}", named, Refused(r"pretrained_model|pretrain_weights|127\.0\.0\.1|file:|w|/"))


def _backbone(place: Place) -> list[str]:
    """PaddleOCR's own default: the weights of a classifier, whose keys have no `backbone.`."""
    place.standard(weights="")
    state = {k.removeprefix("backbone."): v for k, v in plain_state(place).items() if k.startswith("backbone.")}
    state |= {"fc.weight": np.ones((200, 1000), np.float32), "fc.bias": np.ones(1000, np.float32)}
    place.write("w.pdparams", pickle.dumps(state, protocol=2))
    return command("train")
