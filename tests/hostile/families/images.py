"""Images that are none, or that say they are enormous, in the place of a page, of a photograph, of a whole folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ..base import boxes_of, label_line, page
from ..case import Case, Either, Place, Prepare, Refused, Works, command
from ..client import Ended
from ..pictures import ENORMOUS, UNREADABLE, encoded
from .common import NO_FILES, flipped, replace_by

FAMILY = "images"
SMALL_MACHINE = 3 << 30  # of which Python and Paddle take one; what would take more is to be refused there
_SHIPPED = "Eval.dataset.transforms.DetResizeForTest={limit_side_len: 736, limit_type: min}"
_TOO_LARGE = Either((Refused(r"limit_side_len|memory|GB|GiB|\d{3,} ?x ?\d{3,}"), Works()))


def cases() -> Iterator[Case]:
    """Each image alone, in the commands in turns; and folders of which one or all are damaged."""
    number = 0
    for name, (file, content) in {**UNREADABLE, **ENORMOUS}.items():
        for _ in range(2 if name in ENORMOUS else 1):
            case, names = _using(file, content, number), Path(file).stem + r"\."
            yield Case(FAMILY, f"{name}-{_stage(number)}", case, Refused(names))
            number += 1
    for kind in NO_FILES:
        yield Case(FAMILY, f"no-file-{kind}", _no_file(kind, number), Refused(r"a\.png"))
        number += 1
    for kind in ("dev-zero", "dev-urandom", "dev-stdin"):
        path = f"/{kind.replace('-', '/')}"
        yield Case(FAMILY, f"predict-of-{kind}", _predict_of(path), Refused(path))
    either = Either((Refused(r"a\."), Works()))
    for number in range(12):
        kind = (".png", ".jpg", ".bmp", ".tif", ".webp")[number % 5]
        yield Case(FAMILY, f"flipped-bits-{number}", _damaged(kind, number), either)
    for share in (0.5, 0.9, 0.99):
        yield Case(FAMILY, f"jpeg-cut-at-{share}", _cut(".jpg", share), either)
        yield Case(FAMILY, f"png-cut-at-{share}", _cut(".png", share), either)
    yield from _folders()
    for name, (width, height) in {
        "strip-1434x20": (1434, 20),
        "strip-20x1434": (20, 1434),
        "strip-30000x8": (30000, 8),
    }.items():
        yield Case(FAMILY, f"narrow-{name}", _strip(width, height), _TOO_LARGE, machine=SMALL_MACHINE)
    yield Case(FAMILY, "a-photograph-of-5472x3648", _strip(5472, 3648), _TOO_LARGE, machine=SMALL_MACHINE)
    yield Case(FAMILY, "one-pixel", _strip(1, 1), _TOO_LARGE)


def _stage(number: int) -> str:
    return ("predict", "eval", "train", "export")[number % 4]


def _using(file: str, content: Callable[[], bytes], number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        place.write(file, content())
        return _reading(place, file, _stage(number))

    return prepare


def _no_file(kind: str, number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        replace_by(place.work / "a.png", kind)
        return _reading(place, "a.png", ("predict", "eval", "train")[number % 3])

    return prepare


def _reading(place: Place, file: str, stage: str) -> list[str]:
    """A command that reads the image `file`: alone, or as one of a data set."""
    if stage == "predict":
        return command("predict", more=("--images", file, "--out", "seen"))
    if stage == "export":
        return command("export", f"Global.infer_img={file}")
    place.write("pages/label.txt", label_line(f"../{file}", boxes_of(0)) + label_line("p1.png", boxes_of(1)))
    return command(stage)


def _predict_of(path: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        return command("predict", more=("--images", path, "--out", "seen"))

    return prepare


def _damaged(kind: str, number: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        place.write(f"a{kind}", flipped(encoded(kind), place, 1 + number))
        return _reading(place, f"a{kind}", _stage(number))

    return prepare


def _cut(kind: str, share: float) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        data = encoded(kind)
        place.write(f"a{kind}", data[: int(len(data) * share)])
        return _reading(place, f"a{kind}", "predict")

    return prepare


def _boxes_of(count: int) -> Callable[[Place, Ended], str | None]:
    def check(place: Place, ended: Ended) -> str | None:
        found = json.loads((place.work / "seen/boxes.json").read_text(encoding="utf-8"))
        return None if len(found) == count else f"boxes.json has {len(found)} images, expected {count}"

    return check


def _folders() -> Iterator[Case]:
    """One unreadable image in a folder is a line, not the end; a folder of nothing else is an error."""
    several = {**UNREADABLE, "png-of-30000x30000": ENORMOUS["png-of-30000x30000"]}
    for name in ("empty", "png-cut-at-a-tenth", "jpeg-of-no-size", "png-of-no-size", "png-of-30000x30000"):
        told = Works({"images": 4}, says=r"a\.(png|jpg)", check=_boxes_of(4))
        yield Case(FAMILY, f"folder-with-one-{name}", _folder(several[name], 4), told)
        yield Case(FAMILY, f"folder-with-only-{name}", _folder(several[name], 0), Refused("folder"))
    for kind in ("fifo", "link-to-dev-zero", "folder", "link-to-nothing", "link-to-itself"):
        works = Works({"images": 4}, check=_boxes_of(4))
        yield Case(FAMILY, f"folder-with-a-{kind}", _folder(kind, 4), works)
        yield Case(FAMILY, f"folder-with-only-a-{kind}", _folder(kind, 0), Refused("folder"))
    yield Case(FAMILY, "folder-of-nothing", _folder(None, 0), Refused("folder"))


def _folder(odd: tuple[str, Callable[[], bytes]] | str | None, pages: int) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        (place.work / "folder").mkdir()
        for number in range(pages):
            shutil.copyfile(place.work / f"pages/p{number}.png", place.work / f"folder/p{number}.png")
        if isinstance(odd, tuple):
            place.write(f"folder/{odd[0]}", odd[1]())
        elif odd is not None:
            replace_by(place.work / "folder/a.png", odd)
        return command("predict", more=("--images", "folder", "--out", "seen"))

    return prepare


def _strip(width: int, height: int) -> Prepare:
    """An image that the shipped configurations' resize makes enormous, or leaves so."""

    def prepare(place: Place) -> list[str]:
        place.standard()
        image = np.full((height, width, 3), 235, np.uint8)
        text = page(0)[: min(height, 128), : min(width, 192)]
        image[: text.shape[0], : text.shape[1]] = text
        cv2.imwrite(str(place.work / "strip.png"), image)
        return command("predict", _SHIPPED, more=("--images", "strip.png", "--out", "seen"))

    return prepare
