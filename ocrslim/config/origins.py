"""The origin of a value: the file, an alias in it, or an override."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.config.overrides import Override, lookup
from ocrslim.config.schema import SPELLINGS

DEFAULT = "default"
_MISSING = object()


@dataclass(frozen=True)
class Origins:
    """The file, its tree as it stands there, and the overrides in order."""

    path: Path
    filed: Mapping[str, Any]
    overrides: Sequence[Override]

    def setter(self, key: str) -> Override | None:
        """Return the override that the value at `key` comes from."""
        place = _without_places(key)
        for override in reversed(self.overrides):
            setting = _without_places(SPELLINGS.get(override.key, override.key))
            if (place + ".").startswith(setting + "."):
                return override
            if setting.startswith(place + ".") and lookup(self.filed, key) is None:
                return override
        return None

    def place(self, key: str) -> str:
        """Return the start of a message about `key`: the override that set it, else the file and the key in it."""
        override = self.setter(key)
        if override is None:
            return f"{self.path}: {self._spelled(key)}"
        whole = _without_places(key) == _without_places(override.key)
        return override.source if whole else f"{override.source}: {key}"

    def of(self, key: str) -> str:
        """In a few words, where a value comes from."""
        override, spelled = self.setter(key), self._spelled(key)
        if override:
            return override.source
        if lookup(self.filed, spelled, _MISSING) is _MISSING:
            return DEFAULT
        return str(self.path) if spelled == key else f"{self.path}: {spelled}"

    def _spelled(self, key: str) -> str:
        """Return the key as the file has it."""
        spellings = [spelling for spelling, canonical in SPELLINGS.items() if canonical == key]
        spellings = [spelling for spelling in spellings if lookup(self.filed, spelling) is not None]
        return spellings[0] if spellings and lookup(self.filed, key) is None else key


def leaves(value: Any, key: str = "") -> Iterator[str]:
    """The dotted key of every value that is no section, places in lists counted from 0."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if is_block(value) else ()
    if not items:
        yield key
    for name, item in items:
        yield from leaves(item, f"{key}.{name}" if key else str(name))


def is_block(value: Any) -> bool:
    """Tell whether a list holds sections, such as transforms, and no plain values."""
    return isinstance(value, list) and len(value) > 0 and all(isinstance(item, dict) for item in value)


def _without_places(key: str) -> str:
    """Return a key without the places of transforms, which may be left out, as 2 in `transforms.2.KeepKeys`."""
    return re.sub(r"(?<=\.transforms)\.[0-9]+(?=\.)", "", key)
