"""The copy of PaddleOCR's code that a process uses: a checkout, `unstructured-paddleocr`, or the wheel `paddleocr`.

All three hold a package `ppocr`, and Python imports the first that it finds. The wheel has no training side: no
networks, losses or metrics. Nothing here imports Paddle or `ppocr`.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from ocrslim.errors import ConfigError
from ocrslim.utils import cause_of

_TRAINING_SIDE = "ppocr/modeling/architectures/__init__.py"
_PACKAGE = "unstructured_paddleocr"
_WHEEL = "paddleocr"
KEY = "Global.paddleocr"
REMEDY = f"name a checkout of PaddleOCR with -o {KEY}=DIR, run the command inside one, or pip install 'ocrslim[zoo]'"

_named = False


@dataclass(frozen=True)
class Source:
    """A copy of PaddleOCR with its training side.

    Attributes:
        folder: holds the package `ppocr`.
        title: for messages.
        named: whether a configuration names it, and so means its networks even where there are built-in ones.
    """

    folder: Path
    title: str
    named: bool = False


def find_source(named: str | None) -> Source:
    """Find PaddleOCR's training side: the checkout that is named, the working directory, or the installed package.

    Args:
        named: `Global.paddleocr`, a checkout of PaddleOCR; None where it is not set.

    Raises:
        ConfigError: it is not in the folder named; or, without one, nowhere.
    """
    if named:
        if not _has_training_side(Path(named)):
            raise ConfigError(
                f"{KEY}: {named} is no checkout of PaddleOCR: it has no {_TRAINING_SIDE}; name the folder that holds "
                "ppocr, tools and configs"
            )
        return Source(Path(named).resolve(), f"the checkout {named}", named=True)
    if _has_training_side(Path()):
        return Source(Path.cwd(), f"the checkout {Path.cwd()}, which is the working directory")
    package = _installed()
    if package is not None:
        return Source(package, "the package unstructured-paddleocr")
    raise ConfigError(
        f"PaddleOCR's networks and losses are needed, and are neither in the working directory ({Path.cwd()}) nor "
        f"installed: {REMEDY}"
    )


def use_source(source: Source | None) -> None:
    """Make `import ppocr` find `source`, in this process and in those that inherit its `sys.path`.

    Where the wheel's `ppocr` is imported already, the package only adds to it the parts that the wheel lacks: the two
    are of one version.

    Args:
        source: None where the configuration gets by without one, and networks are built in.

    Raises:
        ConfigError: another copy is imported already; of two, a process can use one.
    """
    global _named
    _named = False
    if source is not None:
        _make_importable(source)
        _named = source.named


def _make_importable(source: Source) -> None:
    folder = str(source.folder)
    imported = imported_from()
    if imported is None:
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    elif imported != source.folder:
        if _has_training_side(imported) or source.folder != _installed():
            raise ConfigError(
                f"{KEY}: this process uses PaddleOCR's code in {imported} already and cannot use {source.title} as "
                "well: start another process for it"
            )
        parts = sys.modules["ppocr"].__path__
        if str(source.folder / "ppocr") not in parts:
            parts.append(str(source.folder / "ppocr"))


def is_named() -> bool:
    """Tell whether the configuration in use names its source, so that even networks that are built in come from it."""
    return _named


def imported_from() -> Path | None:
    """Return the folder that holds the `ppocr` that this process has imported; None before it has."""
    module = sys.modules.get("ppocr")
    return Path(next(iter(module.__path__))).resolve().parent if module is not None else None


def used_source() -> Path | None:
    """Return the folder whose `ppocr/modeling` an import finds; None where there is none."""
    module = sys.modules.get("ppocr")
    places = (
        [Path(part).parent for part in module.__path__] if module is not None else [Path(part) for part in sys.path]
    )
    return next((place.resolve() for place in places if _has_training_side(place)), None)


def code_folder() -> Path | None:
    """Return the folder of the `ppocr` that is used: one with a training side, else the wheel's; None without any."""
    return used_source() or imported_from() or _folder_of(_WHEEL)


def import_fault(error: ImportError) -> str:
    """Say why PaddleOCR's code in use cannot be imported, and what to do: a line."""
    package = (error.name or "").partition(".")[0]
    if package == "paddle":
        advice = "it is older than this Paddle: use a newer checkout"
    elif package and package != "ppocr":
        advice = f"pip install {package}"
    else:
        advice = "update it"
    return f"PaddleOCR's code in {code_folder()} cannot be imported: {cause_of(error)}: {advice}"


def _has_training_side(folder: Path) -> bool:
    try:
        return (folder / _TRAINING_SIDE).is_file()
    except OSError:
        return False


def _installed() -> Path | None:
    """Return the folder of the installed package that holds `ppocr`."""
    return _folder_of(_PACKAGE)


def _folder_of(package: str) -> Path | None:
    """Return the folder of an installed package; once that is on the path, a module of the same name hides it."""
    found = importlib.util.find_spec(package)  # not imported: its `__init__` imports Paddle
    if found is None:
        return None
    places = list(found.submodule_search_locations or ())
    return Path(places[0]).resolve() if places else Path(str(found.origin)).resolve().parent
