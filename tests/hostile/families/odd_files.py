"""Good files that look odd: they belong to the controls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import cv2
import yaml

from ..base import boxes_of, label_line, page
from ..case import Case, Place, Works, command
from ..pictures import encoded
from .silent import pictures

FAMILY = "controls"
_ALL_FOUND = Works({"hmean": 1.0, "precision": 1.0, "recall": 1.0, "images": 4})


def cases() -> Iterator[Case]:
    """Configurations, labels and images as other programs write them."""
    yield from _configurations()
    yield from _labels()
    yield from _images()


def _configurations() -> Iterator[Case]:
    mark = "\ufeff"
    for name, change in {
        "with-a-byte-order-mark": lambda text: (mark + text).encode(),
        "in-utf-16": lambda text: text.encode("utf-16"),
        "with-crlf": lambda text: text.replace("\n", "\r\n").encode(),
        "as-json": lambda text: json.dumps(yaml.safe_load(text)).encode(),
        "with-an-anchor": lambda text: text.replace("seed: 1\n", "seed: &one 1\n  log_smooth_window: *one\n").encode(),
        "with-a-document-mark": lambda text: f"%YAML 1.1\n---\n{text}".encode(),
        "with-a-number-in-text": lambda text: text.replace("0.0001", "1e-4").encode(),
        "in-chinese": lambda text: f"# 配置\n{text}".encode(),
    }.items():  # fmt: skip

        def prepare(place: Place, change: Callable[[str], bytes] = change) -> list[str]:
            place.standard(weights="real.pdparams", config="real.yml")
            place.write("c.yml", change((place.work / "c.yml").read_text(encoding="utf-8")))
            return command("eval")

        yield Case(FAMILY, f"configuration-{name}", prepare, _ALL_FOUND, control=True)


def _labels() -> Iterator[Case]:
    ignored = [{"transcription": "###", "points": [[1, 1], [9, 1], [9, 9], [1, 9]]}]
    for name, (change, boxes) in {
        "with-a-byte-order-mark": (lambda text: b"\xef\xbb\xbf" + text.encode(), 0),
        "with-crlf": (lambda text: text.replace("\n", "\r\n").encode(), 0),
        "with-blank-lines": (lambda text: ("\n" + text.replace("\n", "\n\n")).encode(), 0),
        "with-characters-as-they-are": (lambda text: text.replace("market", "市场").encode(), 0),
        "with-characters-escaped": (lambda text: text.replace("market", "\\u5e02\\ud83d\\ude00").encode(), 0),
        "with-boxes-that-do-not-count": (lambda text: text.encode(), 1),
        "with-fractions": (lambda text: re.sub(r"(\d+), (\d+)\]", r"\1.25, \2.0]", text).encode(), 0),
    }.items():  # fmt: skip

        def prepare(place: Place, change: Callable[[str], bytes] = change, boxes: int = boxes) -> list[str]:
            place.standard(weights="real.pdparams", config="real.yml")
            lines = [label_line(f"p{n}.png", boxes_of(n) + ignored * boxes) for n in range(4)]
            place.write("pages/label.txt", change("".join(lines)))
            return command("eval")

        yield Case(FAMILY, f"labels-{name}", prepare, _ALL_FOUND, control=True)


def _images() -> Iterator[Case]:
    grey = {n: cv2.cvtColor(page(n), cv2.COLOR_BGR2GRAY) for n in range(4)}
    kinds: dict[str, tuple[str, Callable[[int], bytes]]] = {
        "grey-png": (".png", lambda n: encoded(".png", grey[n])),
        "jpeg": (".jpg", lambda n: encoded(".jpg", page(n))),
        "grey-jpeg": (".JPEG", lambda n: encoded(".jpg", grey[n])),
        "bmp": (".bmp", lambda n: encoded(".bmp", page(n))),
        "tiff": (".tiff", lambda n: encoded(".tif", page(n))),
        "webp": (".webp", lambda n: encoded(".webp", page(n))),
        "opaque-png": (".png", lambda n: encoded(".png", cv2.cvtColor(page(n), cv2.COLOR_BGR2BGRA))),
        "jpeg-called-png": (".png", lambda n: encoded(".jpg", page(n))),
        "names-with-spaces": (" a page.png", lambda n: encoded(".png", page(n))),
        "names-in-chinese": ("页.png", lambda n: encoded(".png", page(n))),
    }
    for name, (suffix, content) in kinds.items():

        def prepare(place: Place, suffix: str = suffix, content: Callable[[int], bytes] = content) -> list[str]:
            pictures(place, suffix, content)
            return command("eval")

        yield Case(FAMILY, f"images-{name}", prepare, _ALL_FOUND, control=True)
