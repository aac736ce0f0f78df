"""Labels to trace a network with as it trains: those of one drawn image."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ocrslim.errors import ConfigError
from ocrslim.tasks.line_task import augments
from ocrslim.tasks.values import Operator
from ocrslim.utils import cause_of

_LETTERS = 4
_KEY = "Train.dataset.transforms"
_REMEDY = "compare them with those of a file in configs/rec"


def probe_text(characters: Sequence[str]) -> str:
    """Return a short text of a dictionary's first characters."""
    visible = [letter for letter in characters if letter.strip()]
    return "".join((visible or list(characters))[:_LETTERS])


def labels_of(
    text: str,
    transforms: Sequence[Mapping[str, Any]],
    build: Callable[[str, Mapping[str, Any]], Operator],
    size: Operator | None,
) -> list[np.ndarray]:
    """Return what the transforms of a training give beside the image, with a batch axis.

    Args:
        text: the label.
        transforms: of `Train`; they end with `KeepKeys`. Those that augment images are left out.
        build: makes an operator of a name and its arguments.
        size: gives the image its size, where the sampler does so and not the transforms.

    Raises:
        ConfigError: a transform cannot be built or fails, or takes no such text.
    """
    named = [(name, options or {}) for entry in transforms for name, options in entry.items()]
    steps: list[tuple[str, Callable[[], Operator]]] = [
        (name, functools.partial(build, name, options)) for name, options in named if not augments(name)
    ]
    if size is not None:
        steps.insert(-1, (type(size).__name__, lambda: size))
    data: Any = {"image": _drawn(text), "label": text, "ext_data": [], "img_path": "", "filename": ""}
    for name, operator in steps:
        try:
            data = operator()(data)
        except Exception as error:  # whatever PaddleOCR's code raises
            raise ConfigError(f"{_KEY}: {name} fails on a line of text ({_cause(error)}): {_REMEDY}") from error
        if data is None:
            raise ConfigError(f"{_KEY}: {name} takes no text such as {text!r}: {_REMEDY}")
    return [np.stack([np.asarray(value)]) for value in data[1:]]


def _drawn(text: str) -> bytes:
    """Return a PNG of dark text on white, as high as a line of print."""
    import cv2

    pixels = np.full((48, 32 * max(3, len(text)), 3), 255, np.uint8)
    cv2.putText(pixels, text, (6, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0), 2)  # what it cannot draw becomes "?"
    return cv2.imencode(".png", pixels)[1].tobytes()


def _cause(error: Exception) -> str:
    missing = "no step makes " if isinstance(error, KeyError) else f"{type(error).__name__}: "
    return missing + cause_of(error)
