"""Who has read the test images, and when: a network is scored on them once.

A choice among networks by their score on the test images would make that score too good. So each reading is written
down before it begins, and a second one of another network under the same name is refused.
"""

from __future__ import annotations

from pathlib import Path

from machine import now, revision
from processes import json_lines, read_lines

BEGUN, DONE = "begun", "done"


class AlreadyScored(RuntimeError):
    """Another network of this name was scored before."""


def begin(path: Path, name: str, weights: str, again: bool = False) -> None:
    """Enter that the network `name` is about to be scored.

    Args:
        weights: hash of its arrays. The same network may be scored again: that tells nothing new.
        again: another network may be, too; it shows in the ledger.

    Raises:
        AlreadyScored: another network of this name was.
    """
    others = [one for one in read_lines(path) if one["name"] == name and one["weights"] != weights]
    if others and not again:
        raise AlreadyScored(
            f"{path}: another network was scored as {name!r} on the test images, on {others[-1]['date']} (weights "
            f"{others[-1]['weights'][:12]}, now {weights[:12]}): one is to be scored once; to do it nevertheless, and "
            "have the results say so, add --score-again"
        )
    json_lines(path).append({"name": name, "weights": weights, "state": BEGUN, "date": now(), "revision": revision()})


def finish(path: Path, name: str, weights: str) -> None:
    """Enter that it has been scored."""
    json_lines(path).append({"name": name, "weights": weights, "state": DONE, "date": now(), "revision": revision()})


def readings(path: Path) -> dict[str, list[dict[str, str]]]:
    """Every reading that was begun, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for one in read_lines(path):
        if one["state"] == BEGUN:
            found.setdefault(one["name"], []).append(one)
    return found
