"""The parts of networks that are built without PaddleOCR's code, by the key of their section in `Architecture`.

`ocrslim.models` enters its own when it is imported, and builds what a program enters besides. Nothing here imports
Paddle, so that a configuration can be checked by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGISTERED_PARTS: dict[str, dict[str, type]] = {"Backbone": {}, "Neck": {}, "Head": {}}  # name -> a class of layers
_TRANSFORM = "Transform"  # straightens images; only PaddleOCR has any


def is_registered(architecture: Mapping[str, Any]) -> bool:
    """Tell whether `REGISTERED_PARTS` has every part of an `Architecture` section.

    What is missing, or has no name, counts as known: it is reported as such.
    """
    names = {part: _name_of(architecture.get(part)) for part in REGISTERED_PARTS}
    return not _name_of(architecture.get(_TRANSFORM)) and all(
        name is None or name in REGISTERED_PARTS[part] for part, name in names.items()
    )


def _name_of(section: Any) -> str | None:
    name = section.get("name") if isinstance(section, Mapping) else None
    return name if isinstance(name, str) else None
