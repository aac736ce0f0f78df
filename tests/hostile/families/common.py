"""What the families share: the file that is wrong under each command, and files that are none."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..case import Place, command

# commands that read weights, and how each is told of them; the cheapest most often
READERS: dict[str, Callable[[str], list[str]]] = {
    "eval": lambda weights: command("eval", f"Global.pretrained_model={weights}"),
    "eval-alias": lambda weights: command("eval", f"Global.pretrain_weights={weights}"),
    "predict": lambda weights: command(
        "predict", f"Global.pretrained_model={weights}", more=("--images", "pages", "--out", "seen")
    ),
    "export": lambda weights: command("export", f"Global.pretrained_model={weights}"),
    "train": lambda weights: command("train", f"Global.pretrained_model={weights}"),
    "backbone": lambda weights: command("train", "Global.pretrained_model=", f"Global.init_backbone={weights}"),
    "import": lambda weights: command("import-weights", more=(weights, "made.pdparams")),
    "dry-run": lambda weights: command("prune", f"Global.pretrained_model={weights}", more=("--dry-run",)),
    "sensitivity": lambda weights: command("sensitivity", f"Global.pretrained_model={weights}"),
}
SPREAD = ("eval", "export", "predict", "train", "import", "eval-alias", "backbone", "dry-run", "sensitivity")

Maker = Callable[[Path], None]


def _socket(path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="s-")) / "s"  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(short))
    short.rename(path)
    short.parent.rmdir()


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(6 << 30)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


NO_FILES: dict[str, Maker] = {
    "fifo": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "link-to-dev-zero": lambda path: path.symlink_to("/dev/zero"),
    "link-to-dev-random": lambda path: path.symlink_to("/dev/urandom"),
    "link-to-a-fifo": lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe"))[1],
    "link-to-itself": _loop,
    "link-to-nothing": lambda path: path.symlink_to("nowhere"),
    "socket": _socket,
    "six-gigabytes-of-nothing": _sparse,
}


def replace_by(path: Path, kind: str) -> None:
    """Put something that is no readable file at `path`."""
    if path.exists() or path.is_symlink():
        path.unlink()
    NO_FILES[kind](path)


def reader(place: Place, number: int) -> Callable[[str], list[str]]:
    """One of the commands that read weights, in turns."""
    return READERS[SPREAD[number % len(SPREAD)]]


def flipped(data: bytes, place: Place, bits: int, start: int = 0, end: int | None = None) -> bytes:
    """`data` with some bits flipped between `start` and `end`."""
    found = bytearray(data)
    for _ in range(bits):
        where = place.rng.randrange(start, min(end or len(found), len(found)))
        found[where] ^= 1 << place.rng.randrange(8)
    return bytes(found)


# how a whole file is damaged
Change = Callable[[bytes, Place], bytes]
DAMAGES: dict[str, Change] = {
    "empty": lambda data, place: b"",
    "cut-at-a-quarter": lambda data, place: data[: len(data) // 4],
    "cut-at-half": lambda data, place: data[: len(data) // 2],
    "cut-at-three-quarters": lambda data, place: data[: len(data) * 3 // 4],
    "cut-before-the-end": lambda data, place: data[:-3],
    "zeros": lambda data, place: bytes(len(data)),
    "random": lambda data, place: place.rng.randbytes(len(data)),
    "text": lambda data, place: b"<html>404</html>",
}
