"""Configurations that are none: hostile YAML, wrong encodings, things that are no files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..case import Case, Place, Refused, command
from ..forging import SHELL
from .common import NO_FILES, replace_by

FAMILY = "configurations"
_NAMED = Refused(r"c\.yml")
_COMMANDS: tuple[Callable[[], list[str]], ...] = (
    lambda: command("eval"),
    lambda: command("train"),
    lambda: command("export"),
    lambda: command("groups"),
    lambda: command("predict", more=("--images", "pages", "--out", "seen")),
    lambda: command("prune", more=("--dry-run",)),
    lambda: command("sensitivity"),
    lambda: command("prune"),
    lambda: command("merge", more=("out",)),
    lambda: command("import-weights", more=("w.pdparams", "made.pdparams")),
)

# values that no whole number has, in the place of Global.seed
_VALUES = {
    "int-of-nothing": '!!int ""',
    "int-of-text": "!!int x",
    "int-of-a-sign": '!!int "-"',
    "int-of-a-list": "!!int [1]",
    "int-of-underscores": '!!int "___"',
    "int-of-0x": '!!int "0x"',
    "int-of-a-colon": '!!int ":"',
    "float-of-nothing": '!!float ""',
    "float-of-text": "!!float x",
    "float-of-a-dictionary": "!!float {a: 1}",
    "bool-of-nothing": '!!bool ""',
    "bool-of-text": "!!bool perhaps",
    "timestamp-of-nothing": '!!timestamp ""',
    "timestamp-of-text": "!!timestamp x",
    "timestamp-of-a-list": "!!timestamp [1]",
    "a-date-that-is-none": "2026-02-31",
    "an-hour-that-is-none": "2026-01-01 25:61:61",
    "a-time-zone-that-is-none": "2026-01-01 00:00:00 +99:99",
    "a-date": "2026-01-01",
    "binary-of-no-base64": '!!binary "%%%a"',
    "binary": "!!binary aGVsbG8=",
    "a-set": "!!set {a, b}",
    "an-omap-of-text": "!!omap x",
    "pairs-of-a-dictionary": "!!pairs {a: 1}",
    "a-map-of-text": "!!map x",
    "a-seq-of-text": "!!seq x",
    "a-str-of-a-list": "!!str [a]",
    "a-tag-of-its-own": "!seed 1",
    "an-unknown-tag": "!!nothing 1",
    "python-apply": f'!!python/object/apply:os.system ["{SHELL}"]',
    "python-new": f'!!python/object/new:subprocess.getoutput [["{SHELL}"]]',
    "python-name": "!!python/name:os.system",
    "python-module": "!!python/module:os",
    "python-tuple": "!!python/tuple [1, 2]",
    "python-by-its-full-tag": f'!<tag:yaml.org,2002:python/object/apply:os.system> ["{SHELL}"]',
    "base-60-of-300000-parts": ":".join(["1"] * 300_000),
    "base-60-float-of-300000-parts": ":".join(["1"] * 300_000) + ".5",
    "base-60-float-of-190-parts": ":".join(["59"] * 190) + ".5",
    "5001-digits": "1" + "0" * 5000,
    "100000-digits": "9" * 100_000,
    "900000-digits": "7" * 900_000,
    "hexadecimal-of-100000-digits": "0x" + "f" * 100_000,
    "binary-of-500000-digits": "0b" + "1" * 500_000,
    "1e400": "1.0e+400",
    "an-exponent-of-9-digits": "1.0e+999999999",
    "infinity": ".inf",
    "minus-infinity": "-.INF",
    "not-a-number": ".nan",
    "half-a-character": '"\\ud800"',
    "beyond-unicode": '"\\U00110000"',
    "far-beyond-unicode": '"\\UFFFFFFFF"',
    "an-escape-that-is-none": '"\\q"',
    "an-escape-cut-off": '"\\x4"',
    "a-nul": '"\\0"',
    "an-unknown-alias": "*nothing",
    "an-alias-of-itself": "&a [*a]",
    "an-anchor-twice-on-one": "&a &b 1",
    "a-list-in-no-list": "- 1",
    "an-open-bracket": "[1, 2",
    "an-open-quote": '"1',
    "a-reserved-character": "@1",
    "a-backtick": "`1`",
    "two-colons": "a: b: c",
}

_LAUGHS = "x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
_MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 31))
_BLOCKS = "".join("  " * n + "a:\n" for n in range(700))

# lines put in front of the whole
_FRONTS = {
    "billion-laughs": _LAUGHS,
    "merges-of-merges": _MERGES,
    "a-section-twice": "Global: {seed: 1}\n",
    "an-unknown-section": "Globall: {seed: 1}\n",
    "a-key-that-is-a-number": "1: 2\n",
    "a-key-that-is-nothing": "~: 2\n",
    "a-key-that-is-true": "true: 2\n",
    "a-key-that-is-a-fraction": "1.5: 2\n",
    "a-key-that-is-a-date": "2026-01-01: 2\n",
    "a-key-that-is-a-list": "[a]: 2\n",
    "a-key-that-is-a-dictionary": "{a: b}: 2\n",
    "a-key-of-a-list-in-itself": "? &a [*a]\n: 2\n",
    "a-key-of-2000-letters": "k" * 2000 + ": 1\n",
    "a-key-of-half-a-character": '"\\ud800": 1\n',
    "a-merge-of-a-number": "<<: 5\n",
    "a-merge-of-text": "<<: Global\n",
    "a-merge-of-numbers": "<<: [1, 2]\n",
    "a-merge-of-nothing": "<<:\n",
    "700-blocks-deep": _BLOCKS,
    "flow-200-deep": "x: " + "[" * 200 + "]" * 200 + "\n",
    "flow-100000-deep": "x: " + "[" * 100_000 + "]" * 100_000 + "\n",
    "dictionaries-50000-deep": "x: " + "{a: " * 50_000 + "1" + "}" * 50_000 + "\n",
    "lists-100000-deep-in-a-line": "x:\n" + "- " * 100_000 + "1\n",
    "questions-20000-deep": "? " * 20_000 + "x\n",
    "brackets-without-end": "x: " + "[" * 400_000 + "\n",
    "anchors-without-end": "x: " + "&a" * 300_000 + "\n",
    "a-hundred-thousand-keys": "x:\n"
    + "".join(f"  k{n}: 1\n" for n in range(100_000))[:1_000_000].rpartition("\n")[0]
    + "\n",
    "a-hundred-aliases-of-a-thousand": f"a: &a [{', '.join(['1'] * 1000)}]\nb: [{', '.join(['*a'] * 1000)}]\n",
    "quotes-without-end": "x: '" + "''" * 300_000 + "\n",
    "a-version-of-9": "%YAML 9.9\n---\n",
    "a-directive-twice": "%YAML 1.1\n%YAML 1.1\n---\n",
    "a-tag-renamed": f'%TAG !e! tag:yaml.org,2002:python/object/apply:\n---\nx: !e!os.system ["{SHELL}"]\n',
    "a-second-document": "a: 1\n---\n",
    "a-tab-for-indentation": "x:\n\ty: 1\n",
    "a-control-character": "x: \x01\n",
    "a-bell": "# \x07\n",
    "a-nul-in-a-comment": "# \0\n",
}

_WHOLES = {
    "empty": b"",
    "a-comment": b"# nothing\n",
    "null": b"null\n",
    "a-list": b"- Global\n",
    "a-word": b"Global\n",
    "a-number": b"17\n",
    "only-dashes": b"---\n---\n",
    "in-latin-1": "Global: {save_model_dir: Straße}\n".encode("latin-1"),
    "in-utf-16-without-a-mark": "Global: {seed: 1}\n".encode("utf-16-le"),
    "in-utf-32": "Global: {seed: 1}\n".encode("utf-32"),
    "utf-16-cut-off": "Global: {seed: 1}\n".encode("utf-16")[:-3],
    "half-a-utf-8-character": b"Global: \xc3",
    "overlong-utf-8": b"Global: \xc0\x80\n",
    "a-surrogate-in-utf-8": b"Global: {save_model_dir: \xed\xa0\x80}\n",
    "zeros": bytes(1000),
    "a-png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "two-megabytes": b"# " + b"x" * (2 << 20),
    "json-cut-off": b'{"Global": {"seed": 1',
    "python": b"import os\nos.system('ls')\n",
}

_SECTIONS = {
    "Global": "Global",
    "Architecture": "Architecture",
    "Optimizer": "Optimizer",
    "PostProcess": "PostProcess",
    "Train": "Train",
    "Eval": "Eval",
    "Prune": "Prune",
    "Loss": "Loss",
    "Metric": "Metric",
}
_SHAPES = {"a-number": "5", "a-list": "[1, 2]", "text": "a text", "true": "true"}
_PATHS = {
    "missing": "missing/c.yml",
    "nothing": "",
    "a-dash": "-",
    "dev-null": "/dev/null",
    "dev-zero": "/dev/zero",
    "dev-urandom": "/dev/urandom",
    "own-memory": "/proc/self/mem",
    "a-name-of-5000-letters": "c" * 5000 + ".yml",
    "undecodable": "\udcff\udcfe.yml",
    "through-a-file": "w.pdparams/c.yml",
    "an-address": "https://127.0.0.1:9/c.yml",
}


def cases() -> Iterator[Case]:
    """Every fault once, the commands in turns."""
    edits: dict[str, Callable[[str], str | bytes]] = {}
    for name, value in _VALUES.items():
        edits[f"value-{name}"] = lambda text, value=value: re.sub(
            r"(?m)^  seed: .*$", lambda _: f"  seed: {value}", text
        )
    for name, front in _FRONTS.items():
        edits[f"front-{name}"] = lambda text, front=front: front + text
    for name, data in _WHOLES.items():
        edits[f"whole-{name}"] = lambda _, data=data: data
    for number, section in enumerate(_SECTIONS):
        shape, value = list(_SHAPES.items())[number % len(_SHAPES)]
        edits[f"section-{section}-is-{shape}"] = lambda text, s=section, v=value: _section(text, s, v)
    edits["a-key-twice"] = lambda text: text.replace("  seed: 1\n", "  seed: 1\n  seed: 2\n")
    edits["a-merge-in-a-section"] = lambda text: text.replace("  seed: 1\n", "  seed: 1\n  <<: 7\n")
    edits["indented-by-chance"] = lambda text: text.replace("  seed: 1\n", "   seed: 1\n")
    edits["cut-in-the-middle"] = lambda text: text[: text.index("Optimizer") + 5]
    for number, (name, edit) in enumerate(edits.items()):
        yield Case(FAMILY, name, _edited(edit, number), _NAMED)
    yield Case(FAMILY, "a-hundred-unknown-keys", _edited(_hundred, 0), Refused(r"c\.yml", faults=100))
    for number, kind in enumerate(NO_FILES):
        yield Case(FAMILY, f"no-file-{kind}", _replaced(kind, number), _NAMED)
    for name, path in _PATHS.items():
        yield Case(FAMILY, f"path-{name}", _elsewhere(path), Refused(r"\.yml|/|-c|config|: "))


def _edited(edit: Callable[[str], str | bytes], number: int) -> Callable[[Place], list[str]]:
    def prepare(place: Place) -> list[str]:
        place.standard()
        place.write("c.yml", edit((place.work / "c.yml").read_text(encoding="utf-8")))
        return _COMMANDS[number % len(_COMMANDS)]()

    return prepare


def _replaced(kind: str, number: int) -> Callable[[Place], list[str]]:
    def prepare(place: Place) -> list[str]:
        place.standard()
        replace_by(place.work / "c.yml", kind)
        return _COMMANDS[number % len(_COMMANDS)]()

    return prepare


def _elsewhere(path: str) -> Callable[[Place], list[str]]:
    def prepare(place: Place) -> list[str]:
        place.standard()
        return command("eval", config=path)

    return prepare


def _section(text: str, section: str, value: str) -> str:
    """The section replaced by a value that is none."""
    return re.sub(rf"(?ms)^{section}:\n.*?(?=^\w|\Z)", f"{section}: {value}\n", text)


def _hundred(text: str) -> str:
    return text.replace("  seed: 1\n", "  seed: 1\n" + "".join(f"  unknown_{n}: 1\n" for n in range(100)))
