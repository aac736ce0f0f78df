"""Everyday inputs that must not go wrong in silence: the right result, or a line that says what is the matter."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..base import HEIGHT, TRAIN, WIDTH, boxes_of, label_line, page
from ..case import Case, Either, Expectation, Place, Prepare, Refused, Works, command
from ..client import Ended
from ..pictures import encoded, turned_jpeg
from .checkpoints import plain_state
from .images import SMALL_MACHINE

FAMILY = "silent"
_RIGHT = Works({"hmean": 1.0, "images": 4})
_SIX = {"CopyPaste": None}


def cases() -> Iterator[Case]:
    """Weights, pixels, files, transforms, words; then the small inputs of `../shared/cases`, where they are."""
    yield from _weights()
    yield from _pixels()
    yield from _transforms()
    yield from _words()
    yield from _shared()


def blind(place: Place) -> bytes:
    """PP-OCRv2's weights with a last layer that finds nothing."""
    state = plain_state(place, "real.pdparams")
    last = "head.binarize.conv3"
    state[f"{last}.weight"] = np.zeros_like(state[f"{last}.weight"])
    state[f"{last}.bias"] = np.full_like(state[f"{last}.bias"], -10)
    return pickle.dumps(state, protocol=2)


def _weights() -> Iterator[Case]:
    """`Global.checkpoints` beside a `pretrained_model`: PaddleOCR takes the first, so that counts, or is refused."""
    two = Refused("checkpoints")
    expected: dict[str, tuple[Sequence[str], Expectation]] = {
        "eval": ((), _RIGHT),
        "predict": (("--images", "pages", "--out", "seen"), Works({"images": 4}, check=finds_text)),
        "export": ((), Works(check=exported_from("q"))),
        "sensitivity": ((), Works(says=r"baseline hmean 1\.0")),
    }
    for stage, (more, works) in expected.items():
        words = command(stage, "Global.checkpoints=q", more=more)
        yield Case(FAMILY, f"checkpoints-beside-pretrained-{stage}", _two_weights(words), Either((two, works)))
    words = command("prune", "Global.checkpoints=q", more=("--dry-run",))
    either = Either((Refused(r"checkpoints|other weights"), Works(says="checkpoints")))
    yield Case(FAMILY, "checkpoints-beside-pretrained-dry-run", _two_weights(words, "analysis"), either)
    address = command(
        "train", "Global.pretrained_model=https://127.0.0.1:9/models/MobileNetV3_large_x0_5_pretrained.pdparams"
    )
    yield Case(FAMILY, "an-address-for-weights", _plain(address), Refused(r"(?i)address|download|url"))
    hint = command("eval", "Global.reader_yml=configs/det/det_db_icdar15_reader.yml")
    yield Case(FAMILY, "a-hint-that-helps-nobody", _plain(hint), Refused(r"^(?!.*use_mlu).*reader_yml"))


def _two_weights(words: list[str], analysis: str = "") -> Prepare:
    """The network that finds nothing as `pretrained_model`, the one that finds all as `checkpoints`."""

    def prepare(place: Place) -> list[str]:
        place.standard(weights="", config="real.yml")
        place.write("w.pdparams", blind(place))
        place.copy("real.pdparams", "q.pdparams")
        if analysis:
            place.write("q.pdparams", blind(place))
            place.copy("real.pdparams", "w.pdparams")
            place.copy(analysis, "out")
        return words

    return prepare


def finds_text(place: Place, ended: Ended) -> str | None:
    boxes = json.loads((place.work / "seen/boxes.json").read_text(encoding="utf-8"))
    return None if all(boxes.values()) else "boxes.json has images without text"


def exported_from(name: str) -> Callable[[Place, Ended], str | None]:
    def check(place: Place, ended: Ended) -> str | None:
        source = json.loads((place.work / "exported/export.json").read_text(encoding="utf-8"))["source"]
        return None if Path(source).stem == name else f"exported from {Path(source).name}"

    return check


def _plain(words: list[str], config: str = "c.yml") -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="real.pdparams" if config == "real.yml" else "small.pdparams", config=config)
        return words

    return prepare


def _transparent(number: int) -> bytes:
    """Black text on nothing."""
    ink = 255 - cv2.cvtColor(page(number), cv2.COLOR_BGR2GRAY)
    alpha = np.clip((ink.astype(np.float32) - 20) * 255 / 215, 0, 255).astype(np.uint8)
    return encoded(".png", np.dstack([np.zeros((*alpha.shape, 3), np.uint8), alpha]))


def _deep(number: int) -> np.ndarray:
    """A page of 16 bits, whose darkest and brightest pixels lie where those of 8 bits do."""
    return page(number).astype(np.uint16) * 257


def _turned(number: int) -> bytes:
    """A page as a camera on its side stores it."""
    return turned_jpeg(cv2.rotate(page(number), cv2.ROTATE_90_COUNTERCLOCKWISE))


_FILM = b"\0\0\0\x18ftypmp42" + bytes(200) + b"\xff\xda\xff\xd9\xff\xda" + bytes(300)
# pictures that hold the four pages: suffix, content
PIXELS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "transparent-png": (".png", _transparent),
    "16-bit-png": (".png", lambda number: encoded(".png", _deep(number))),
    "16-bit-tiff": (".tif", lambda number: encoded(".tif", _deep(number))),
    "16-bit-grey-png": (".png", lambda number: encoded(".png", _deep(number)[:, :, 0])),
    "turned-jpeg": (".jpg", _turned),
    "png-with-bytes-behind": (".png", lambda number: encoded(".png", page(number)) + bytes(100)),
    "png-with-text-behind": (".png", lambda number: encoded(".png", page(number)) + b"IEND more\r\n" * 9),
    "jpeg-with-a-film-behind": (".jpg", lambda number: encoded(".jpg", page(number)) + _FILM),
    "jpeg-with-zeros-behind": (".jpg", lambda number: encoded(".jpg", page(number)) + bytes(5000)),
}


def pictures(place: Place, suffix: str, content: Callable[[int], bytes], *, config: str = "real.yml") -> None:
    """A data set of the four pages as other files; its folder is called `pages` like that of the others."""
    place.copy(config, "c.yml")
    place.copy("real.pdparams", "w.pdparams")
    for number in range(4):
        place.write(f"pages/p{number}{suffix}", content(number))
    lines = [label_line(f"p{number}{suffix}", boxes_of(number)) for number in range(4)]
    place.write("pages/label.txt", "".join(lines))


def _pixels() -> Iterator[Case]:
    for name, (suffix, content) in PIXELS.items():
        yield Case(FAMILY, f"{name}-eval", _pictured(suffix, content, command("eval")), _RIGHT)
        words = command("predict", more=("--images", "pages", "--out", "seen"))
        drawn = Works({"images": 4}, check=_drawn)
        yield Case(FAMILY, f"{name}-predict", _pictured(suffix, content, words), drawn)
    stored = Either((Refused("label"), Works(says=r"(?i)outside|exif|orientation|turned")))
    yield Case(FAMILY, "labels-of-stored-pixels", _stored, stored)
    yield Case(FAMILY, "an-undecodable-name", _undecodable, Either((Refused("p"), Works({"images": 4}))))


def _pictured(suffix: str, content: Callable[[int], bytes], words: list[str]) -> Prepare:
    def prepare(place: Place) -> list[str]:
        pictures(place, suffix, content)
        return words

    return prepare


def _drawn(place: Place, ended: Ended) -> str | None:
    """Whether text was found in each picture, and drawn on the picture as people see it."""
    for path in sorted((place.work / "seen").glob("*.png")):
        image = cv2.imread(str(path))
        if image.shape != (HEIGHT, WIDTH, 3) or not np.median(image) > 128:
            return f"{path.name}: drawn on {image.shape}, of which the middle is {np.median(image):.0f}"
    return finds_text(place, ended)


def _stored(place: Place) -> list[str]:
    """Labels made for the pixels as stored: a wide page, which its tag turns upright."""
    pictures(place, ".jpg", lambda number: turned_jpeg(page(number)))
    return command("eval")


def _undecodable(place: Place) -> list[str]:
    place.standard(weights="real.pdparams", config="real.yml")
    (place.work / "pages/p0.png").rename(place.work / "pages" / os.fsdecode(b"p\xff.png"))
    return command("predict", more=("--images", "pages", "--out", "seen"))


def _transforms() -> Iterator[Case]:
    pasted = Either((Refused("CopyPaste"), Works(check=_not_used_whole)))
    yield Case(FAMILY, "copy-paste-of-six-corners", _copy_paste(6), pasted)
    yield Case(FAMILY, "copy-paste-of-four-corners", _copy_paste(4), Works(check=_not_used_whole))
    drawn = Works(says=r"(?i)(each|every|per) epoch|anew|ratio_list")
    ratio = command("train", "Train.dataset.ratio_list=[0.5]", "Global.epoch_num=2")
    yield Case(FAMILY, "half-of-the-images", _plain(ratio), drawn)


def _not_used_whole(place: Place, ended: Ended) -> str | None:
    wrong = [line for line in ended.err.splitlines() if "first crop" in line or "used whole" in line]
    return wrong[0][:200] if wrong else None


def _copy_paste(corners: int) -> Prepare:
    def more(points: list[list[int]]) -> list[list[int]]:
        (left, top), (right, _), (_, bottom), _ = points
        middle = (left + right) // 2
        return points if corners == 4 else [*points[:1], [middle, top], *points[1:3], [middle, bottom], *points[3:]]

    def prepare(place: Place) -> list[str]:
        place.standard()
        boxes = [[{**box, "points": more(box["points"])} for box in boxes_of(n)] for n in range(4)]
        place.write("pages/label.txt", "".join(label_line(f"p{n}.png", boxes[n]) for n in range(4)))
        transforms: list[dict[str, Any]] = [*TRAIN[:3], _SIX, *TRAIN[3:]]
        return command("train", f"Train.dataset.transforms={json.dumps(transforms)}")

    return prepare


def _exists(path: str) -> Callable[[Place, Ended], str | None]:
    def check(place: Place, ended: Ended) -> str | None:
        return None if (place.work / path).exists() else f"{path} was not written"

    return check


def _words() -> Iterator[Case]:
    """YAML reads what stands behind ` #` as a comment; on a command line nobody means one."""
    saved = Either((Refused("#"), Works(check=_exists("out/run #1/x/best_accuracy.pdparams"))))
    words = command("train", "Global.save_model_dir=out/run #1/x")
    yield Case(FAMILY, "a-hash-in-a-folder-to-train-in", _plain(words), saved)
    exported = Either((Refused("#"), Works(check=_exists("models #2/export.json"))))
    words = command("export", "Global.save_inference_dir=models #2")
    yield Case(FAMILY, "a-hash-in-a-folder-to-export-to", _plain(words), exported)


def _shared() -> Iterator[Case]:
    whole = "Eval.dataset.transforms.DetResizeForTest=null"
    label = Refused("label.txt|half.txt|outside")
    told = Either((Refused(r"half\.txt"), Works(says=r"half\.txt.*\b\d+\b")))
    sets: dict[str, tuple[str, str, str, Expectation]] = {
        "base": ("base", "base/label.txt", "eval", _RIGHT),
        "trailing-bytes": ("trailing_bytes", "trailing_bytes/label.txt", "eval", Works({"hmean": 1.0, "images": 2})),
        "transparent-png": ("transparent_png", "transparent_png/label.txt", "eval", _RIGHT),
        "crossed-corners": ("base", "crossed_corners/label.txt", "eval", label),
        "crossed-corners-half": ("base", "crossed_corners/half.txt", "eval", told),
        "outside-image": ("base", "outside_image/label.txt", "eval", label),
        "outside-image-train": ("base", "outside_image/label.txt", "train", label),
        "ratio-list": (
            "base",
            "ratio_list_fixed/train.txt",
            "train",
            Works(says=r"(?i)(each|every|per) epoch|anew|ratio_list"),
        ),
    }
    for name, (images, labels, stage, expect) in sets.items():
        mode = "Train" if stage == "train" else "Eval"
        data = [f"{mode}.dataset.data_dir=cases/{images}", f"{mode}.dataset.label_file_list=[cases/{labels}]"]
        more = [whole] if stage == "eval" else ["Train.dataset.ratio_list=0.5"] if name == "ratio-list" else []
        yield Case(FAMILY, f"shared-{name}", _of_shared(command(stage, *data, *more)), expect, needs=("shared",))
    six = [*TRAIN[:3], _SIX, *TRAIN[3:]]
    data = ["Train.dataset.data_dir=cases/base", "Train.dataset.label_file_list=[cases/copypaste_polygon/train.txt]"]
    words = command("train", *data, f"Train.dataset.transforms={json.dumps(six)}")
    pasted = Either((Refused("CopyPaste"), Works(check=_not_used_whole)))
    yield Case(FAMILY, "shared-copypaste-polygon", _of_shared(words), pasted, needs=("shared",))
    strip = command("predict", whole, more=("--images", "cases/narrow_strip/line.png", "--out", "seen"))
    refused = Either((Refused(r"limit_side_len|memory|GB|GiB|52768"), Works()))
    yield Case(FAMILY, "shared-narrow-strip", _of_shared(strip), refused, needs=("shared",), machine=SMALL_MACHINE)


def _of_shared(words: list[str]) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard(weights="real.pdparams", config="real.yml")
        place.copy("shared", "cases")
        return words

    return prepare
