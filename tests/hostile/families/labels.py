"""Label files that are damaged, hostile or cannot be right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ..base import boxes_of, label_line
from ..case import Case, Either, Place, Prepare, Refused, Works, command
from .common import NO_FILES, replace_by

FAMILY = "labels"
_NAMED = r"label\.txt"
_SQUARE = [[10, 10], [90, 10], [90, 40], [10, 40]]
_BOX = json.dumps([{"transcription": "a", "points": _SQUARE}])
_HUGE = "9" * 5001


def _points(points: object, text: object = "a") -> str:
    return json.dumps([{"transcription": text, "points": points}])


# what stands behind the name on the first line, in place of a list of boxes
_LABELS: dict[str, str] = {
    "nothing": "",
    "no-json": "a text",
    "json-cut-off": _BOX[:-5],
    "json-with-more-behind": _BOX + "x",
    "single-quotes": _BOX.replace('"', "'"),
    "a-number": "17",
    "a-dictionary": json.dumps({"transcription": "a", "points": _SQUARE}),
    "null": "null",
    "text": '"a"',
    "numbers": "[1, 2]",
    "lists": "[[1, 2]]",
    "no-points": '[{"transcription": "a"}]',
    "no-transcription": json.dumps([{"points": _SQUARE}]),
    "other-keys": json.dumps([{"text": "a", "polygon": _SQUARE}]),
    "points-null": _points(None),
    "points-empty": _points([]),
    "three-points": _points(_SQUARE[:3]),
    "one-point": _points([[1, 2]]),
    "numbers-for-points": _points([10, 10, 90, 40]),
    "points-of-three": _points([[10, 10, 1]] * 4),
    "points-of-text": _points([["10", "10"]] * 4),
    "points-of-lists": _points([[[10], [10]]] * 4),
    "points-of-null": _points([[None, None]] * 4),
    "points-of-true": _points([[True, False]] * 4),
    "points-of-nan": _points(_SQUARE).replace("90", "NaN"),
    "points-of-infinity": _points(_SQUARE).replace("90", "-Infinity"),
    "points-of-1e400": _points(_SQUARE).replace("90", "1e400"),
    "points-of-1e30": _points(_SQUARE).replace("90", "1e30"),
    "points-of-5001-digits": _points(_SQUARE).replace("90", _HUGE),
    "points-of-300-digits": _points(_SQUARE).replace("90", "9" * 300),
    "points-of-a-billion": _points(_SQUARE).replace("90", "1000000000"),
    "points-of-2-to-the-63": _points(_SQUARE).replace("90", str(2**63)),
    "200000-points": _points([[n % 190, (n * 7) % 120] for n in range(200_000)]),
    "a-million-points": "["
    + json.dumps({"transcription": "a", "points": [[1, 1]] * 3})[:-2]
    + ",[5,5]" * 1_000_000
    + "]}]",
    "half-a-million-boxes": "[" + ",".join(['{"transcription":"a","points":[]}'] * 500_000) + "]",
    "a-text-that-is-a-list": _points(_SQUARE, ["a"]),
    "a-text-that-is-a-dictionary": _points(_SQUARE, {"a": 1}),
    "a-text-that-is-null": _points(_SQUARE, None),
    "a-text-of-half-a-character": _points(_SQUARE, "\ud800"),
    "a-key-of-half-a-character": '[{"\\ud800": 1, "points": []}]',
    "a-number-of-5001-digits": _HUGE,
    "a-number-of-a-million-digits": "[" + "7" * 1_000_000 + "]",
    "an-exponent-of-9-digits": "[1e999999999]",
    "lists-100000-deep": "[" * 100_000 + "]" * 100_000,
    "lists-900-deep": "[" * 900 + "]" * 900,
    "dictionaries-50000-deep": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "points-2000-deep": '[{"transcription": "a", "points": ' + "[" * 2000 + "]" * 2000 + "}]",
    "brackets-without-end": "[" * 1_000_000,
    "a-text-100000-deep": '[{"transcription": ' + "[" * 100_000 + "]" * 100_000 + ', "points": []}]',
    "python": f"__import__('os').system('touch x') or {_BOX}",
    "a-nul": _BOX[:5] + "\0" + _BOX[5:],
}

_FIRST = label_line("p0.png", boxes_of(0))
_REST = "".join(label_line(f"p{n}.png", boxes_of(n)) for n in range(1, 4))
# whole label files
_FILES: dict[str, bytes] = {
    "empty": b"",
    "blank-lines": b"\n\n  \n\t\n",
    "in-latin-1": (_FIRST.replace("market", "Stra\xdfe") + _REST).encode("latin-1").replace(b"\\u00df", b"\xdf"),
    "in-utf-16": (_FIRST + _REST).encode("utf-16"),
    "in-utf-32": (_FIRST + _REST).encode("utf-32"),
    "in-gbk": "p0.png\t[{\"transcription\": \"中文\", \"points\": []}]\n".encode("gbk"),
    "a-surrogate-in-utf-8": b"p\xed\xa0\x80.png\t[]\n",
    "zeros": bytes(1000),
    "a-png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "html": b"<html><body>404</body></html>\n",
    "spaces-for-the-tab": (_FIRST + _REST).replace("\t", "    ").encode(),
    "commas-for-the-tab": (_FIRST + _REST).replace("\t", ",").encode(),
    "only-names": b"p0.png\np1.png\n",
    "only-boxes": f"{_BOX}\n".encode(),
    "a-tab-in-front": b"\t" + (_FIRST + _REST).encode(),
    "names-and-boxes-swapped": f"{_BOX}\tp0.png\n".encode(),
    "an-absent-image": b"absent.png\t[]\n" + _REST.encode(),
    "a-folder-for-an-image": b"../pages\t[]\n" + _REST.encode(),
    "a-name-with-a-nul": b"p\0.png\t[]\n" + _REST.encode(),
    "a-name-of-5000-letters": b"p" * 5000 + b".png\t[]\n" + _REST.encode(),
    "a-name-of-a-million-letters": b"p" * 1_000_000 + b".png\t[]\n" + _REST.encode(),
    "a-device-for-an-image": b"/dev/zero\t[]\n" + _REST.encode(),
    "an-address-for-an-image": b"https://127.0.0.1:9/p.png\t[]\n" + _REST.encode(),
    "a-line-of-30-megabytes": b"x" * (30 << 20),
    "cut-in-the-last-line": (_FIRST + _REST).encode()[:-40],
    "icdar-s-own-form": b"10,10,90,10,90,40,10,40,text\n",
    "a-list-of-names-for-one-image": b'["p0.png", "p1.png"]\t[' + b"]\n",
    "a-hundred-thousand-broken-lines": b"p0.png\tx\n" * 100_000,
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Each fault in the labels of training or of evaluation, under the commands that read them."""
    number = 0
    for name, label in _LABELS.items():
        number += 1
        yield Case(FAMILY, f"label-{name}", _labelled(f"p0.png\t{label}\n" + _REST, number), Refused(_NAMED))
    for name, data in _FILES.items():
        number += 1
        yield Case(FAMILY, f"file-{name}", _labelled(data, number), Refused(rf"{_NAMED}|absent|pages|/dev|http|pp"))
    for kind in NO_FILES:
        number += 1
        yield Case(FAMILY, f"no-file-{kind}", _no_file(kind, number), Refused(rf"{_NAMED}|label_file_list"))
    for name, path in {"dev-zero": "/dev/zero", "dev-null": "/dev/null", "own-memory": "/proc/self/mem"}.items():
        yield Case(FAMILY, f"path-{name}", _elsewhere(path), Refused(f"{path}|label_file_list"))
    for delimiter in (",", "\\t", "::"):
        yield Case(FAMILY, f"delimiter-{ord(delimiter[0])}", _delimited(delimiter), Refused(_NAMED))
    yield from _cannot_be_right()


def _command(number: int) -> list[str]:
    return command(("eval", "train", "sensitivity", "prune", "train", "eval")[number % 6])


def _labelled(content: str | bytes, number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        place.write("pages/label.txt", content)
        return _command(number)

    return prepare


def _no_file(kind: str, number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        replace_by(place.work / "pages/label.txt", kind)
        return _command(number)

    return prepare


def _elsewhere(path: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        return command("eval", f"Eval.dataset.label_file_list=[{path}]")

    return prepare


def _delimited(delimiter: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        return command("eval", f"Eval.dataset.delimiter='{delimiter}'")

    return prepare


Boxes = list[dict[str, Any]]


def _with_points(boxes: Boxes, change: Callable[[list[list[float]]], object]) -> Boxes:
    return [{**box, "points": change(box["points"])} for box in boxes]


def _crossed(points: list[list[float]]) -> list[list[float]]:
    return [points[0], points[1], points[3], points[2]]


def _moved(points: list[list[float]]) -> list[list[float]]:
    return [[x + 5000, y + 5000] for x, y in points]


def _scaled(points: list[list[float]]) -> list[list[float]]:
    return [[4 * x + 200, 4 * y + 150] for x, y in points]


def _twice(points: list[list[float]]) -> list[list[float]]:
    return [points[0], points[0], points[2], points[2]]


def _cannot_be_right() -> Iterator[Case]:
    """Labels that are well-formed: most of a kind is refused; a few are said with their count and first line."""
    kinds = {"crossed": _crossed, "outside": _moved, "of-another-size": _scaled}
    for kind, change in kinds.items():
        for stage in ("eval", "train"):
            yield Case(FAMILY, f"{kind}-all-under-{stage}", _wrong(stage, change, range(4)), Refused(_NAMED))
            told = Works(says=rf"(?m)^.*{_NAMED}.*\b2\b.*$")
            few = Either((Refused(_NAMED), told))
            yield Case(FAMILY, f"{kind}-a-quarter-under-{stage}", _wrong(stage, change, [1]), few)
    told = Either((Refused(_NAMED), Works(says=rf"(?m)^.*({_NAMED}|Eval).*(twice|duplicate|repeat|same).*$")))
    yield Case(FAMILY, "boxes-twice", _written(lambda n: boxes_of(n) * 2), told)
    yield Case(FAMILY, "an-image-twice", _written(boxes_of, numbers=(0, 1, 2, 3, 0, 1, 2, 3)), told)
    yield Case(FAMILY, "an-image-twice-with-other-boxes", _twice_otherwise, told)
    flat = Either((Refused("label"), Works(says=r"(?i)don't care|too small|thinner|tiny|crossed|no area")))
    yield Case(FAMILY, "corners-twice", _written(lambda n: _with_points(boxes_of(n), _twice)), flat)


def _written(boxes: Callable[[int], Boxes], numbers: tuple[int, ...] = (0, 1, 2, 3), stage: str = "eval") -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        place.write("pages/label.txt", "".join(label_line(f"p{n}.png", boxes(n)) for n in numbers))
        return command(stage)

    return prepare


def _wrong(stage: str, change: Callable[[list[list[float]]], object], pages: object) -> Prepare:
    def boxes(number: int) -> Boxes:
        return _with_points(boxes_of(number), change) if number in pages else boxes_of(number)  # type: ignore[operator]

    return _written(boxes, stage=stage)


def _twice_otherwise(place: Place) -> list[str]:
    place.standard()
    lines = [label_line(f"p{n}.png", boxes_of(n)) for n in range(4)] + [label_line("p0.png", boxes_of(1))]
    place.write("pages/label.txt", "".join(lines))
    return command("eval")
