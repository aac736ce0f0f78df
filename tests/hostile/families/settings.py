"""Settings that are well-formed and mean nothing: transforms, sizes, places, patterns, texts behind `-o`."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..base import EVAL, TRAIN
from ..case import Case, Either, Expectation, Place, Prepare, Refused, Works, command, slug
from ..forging import SHELL
from . import keys
from .common import NO_FILES
from .options import OPTIONS

FAMILY = "settings"
Transforms = list[dict[str, Any]]

# what is no `Section.key=value`
_TEXTS = {
    "no-equals": "Global.seed",
    "nothing-at-all": "",
    "spaces": "  ",
    "only-equals": "=",
    "no-key": "=5",
    "a-dot-in-front": ".seed=5",
    "a-dot-behind": "Global.=5",
    "two-dots": "Global..seed=5",
    "a-section": "Global=5",
    "an-unknown-section": "Globe.seed=5",
    "an-unknown-key": "Global.sed=5",
    "a-key-below-a-number": "Global.seed.deeper=5",
    "a-transform-by-number": "Train.dataset.transforms.99.size=1",
    "an-open-bracket": "Global.seed=[1",
    "an-open-brace": "Global.seed={",
    "an-open-quote": 'Global.seed="1',
    "an-alias": "Global.seed=*a",
    "an-alias-of-itself": "Global.seed=&a [*a]",
    "a-tag": f"Global.seed=!!python/object/apply:os.system ['{SHELL}']",
    "int-of-nothing": "Global.seed=!!int ''",
    "two-documents": "Global.seed=1\n---\n2",
    "10000-parts": "Global." + ".".join("a" * 10_000) + "=1",
    "a-key-of-100000-letters": "Global." + "a" * 100_000 + "=1",
    "a-value-of-100000-letters": "Global.seed=" + "a" * 100_000,
    "a-value-100000-deep": "Global.seed=" + "[" * 100_000,
    "100000-digits": "Global.seed=" + "9" * 100_000,
    "base-60": "Global.seed=" + ":".join(["1"] * 50_000),
    "a-key-that-is-undecodable": "Global.\udcff=1",
    "a-value-that-is-undecodable": "Global.seed=\udcff",
    "a-control-character": "Global.seed=\x01",
}


def cases() -> Iterator[Case]:
    """Each option alone; transforms left out, twice and out of order; bad words on the command line."""
    yield from keys.cases()
    used: Counter[str] = Counter()
    for option, stage, names in OPTIONS:
        name = slug(f"{stage}-{option.replace('.dataset.transforms', '')}", 90)
        used[name] += 1
        number = f"-{used[name]}" if used[name] > 1 else ""
        yield Case(FAMILY, name + number, _given(stage, option), Refused(names))
    for name, text in _TEXTS.items():
        yield Case(FAMILY, f"option-{name}", _given("eval", text), Refused(r"-o|Global|eval"))
    yield from _transforms()
    yield from _words()
    # PaddleOCR's files name photographs that are not there, and folders: said, and another one is taken
    told = Either((Refused("infer_img|photo"), Works(says="infer_img")))
    for kind in ("fifo", "link-to-dev-zero", "folder"):
        yield Case(FAMILY, f"export-proven-on-a-{kind}", _proven_on(kind), told)
    yield Case(FAMILY, "export-proven-on-a-nul", _given("export", 'Global.infer_img="p\\0.png"'), told)
    yield Case(FAMILY, "a-million-workers", _given("train", "Train.loader.num_workers=1000000"), _EITHER)
    yield Case(FAMILY, "a-thousand-faults", _thousand, Refused("Global", faults=1000))


_EITHER = Either((Refused("num_workers"), Works()))


def _given(stage: str, *options: str) -> Prepare:
    own = {"predict": ("--images", "pages", "--out", "seen"), "dry-run": ("--dry-run",)}

    def prepare(place: Place) -> list[str]:
        if stage.startswith("real "):  # with weights that find the text, and a finished analysis
            place.standard(weights="real.pdparams", config="real.yml")
            if stage != "real sensitivity":
                place.copy("analysis", "out")
        else:
            place.standard()
        if any("=loop" in option for option in options):
            (place.work / "loop").symlink_to("pool")
            (place.work / "pool").symlink_to("loop")
        word = stage.removeprefix("real ")
        return command("prune" if word == "dry-run" else word, *options, more=own.get(word, ()))

    return prepare


def _transforms() -> Iterator[Case]:
    needed = (
        "DecodeImage",
        "DetLabelEncode",
        "MakeBorderMap",
        "MakeShrinkMap",
        "NormalizeImage",
        "ToCHWImage",
        "KeepKeys",
    )
    for name in needed:
        yield _listed("Train", f"without-{name}", [t for t in TRAIN if name not in t], name)
    for name in ("DecodeImage", "DetLabelEncode", "DetResizeForTest", "ToCHWImage"):
        yield _listed("Eval", f"without-{name}", [t for t in EVAL if name not in t], name)
    yield _listed("Train", "twice-KeepKeys", [*TRAIN, TRAIN[-1]], "KeepKeys")
    for name in ("DecodeImage", "ToCHWImage", "NormalizeImage"):
        yield _listed("Train", f"twice-{name}", [u for t in TRAIN for u in ([t, t] if name in t else [t])], name)
        yield _listed("Eval", f"twice-{name}", [u for t in EVAL for u in ([t, t] if name in t else [t])], name)
    yield _listed("Train", "backwards", TRAIN[::-1])
    yield _listed("Eval", "backwards", EVAL[::-1])
    yield _listed("Train", "keys-first", [TRAIN[-1], *TRAIN[:-1]], "KeepKeys")
    yield _listed("Eval", "channels-first-then-resized", [*EVAL[:2], EVAL[4], *EVAL[2:4], EVAL[5]])
    for name in ("CTCLabelEncode", "ClsResizeImg", "TableLabelEncode", "os", "__class__"):
        yield _listed("Train", f"a-foreign-{name}", [*TRAIN[:2], {name: {}}, *TRAIN[2:]], name)
        yield _listed("Eval", f"a-foreign-{name}", [*EVAL[:2], {name: {}}, *EVAL[2:]], name)


def _listed(mode: str, name: str, transforms: Transforms, names: str = "") -> Case:
    option = f"{mode}.dataset.transforms={json.dumps(copy.deepcopy(transforms))}"
    stage = "train" if mode == "Train" else "eval"
    return Case(FAMILY, f"{mode}-{name}", _given(stage, option), Refused("|".join(filter(None, (names, "transforms")))))


def _words() -> Iterator[Case]:
    """Command lines that lack something, or have too much."""
    lines: dict[str, tuple[Sequence[str], Expectation]] = {
        "no-command": ([], Refused("STAGE")),
        "an-unknown-command": (["prun", "-c", "c.yml"], Refused("prun")),
        "no-configuration": (["eval"], Refused("-c")),
        "an-unknown-argument": (["eval", "-c", "c.yml", "--nothing"], Refused("nothing")),
        "predict-without-images": (["predict", "-c", "c.yml", "--out", "seen"], Refused("--images")),
        "predict-without-out": (["predict", "-c", "c.yml", "--images", "pages"], Refused("--out")),
        "merge-of-nothing": (["merge", "-c", "c.yml"], Refused("sources")),
        "merge-of-what-is-missing": (["merge", "missing", "-c", "c.yml"], Refused("missing")),
        "merge-of-a-file": (["merge", "c.yml", "-c", "c.yml"], Refused("c.yml")),
        "merge-of-pages": (["merge", "pages", "-c", "c.yml"], Refused("pages")),
        "import-without-destination": (["import-weights", "w.pdparams", "-c", "c.yml"], Refused("destination")),
        "import-of-what-is-missing": (["import-weights", "no.onnx", "x", "-c", "c.yml"], Refused(r"no\.onnx")),
        "import-through-a-file": (["import-weights", "w.pdparams", "c.yml/x", "-c", "c.yml"], Refused(r"c\.yml")),
        "import-into-proc": (["import-weights", "w.pdparams", "/proc/x/y", "-c", "c.yml"], Refused("/proc")),
        "predict-of-what-is-missing": (
            ["predict", "-c", "c.yml", "--images", "missing", "--out", "seen"],
            Refused("missing"),
        ),
        "predict-into-a-file": (["predict", "-c", "c.yml", "--images", "pages", "--out", "c.yml"], Refused(r"c\.yml")),
        "predict-into-dev-null": (
            ["predict", "-c", "c.yml", "--images", "pages", "--out", "/dev/null/x"],
            Refused("/dev/null"),
        ),
        "predict-of-no-image": (["predict", "-c", "c.yml", "--images", "c.yml", "--out", "seen"], Refused(r"c\.yml")),
        "predict-of-undecodable": (["predict", "-c", "c.yml", "--images", "\udcff", "--out", "x"], Refused(":")),
        "eval-without-weights": (["eval", "-c", "c.yml", "-o", "Global.pretrained_model="], Refused("pretrain")),
        "dry-run-of-eval": (["eval", "-c", "c.yml", "--dry-run"], Refused("dry-run")),
        "merge-words-behind-options": (["merge", "-c", "c.yml", "-o", "Global.seed=1", "out"], Refused("out|sources")),
    }  # fmt: skip
    for name, (words, expect) in lines.items():
        yield Case(FAMILY, f"words-{name}", _said(words), expect)


def _said(words: Sequence[str]) -> Callable[[Place], list[str]]:
    def prepare(place: Place) -> list[str]:
        place.standard()
        return list(words)

    return prepare


def _proven_on(kind: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        NO_FILES[kind](place.work / "photo.png")
        return command("export", "Global.infer_img=photo.png")

    return prepare


def _thousand(place: Place) -> list[str]:
    place.standard()
    return command("eval", *[f"Global.unknown{number}=1" for number in range(1000)])
