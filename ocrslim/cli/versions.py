"""The versions that a bug report needs, read from the installed packages without importing them."""

from __future__ import annotations

import platform

from ocrslim import __version__

# Each line shows the first of its distributions that is installed.
_DISTRIBUTIONS = (("paddlepaddle", "paddlepaddle-gpu"), ("paddleslim",), ("paddleocr",))


def versions_text() -> str:
    """Versions of ocrslim, Python, Paddle, PaddleSlim and PaddleOCR, one on each line."""
    lines = [f"ocrslim {__version__}", f"Python {platform.python_version()}"]
    return "\n".join([*lines, *(_first_installed(names) for names in _DISTRIBUTIONS)])


def _first_installed(names: tuple[str, ...]) -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in names:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return f"{names[0]} not installed"
