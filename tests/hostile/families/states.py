"""What a training run leaves for the next: states, plans, records, event logs; damaged, forged or impossible."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from .. import forging as f
from ..case import Case, Either, Place, Prepare, Refused, Works, command
from .common import DAMAGES, NO_FILES, flipped, replace_by

FAMILY = "states"
_STATE, _PLAN = "out/latest.pdopt", "out/best_accuracy.plan.json"
_RESUME = command("train", "Global.pretrained_model=null")
_PRUNED = command("eval", "Global.pretrained_model=out/best_accuracy")
_LATER = command("train", "Global.pretrained_model=null", "Global.save_model_dir=new", f"Global.checkpoints={_STATE}")
_NO_STEP = {
    "text": "x",
    "nan": float("nan"),
    "infinity": float("inf"),
    "negative": -5,
    "a-billion": 10**9,
    "a-fraction": 1.5,
    "nothing": None,
    "a-list": [1],
    "a-dictionary": {"a": 1},
    "400-digits": 10**400,
}
Edit = Callable[[dict[str, Any]], object]


def _at(path: str, value: object) -> Edit:
    """Put `value` at a dotted place of a nested dictionary."""

    def edit(content: dict[str, Any]) -> None:
        *sections, key = path.split(".")
        for section in sections:
            content = content[section]
        content[key] = copy.deepcopy(value)

    return edit


_EDITS: dict[str, Edit] = {
    **{f"step-{name}": _at("progress.step", value) for name, value in _NO_STEP.items()},
    **{f"steps-{name}": _at("progress.steps", value) for name, value in list(_NO_STEP.items())[:6]},
    **{f"evaluated-{name}": _at("progress.evaluated", value) for name, value in list(_NO_STEP.items())[:3]},
    "an-empty-history": _at("progress.history", []),
    "a-history-of-text": _at("progress.history", "x"),
    "a-history-of-numbers": _at("progress.history", [1, 2]),
    "a-history-of-nothing": _at("progress.history", [{}]),
    "a-history-without-scores": _at("progress.history", [{"step": 0, "epoch": 0, "metrics": {}, "loss": None}]),
    "no-history": lambda content: content["progress"].pop("history"),
    "perhaps-no-step": lambda content: content["progress"].pop("step"),
    "no-progress": lambda content: content.pop("progress"),
    "progress-of-text": _at("progress", "x"),
    "an-unknown-entry": _at("progress.nothing", 1),
    "best-of-text": _at("progress.best", "x"),
    "best-of-nothing": _at("progress.best", {}),
    "best-of-a-score-of-text": _at("progress.best.metrics", {"hmean": "x", "precision": 0, "recall": 0}),
    "perhaps-a-hash-of-a-number": _at("progress.best_weights", 5),
    "seconds-of-text": _at("progress.seconds", "x"),
    "seconds-of-nan": _at("progress.seconds", float("nan")),
    "losses-of-text": _at("progress.recent", ["x"]),
    "losses-of-a-number": _at("progress.recent", 5),
    "a-curve-of-text": _at("progress.curve", "x"),
    "perhaps-a-curve-of-nothing": _at("progress.curve", {}),
    "a-curve-of-every-0": _at("progress.curve.every", 0),
    "a-curve-with-holes": _at("progress.curve.points", [[1], [2, 3], "x"]),
    "rollbacks-of-text": _at("progress.rollbacks", "x"),
    "rollbacks-of-a-billion": _at("progress.rollbacks", 10**9),
    "negative-rollbacks": _at("progress.rollbacks", -3),
    "perhaps-a-scale-of-text": _at("progress.loss_scale", "x"),
    "another-schema": _at("schema", 99),
    "no-schema": lambda content: content.pop("schema"),
    "a-wrong-digest": _at("digest", "0" * 64),
    "no-digest": lambda content: content.pop("digest"),
    "another-run": _at("fingerprint", {"origin": {"weights": "other"}}),
    "a-fingerprint-of-text": _at("fingerprint", "x"),
    "no-weights": lambda content: content.pop("weights"),
    "weights-of-nothing": _at("weights", {}),
    "weights-of-text": _at("weights", "x"),
    "an-optimizer-of-text": _at("optimizer", "x"),
    "good-of-text": _at("good", "x"),
    "good-of-nothing": _at("good", {}),
}


def cases() -> Iterator[Case]:
    """The state of a run that goes on, then plans, then the rest of a run's folder."""
    for number, (name, edit) in enumerate(_EDITS.items()):
        words = _LATER if number % 5 == 4 else _RESUME
        refused = Refused(r"latest\.pdopt|out: holds another")
        expect = Either((refused, Works())) if name.startswith("perhaps-") else refused
        yield Case(FAMILY, f"state-{name}", _state(_edited(edit), words), expect)
    for name, data in _forged().items():
        yield Case(FAMILY, f"state-{name}", _state(lambda place, data=data: data), Refused(r"latest\.pdopt"))
    for name, change in DAMAGES.items():
        damaged = _state(lambda place, change=change: change(_genuine(place), place))
        yield Case(FAMILY, f"state-{name}", damaged, Refused(r"latest\.pdopt"))
    for number in range(6):
        turned = _state(lambda place, number=number: flipped(_genuine(place), place, 1 + number))
        yield Case(FAMILY, f"state-flipped-{number}", turned, Either((Refused(r"latest\.pdopt"), Works())))
    for kind in NO_FILES:
        yield Case(FAMILY, f"state-is-a-{kind}", _is(_STATE, kind, _RESUME, "trained"), Refused(r"latest\.pdopt"))
    yield from _plans()
    yield from _others()


def _genuine(place: Place) -> bytes:
    return (place.base.path("trained") / "latest.pdopt").read_bytes()


def half_done(content: dict[str, Any]) -> dict[str, Any]:
    """The state of a finished run as that of one with a step to go."""
    progress = content["progress"]
    progress.update(step=progress["steps"] - 1, evaluated=progress["steps"] - 1, history=progress["history"][:-1])
    content.pop("good", None)
    return content


def _edited(edit: Edit) -> Callable[[Place], bytes]:
    def content(place: Place) -> bytes:
        found = half_done(pickle.loads(_genuine(place)))
        edit(found)
        return pickle.dumps(found, protocol=4)

    return content


def _forged() -> dict[str, bytes]:
    shell = f.call(f.name("posix", "system"), f.text(f.SHELL))
    bad = f.array(f.tuple_of(f.number(1)), f.object_dtype(), f.raw(b"A" * 8))
    one = {"schema": f.number(1), "digest": f.text("0" * 64), "fingerprint": f.EMPTY_DICT, "optimizer": f.EMPTY_DICT}
    return {
        "of-a-call": f.whole(f.dict_of(**one, progress=shell, weights=f.EMPTY_DICT)),
        "of-objects-without-flags": f.whole(f.dict_of(**one, progress=f.EMPTY_DICT, weights=f.dict_of(a=bad)), 3),
        "with-a-scalar-of-objects": f.whole(
            f.dict_of(
                **one,
                progress=f.call(f.name("numpy.core.multiarray", "scalar"), f.object_dtype(), f.raw(b"A" * 8)),
                weights=f.EMPTY_DICT,
            ),
            3,
        ),
        "100000-deep": f.whole(f.dict_of(**one, progress=f.nested(100_000), weights=f.EMPTY_DICT)),
        "of-2-to-the-60-leaves": f.whole(f.dict_of(**one, progress=f.doubled(f.EMPTY_TUPLE), weights=f.EMPTY_DICT)),
        "a-fingerprint-100000-deep": f.whole(
            f.dict_of(**{**one, "fingerprint": f.nested(100_000)}, progress=f.EMPTY_DICT, weights=f.EMPTY_DICT)
        ),
        "a-history-in-itself": f.whole(
            f.dict_of(**one, progress=f.dict_of(history=b"]q\x00h\x00a"), weights=f.EMPTY_DICT)
        ),
        "a-list": f.whole(f.EMPTY_LIST),
        "a-number": f.whole(f.number(5)),
    }


def _state(content: Callable[[Place], bytes], words: list[str] = _RESUME) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        place.copy("trained", "out")
        place.write(_STATE, content(place))
        return words

    return prepare


def _is(path: str, kind: str, words: list[str], material: str, config: str = "c.yml") -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="", config=config)
        place.copy(material, "out")
        replace_by(place.work / path, kind)
        return words

    return prepare


def _cut(plan: dict[str, Any]) -> dict[str, Any]:
    """The first cut of a plan."""
    return next(iter(next(iter(plan["layers"].values())).values()))


def _keep(value: object) -> Edit:
    return lambda plan: _cut(plan).update(keep=value)


_PLAN_EDITS: dict[str, Edit] = {
    "another-schema": _at("schema", 99),
    "a-schema-of-text": _at("schema", "x"),
    "no-layers": lambda plan: plan.pop("layers"),
    "layers-of-a-number": _at("layers", 5),
    "layers-of-nothing": _at("layers", {}),
    "layers-of-lists": _at("layers", {"conv1_weights": []}),
    "an-unknown-layer": _at("layers.nothing", {"0": {"size": 4, "keep": [0, 1]}}),
    "an-axis-of-text": lambda plan: plan["layers"].update(conv1_weights={"x": {"size": 16, "keep": [0]}}),
    "an-axis-of-9": lambda plan: plan["layers"].update(conv1_weights={"9": {"size": 16, "keep": [0]}}),
    "an-axis-of-minus-1": lambda plan: plan["layers"].update(conv1_weights={"-1": {"size": 3, "keep": [0]}}),
    "a-size-of-text": lambda plan: _cut(plan).update(size="x"),
    "a-wrong-size": lambda plan: _cut(plan).update(size=100_000),
    "a-size-of-400-digits": lambda plan: _cut(plan).update(size=10**400),
    "keep-nothing": _keep([]),
    "keep-text": _keep("x"),
    "keep-fractions": _keep([0.5, 1.5]),
    "keep-true": _keep([False, True]),
    "keep-negative": _keep([-2, -1]),
    "keep-descending": _keep([3, 2, 1]),
    "keep-one-twice": _keep([1, 1]),
    "keep-beyond": _keep([0, 10**6]),
    "keep-400-digits": _keep([0, 10**400]),
    "keep-other-channels-than-the-weights": _keep([0]),
    "another-architecture": lambda plan: plan["architecture"]["Neck"].update(out_channels=64),
    "an-architecture-of-text": _at("architecture", "x"),
    "an-architecture-of-nothing": _at("architecture", {}),
    "ratios-of-text": _at("ratios", {"conv1_weights": "x"}),
    "ratios-of-a-number": _at("ratios", 5),
    "skipped-of-a-number": _at("skipped", 5),
    "no-criterion": lambda plan: plan.pop("criterion"),
    "an-origin-of-text": _at("origin", "x"),
}
_PLAN_TEXTS = {
    "a-list": "[1]",
    "nothing": "{}",
    "null": "null",
    "100000-deep": "[" * 100_000 + "]" * 100_000,
    "100000-deep-in-layers": '{"schema": 1, "layers": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "5001-digits": '{"schema": ' + "9" * 5001 + "}",
    "half-a-character": '{"schema": 1, "\\ud800": 1}',
    "nan": '{"schema": NaN}',
}


def _plans() -> Iterator[Case]:
    needs, names = ("pruned",), Refused(r"plan\.json|best_accuracy")
    for name, edit in _PLAN_EDITS.items():
        yield Case(FAMILY, f"plan-{name}", _plan(edit), names, needs=needs)
    for name, text in _PLAN_TEXTS.items():
        yield Case(FAMILY, f"plan-{name}", _plan_beside(text), Refused(r"plan\.json"))
    for name, change in DAMAGES.items():
        damaged = _plan_of(lambda data, change=change: change(data, None))  # type: ignore[arg-type]
        if name != "random":
            yield Case(FAMILY, f"plan-{name}", damaged, names, needs=needs)
    for kind in NO_FILES:
        prepare = _is(_PLAN, kind, _PRUNED, "pruned", "real.yml")
        yield Case(FAMILY, f"plan-is-a-{kind}", prepare, names, needs=needs)


def _plan_beside(text: str) -> Prepare:
    """A plan beside weights that were never pruned."""

    def prepare(place: Place) -> list[str]:
        place.standard()
        place.write("w.plan.json", text)
        return command("eval")

    return prepare


def _plan_of(change: Callable[[bytes], bytes]) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="", config="real.yml")
        place.copy("pruned", "out")
        path = place.work / _PLAN
        path.write_bytes(change(path.read_bytes()))
        return _PRUNED

    return prepare


def _plan(edit: Edit) -> Prepare:
    def change(data: bytes) -> bytes:
        plan = json.loads(data)
        edit(plan)
        return json.dumps(plan).encode()

    return _plan_of(change)


_RECORDS = {"empty": b"", "text": b"x", "a-list": b"[1]", "nothing": b"{}", "deep": b"[" * 100_000, "latin-1": b"\xff"}


def _others() -> Iterator[Case]:
    """Records for people, which may be made anew; event logs; exports in the way; weights in the way."""
    for file in ("latest.json", "best_accuracy.json", "config.yml"):
        for name, data in _RECORDS.items():
            expect = Either((Refused(file.replace(".", r"\.")), Works()))
            yield Case(FAMILY, f"{file}-{name}", _beside(file, data), expect)
    logged = Either((Refused("vdl"), Works()))
    for name, data in {
        **_RECORDS,
        "lengths": b"\xff" * 8 + bytes(100),
        "zeros": bytes(500),
        "cut": b"\x05\0\0\0\0\0\0\0ab",
    }.items():
        yield Case(FAMILY, f"event-log-{name}", _logged(data), logged)
    for kind in ("fifo", "folder", "link-to-itself", "link-to-nothing", "link-to-dev-zero"):
        yield Case(FAMILY, f"event-log-is-a-{kind}", _log_is(kind), logged)
        yield Case(FAMILY, f"export-beside-a-{kind}", _export_beside(kind), Refused("exported"))
    yield Case(FAMILY, "import-onto-its-source", _import("w.pdparams", "w.pdparams"), Refused(r"w\.pdparams"))
    yield Case(FAMILY, "import-onto-its-source-by-another-name", _import("w.pdparams", "./w"), Refused("w"))
    yield Case(
        FAMILY, "import-over-other-weights", _import("w.pdparams", "other.pdparams"), Refused(r"other\.pdparams")
    )
    yield Case(FAMILY, "import-over-a-configuration", _import("w.pdparams", "mine.pdparams"), Refused(r"mine\.yml"))
    yield Case(FAMILY, "import-into-a-folder", _import("w.pdparams", "pages.pdparams"), Refused("pages"))


def _beside(file: str, data: bytes) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        place.copy("trained", "out")
        place.write(_STATE, _edited(lambda content: None)(place))
        place.write(f"out/{file}", data)
        return _RESUME

    return prepare


def _logged(data: bytes) -> Prepare:
    def prepare(place: Place) -> list[str]:
        _beside("vdl/vdlrecords.1700000000.log", data)(place)
        return [*_RESUME, "Global.use_visualdl=true"]

    return prepare


def _log_is(kind: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        _beside("vdl/other.txt", b"x")(place)
        replace_by(place.work / "out/vdl/vdlrecords.1700000000.log", kind)
        return [*_RESUME, "Global.use_visualdl=true"]

    return prepare


def _export_beside(kind: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        (place.work / "exported").mkdir()
        replace_by(place.work / "exported/notes", kind)
        return command("export")

    return prepare


def _import(source: str, destination: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        place.copy("small.pdparams", "other.pdparams")
        place.write("mine.yml", "mine: 1\n")
        (place.work / "pages.pdparams").mkdir()
        return command("import-weights", more=(source, destination))

    return prepare
