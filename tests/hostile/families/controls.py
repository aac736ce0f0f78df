"""Good inputs, which must go on working: a program that refuses everything fails every one of them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..base import EVAL, TRAIN
from ..case import Case, Expectation, Place, Prepare, Works, command
from ..client import Ended
from . import odd_files
from .checkpoints import plain_state
from .silent import exported_from, finds_text
from .states import half_done

FAMILY = "controls"
_WORKS = Works()
_ALL_FOUND = Works({"hmean": 1.0, "precision": 1.0, "recall": 1.0, "images": 4})


def _control(name: str, prepare: Prepare, expect: Expectation = _ALL_FOUND, needs: tuple[str, ...] = ()) -> Case:
    return Case(FAMILY, name, prepare, expect, control=True, needs=needs)


def cases() -> Iterator[Case]:
    """The commands on good inputs, and good files that look odd."""
    yield from _commands()
    yield from _checkpoints()
    yield from odd_files.cases()
    yield from _settings()
    yield from _folders()


def _real(*words: str, config: str = "real.yml", materials: tuple[tuple[str, str], ...] = ()) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="real.pdparams" if config == "real.yml" else "small.pdparams", config=config)
        for material, there in materials:
            place.copy(material, there)
        return list(words)

    return prepare


def _exists(*paths: str) -> Callable[[Place, Ended], str | None]:
    def check(place: Place, ended: Ended) -> str | None:
        missing = [path for path in paths if not (place.work / path).exists()]
        return f"not written: {missing}" if missing else None

    return check


def _commands() -> Iterator[Case]:
    see = ("--images", "pages", "--out", "seen")
    analysis, pruned, exported = (("analysis", "out"),), (("pruned", "out"),), (("exported-real", "exported"),)
    yield _control("eval", _real(*command("eval")))
    yield _control("eval-of-an-export", _real(*command("eval", "Global.pretrained_model=exported"), materials=exported))
    yield _control(
        "eval-of-a-pruned-network",
        _real(*command("eval", "Global.pretrained_model=out/best_accuracy"), materials=pruned),
    )
    yield _control("predict", _real(*command("predict", more=see)), Works({"images": 4}, check=finds_text))
    words = command("predict", more=("--images", "pages/p0.png", "--out", "seen"))
    yield _control("predict-of-one-image", _real(*words), Works({"images": 1}, check=finds_text))
    yield _control("export", _real(*command("export")), Works(check=exported_from("w")))
    words = command("export", "Global.pretrained_model=out/best_accuracy")
    yield _control("export-of-a-pruned-network", _real(*words, materials=pruned), Works({"pruned": True}))
    again = Works(check=_exists("exported/inference.pdiparams"))
    yield _control("export-over-an-export", _real(*command("export"), materials=exported), again)
    yield _control("groups", _real(*command("groups")), Works({"macs": 4_397_055_360, "params": 559_977}))
    trained = Works(
        {"metric": "hmean"}, check=_exists("out/best_accuracy.pdparams", "out/latest.pdopt", "out/training.png")
    )
    yield _control("train", _real(*command("train")), trained)
    measured = Works({"points": 1, "settled": 1}, check=_exists("out/sen.pickle", "out/sen.json", "out/sen.png"))
    yield _control("sensitivity", _real(*command("sensitivity")), measured)
    yield _control("sensitivity-again", _real(*command("sensitivity"), materials=analysis), measured)
    dry = Works({"dry_run": True}, check=lambda place, ended: _nothing_new(place))
    yield _control("dry-run", _real(*command("prune", more=("--dry-run",)), materials=analysis), dry)
    yield _control(
        "merge",
        _real(*command("merge", "Global.save_model_dir=both", more=("out",)), materials=analysis),
        Works({"points": 1}),
    )
    made = Works({"kind": "checkpoint"}, check=_exists("made.pdparams", "made.yml"))
    yield _control("import", _real(*command("import-weights", more=("w.pdparams", "made"))), made)
    words = command("import-weights", more=("v2.onnx", "made.pdparams"))
    onnx = _real(*words, materials=(("v2.onnx", "v2.onnx"),))
    yield _control("import-of-onnx", onnx, Works({"kind": "onnx"}, check=_exists("made.pdparams")), ("v2.onnx",))
    over = command("import-weights", "Global.overwrite=true", more=("w.pdparams", "old.pdparams"))
    yield _control(
        "import-over-weights-when-asked",
        _real(*over, materials=(("real.pdparams", "old.pdparams"),)),
        Works({"kind": "checkpoint"}),
    )
    yield _control(
        "eval-of-a-program-of-paddle-3",
        _real(*command("eval", "Global.pretrained_model=pir"), materials=(("pir", "pir"),)),
        Works({"images": 4}),
    )


def _nothing_new(place: Place) -> str | None:
    found = {path.name for path in place.work.iterdir()}
    return None if found == {"pages", "c.yml", "w.pdparams", "out"} else f"new: {found}"


def _checkpoints() -> Iterator[Case]:
    for protocol in range(5):
        yield _control(f"weights-of-protocol-{protocol}", _saved(lambda state: state, protocol))
    named = _saved(lambda state: {key: (f"p_{n}.w_0", value) for n, (key, value) in enumerate(state.items())})
    yield _control("weights-with-names-as-paddle-2.0-wrote-them", named)
    yield _control(
        "weights-of-a-student", _saved(lambda state: {f"Student.{key}": value for key, value in state.items()})
    )
    table = {"StructuredToParameterName@@": {"a": "b"}}
    yield _control("weights-with-a-table-of-names", _saved(lambda state: {**state, **table}))
    columns = _saved(lambda state: {key: np.asfortranarray(value) for key, value in state.items()})
    yield _control("weights-in-columns", columns)
    yield _control("weights-without-suffix", _real(*command("eval", "Global.pretrain_weights=w")))


def _saved(change: Callable[[dict[str, np.ndarray]], object], protocol: int = 2) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="", config="real.yml")
        place.write("w.pdparams", pickle.dumps(change(plain_state(place, "real.pdparams")), protocol=protocol))
        return command("eval")

    return prepare


def _settings() -> Iterator[Case]:
    """Settings near those that are refused."""
    train, trained = command("train"), Works({"metric": "hmean"}, check=_exists("out/best_accuracy.pdparams"))
    for name, option in {
        "a-rate-of-text": "Optimizer.lr.learning_rate=1e-4",
        "a-crop-of-32-by-96": "Train.dataset.transforms.EastRandomCropData.size=[96, 32]",
        "half-of-the-images": "Train.dataset.ratio_list=0.5",
        "a-piecewise-rate": "Optimizer.lr={name: Piecewise, decay_epochs: [5], values: [0.001, 0.0001]}",
        "averaged-weights": "Optimizer.ema={decay: 0.9}",
        "an-event-log": "Global.use_visualdl=true",
        "without-augmentation": f"Train.dataset.transforms={json.dumps([t for t in TRAIN if 'IaaAugment' not in t])}",
    }.items():
        yield _control(f"train-with-{name}", _real(*train, "-o", option, config="c.yml"), trained)
    evaluate = command("eval")
    for name, option in {
        "a-limit": "Eval.dataset.transforms.DetResizeForTest={limit_side_len: 192, limit_type: max}",
        "a-long-side": "Eval.dataset.transforms.DetResizeForTest={resize_long: 192}",
        "no-resize-named": "Eval.dataset.transforms.DetResizeForTest=null",
        "transforms-in-json": f"Eval.dataset.transforms={json.dumps(EVAL)}",
        "polygons": "PostProcess.box_type=poly",
        "an-empty-option": "Global.checkpoints=",
    }.items():
        yield _control(f"eval-with-{name}", _real(*evaluate, "-o", option), Works({"images": 4}, says="hmean"))
    skip = Works({"dry_run": True})
    dry = command("prune", "Prune.skip=['conv1_*']", more=("--dry-run",))
    yield _control("dry-run-with-a-skip-that-matches", _real(*dry, materials=(("analysis", "out"),)), skip)


def _folders() -> Iterator[Case]:
    """Files reached by links, runs that go on, tables without a record."""
    yield _control("everything-behind-links", _linked)
    yield _control("train-again-when-finished", _resumed(False), Works({"metric": "hmean"}))
    yield _control("train-goes-on", _resumed(True), Works({"metric": "hmean"}))
    dry = command("prune", more=("--dry-run",))
    yield _control("a-table-of-paddleslim", _without(dry, "sen.json", "sen.jsonl"), Works({"dry_run": True}))
    torn = Works({"points": 1, "settled": 1})
    yield _control("a-journal-cut-in-its-last-line", _torn, torn)


def _linked(place: Place) -> list[str]:
    place.standard(weights="", config="real.yml")
    place.copy("real.pdparams", "store/real.bin")
    (place.work / "w.pdparams").symlink_to("store/real.bin")
    for name in ("c.yml", "pages/label.txt", "pages/p0.png", "pages"):
        path = place.work / name
        kept = place.work / "store" / Path(name).name
        path.rename(kept)
        path.symlink_to(kept)
    return command("eval")


def _resumed(half: bool) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="")
        place.copy("trained", "out")
        path = place.work / "out/latest.pdopt"
        if half:
            path.write_bytes(pickle.dumps(half_done(pickle.loads(path.read_bytes())), protocol=4))
        return command("train", "Global.pretrained_model=null")

    return prepare


def _without(words: list[str], *files: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="real.pdparams", config="real.yml")
        place.copy("analysis", "out")
        for file in files:
            (place.work / "out" / file).unlink()
        return words

    return prepare


def _torn(place: Place) -> list[str]:
    _without([])(place)
    path = place.work / "out/sen.jsonl"
    path.write_bytes(path.read_bytes() + b'{"layer": "conv_last_w')
    return command("sensitivity")
